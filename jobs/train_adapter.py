"""Fine-tune an adapter on latents; killed and started again it goes on, finished it does nothing.

ray job submit --working-dir . -- python jobs/train_adapter.py jobs/configs/tiny.yaml [pairs=my_folder]
"""

from viral.config import RunConfig, load, stop


def main() -> None:
    """Read the command line, make what is missing of pairs and latents, train, say what came out."""
    config = load(__doc__ or "", estimate=_estimate)
    try:
        _train(config)
    except ValueError as error:
        stop(str(error))


def _estimate(config: RunConfig) -> None:
    from viral.train.estimate import print_estimate

    print_estimate(config)


def _train(config: RunConfig) -> None:
    from viral.cluster import connect
    from viral.data.dataset import make_pairs, task_names
    from viral.data.encode import encode_pairs
    from viral.train.run import check_training
    from viral.train.trainer import train_adapter

    check_training(config, task_names(config))  # before the data, which may take hours
    with connect(config):
        # So that `pairs=my_folder` is all it takes; both do nothing where their tables are there.
        make_pairs(config)
        encode_pairs(config)
        result = train_adapter(config)
    print(f"adapter after {result.steps} steps, loss {result.loss:.4f}: {result.adapter} (MLflow run {result.run_id})")


if __name__ == "__main__":
    main()

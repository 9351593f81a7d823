"""Score the trained adapter on the photographs kept apart.

ray job submit --working-dir . -- python jobs/evaluate_adapter.py jobs/configs/tiny.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Evaluate what the configuration's storage holds and print where the scores are."""
    config = load(__doc__ or "")
    from viral.cluster import connect
    from viral.evaluation.evaluate import evaluate_adapter

    try:
        with connect(config):
            summary = evaluate_adapter(config)
    except ValueError as error:
        stop(str(error))
    beaten = ", ".join(summary.beaten) or "none"
    print(
        f"scored {len(summary.tasks)} tasks; every free answer is beaten on: {beaten}; see {config.storage}/evaluation"
    )


if __name__ == "__main__":
    main()

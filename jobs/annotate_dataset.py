"""Make the pairs of every task from the sources of a mixture: pictures, labels, pairs.

ray job submit --working-dir . -- python jobs/annotate_dataset.py jobs/configs/dataset_viral.yaml dataset.scale=0.001
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, make the dataset, say what came out."""
    config = load("Make storage/pairs (Parquet) from the sources and annotators of dataset.parts.")

    from viral.cluster import connect
    from viral.data.dataset import find_parts, make_dataset

    try:
        find_parts(config)  # before the half minute that Ray takes to start
        with connect(config):
            manifest = make_dataset(config)
    except ValueError as error:
        stop(str(error))
    counts = f"{manifest.counts_out['good']} pairs of {manifest.counts_in['rows']} asked for"
    print(f"{counts} in {len(manifest.shards)} shards; rejected: {manifest.rejected or 'nothing'}")


if __name__ == "__main__":
    main()

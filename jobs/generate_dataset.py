"""Render pairs for every task from photographs.

ray job submit --working-dir . -- python jobs/generate_dataset.py jobs/configs/tiny.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, make the table of pairs, say what came out."""
    config = load("Render pairs for every task from photographs into storage/pairs (Parquet).")

    from viral.cluster import connect
    from viral.data.pairs import generate_pairs
    from viral.data.photographs import check_images

    try:
        check_images(config)  # before the half minute that Ray takes to start
        with connect(config):
            manifest = generate_pairs(config)
    except ValueError as error:
        stop(str(error))
    counts = f"{manifest.counts_out['good']} pairs of {manifest.counts_in['rows']} asked for"
    print(f"{counts} in {len(manifest.shards)} shards; rejected: {manifest.rejected or 'nothing'}")


if __name__ == "__main__":
    main()

"""Encode pairs into latents, once.

ray job submit --working-dir . -- python jobs/encode_dataset.py jobs/configs/tiny.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, make the table of latents, say what came out."""
    config = load("Encode the pairs through the base model's VAE into storage/latents (Arrow).")

    from viral.cluster import connect
    from viral.data.encode import encode_pairs

    try:
        with connect(config):
            manifest = encode_pairs(config)
    except ValueError as error:
        stop(str(error))
    counts = f"{manifest.counts_out['good']} pairs of {manifest.counts_in['rows']} rows"
    print(f"{counts} in {len(manifest.shards)} shards; rejected: {manifest.rejected or 'nothing'}")


if __name__ == "__main__":
    main()

"""Freeze the pairs as a version with its card, contact sheet and list of rejected rows.

python jobs/publish_dataset.py jobs/configs/dataset_viral.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, freeze the pairs, say under which name."""
    config = load("Freeze storage/pairs as storage/versions/<name>, named by the hash of its manifest.")

    from viral.data.pairs import load_pairs
    from viral.data.versions import SHEET, publish
    from viral.storage import Storage

    try:
        frozen = publish(load_pairs(config), Storage(config.storage))
    except ValueError as error:
        stop(str(error))
    print(f"{frozen.storage}: {frozen.manifest.counts_out['good']} pairs; look at {SHEET}, read README.md")


if __name__ == "__main__":
    main()

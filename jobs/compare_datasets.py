"""Say what changed from one published version of the pairs to another.

python jobs/compare_datasets.py jobs/configs/dataset_viral.yaml export.version=5d2 export.since=a07 > changes.md
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, compare the two versions, print the report."""
    config = load("Print what changed from version export.since to export.version (none: to the pairs as they are).")

    from viral.data.changes import compare
    from viral.data.pairs import load_pairs
    from viral.data.versions import open_version
    from viral.storage import Storage

    asked, run = config.export, Storage(config.storage)
    try:
        if asked.since is None:
            raise ValueError("export.since names no version; name the older one, from storage/versions")
        old = open_version(run, asked.since)
        new = open_version(run, asked.version) if asked.version else load_pairs(config)
        changes = compare(old, new)
    except ValueError as error:
        stop(str(error))
    print(changes.markdown(), end="")


if __name__ == "__main__":
    main()

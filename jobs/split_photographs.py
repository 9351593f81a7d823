"""Make the committed list that keeps photographs to prove with apart from those to train on.

python jobs/split_photographs.py FOLDER
"""

import argparse
from collections import Counter

from viral.config import stop


def main() -> None:
    """Read a collection with a manifest.jsonl, write viral/data/proof_split.csv, say what lies where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with manifest.jsonl and the files that it names")
    args = parser.parse_args()

    from viral.data.proof_split import LIST, make_split, write_split
    from viral.storage import Storage

    try:
        listed = make_split(Storage(args.folder))
    except ValueError as error:
        stop(str(error))
    LIST.write_bytes(write_split(listed))
    counts = Counter(one.part for one in listed)
    print(f"{LIST}: {', '.join(f'{count} {part}' for part, count in sorted(counts.items()))}")


if __name__ == "__main__":
    main()

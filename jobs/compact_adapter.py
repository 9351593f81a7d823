"""Copy an adapter in bfloat16, and of its files only those that it is loaded from.

python jobs/compact_adapter.py runs/demo/adapter runs/demo/compact
"""

import argparse
from pathlib import Path

from viral.config import stop


def main() -> None:
    """Copy, and say how large the copy is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path, help="adapter folder")
    parser.add_argument("place", type=Path, help="folder of the copy")
    asked = parser.parse_args()

    from viral.model.compact import write_compact

    try:
        card = write_compact(asked.adapter, asked.place)
    except ValueError as error:
        stop(str(error))
    size = sum((asked.place / name).stat().st_size for name in card.files)
    print(f"wrote {asked.place}: {len(card.files)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

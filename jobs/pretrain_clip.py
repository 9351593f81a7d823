"""Make the embedded embedder, a small CLIP, from scenes, their captions and edits; interrupted, run it again.

python jobs/pretrain_clip.py [--out viral/embedded_clip] [--state runs/pretrain_clip]
"""

import argparse
from pathlib import Path

from viral.config import stop
from viral.data_config import EMBEDDED_CLIP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=EMBEDDED_CLIP, help="folder to write the model to")
    parser.add_argument("--state", type=Path, default=Path("runs/pretrain_clip"), help="folder that keeps the progress")
    parser.add_argument("--edits", type=int, default=3200, help="edits to render, of four pictures each")
    parser.add_argument("--seconds", type=float, default=420, help="processor time for training")
    args = parser.parse_args()
    from viral.pretrain.embedder import make_embedder

    try:
        make_embedder(args.state, args.out, args.edits, args.seconds)
    except ValueError as error:
        stop(str(error))
    print(f"embedder: {args.out}")


if __name__ == "__main__":
    main()

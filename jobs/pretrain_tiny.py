"""Make the small base model from photographs: VAE, tokenizer, text encoder and edit DiT.

python jobs/pretrain_tiny.py PHOTOS [--out viral/base] [--state runs/pretrain]
"""

import argparse
from pathlib import Path

from viral.config import stop
from viral.shipped import SHIPPED_BASE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photographs whose licence allows training")
    parser.add_argument("--out", type=Path, default=SHIPPED_BASE, help="folder to write the base to")
    parser.add_argument("--state", type=Path, default=Path("runs/pretrain"), help="folder that keeps the progress")
    parser.add_argument("--decoder-seconds", type=float, default=960, help="processor time for the VAE's decoder")
    parser.add_argument("--editor-seconds", type=float, default=8400, help="processor time for DiT and text encoder")
    parser.add_argument("--scene-seconds", type=float, default=8400, help="and for both on scenes, after that")
    args = parser.parse_args()
    from viral.pretrain.base import make_base
    from viral.pretrain.team import join_team

    join_team()
    try:
        make_base(args.photos, args.state, args.out, args.decoder_seconds, args.editor_seconds, args.scene_seconds)
    except ValueError as error:
        stop(str(error))
    print(f"base: {args.out}")


if __name__ == "__main__":
    main()

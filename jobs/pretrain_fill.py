"""Make the small Fill base from photographs: VAE, tokenizers, text encoders and Fill DiT.

python jobs/pretrain_fill.py PHOTOS [--state runs/pretrain]
"""

import argparse
from pathlib import Path

from viral.config import stop
from viral.shipped import SHIPPED_FILL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photographs whose licence allows training")
    parser.add_argument("--out", type=Path, default=SHIPPED_FILL, help="folder to write the base to")
    parser.add_argument("--state", type=Path, default=Path("runs/pretrain"), help="folder that keeps the progress")
    parser.add_argument("--decoder-seconds", type=float, default=960, help="processor time for the VAE's decoder")
    parser.add_argument("--filler-seconds", type=float, default=9600, help="processor time for DiT and text encoders")
    args = parser.parse_args()
    from viral.pretrain.fill_base import make_fill
    from viral.pretrain.team import join_team

    join_team()
    try:
        make_fill(args.photos, args.state, args.out, args.decoder_seconds, args.filler_seconds)
    except ValueError as error:
        stop(str(error))
    print(f"base: {args.out}")


if __name__ == "__main__":
    main()

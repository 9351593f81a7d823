"""Paint one analogy from files: what b becomes when a becomes a2.

python jobs/edit_image.py a.png a2.png b.png -o out.png
"""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from viral.config import RunConfig, stop

if TYPE_CHECKING:
    from PIL.Image import Image

DEMO = Path(__file__).parents[1] / "runs" / "demo"


def main() -> None:
    """Read three images, write one."""
    args = _parse()
    try:
        seconds = _edit(args)
    except (ValueError, ConnectionError) as error:
        stop(str(error))
    print(f"wrote {args.output} ({seconds:.1f} s)")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, help="example, before")
    parser.add_argument("a2", type=Path, help="example, after")
    parser.add_argument("b", type=Path, help="the image to treat like that")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--adapter", help="adapter folder or models:/name@alias (default: runs/demo/adapter)")
    parser.add_argument("--tracking", help="MLflow address (default: $MLFLOW_TRACKING_URI, else the demo's server)")
    parser.add_argument("--base", default="tiny", help="tiny, a folder or a hub id (default: tiny)")
    parser.add_argument("--steps", type=int, default=12, help="denoising steps (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same image (default: 0)")
    parser.add_argument("--size", type=int, help="side in pixels of a square of the output's area")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    return parser.parse_args()


def _edit(args: argparse.Namespace) -> float:
    """Paint and write; seconds of the painting alone."""
    adapter = _adapter(args)
    images = [_read(path) for path in (args.a, args.a2, args.b)]

    import torch

    from viral.provenance import encode_png
    from viral.sampling.editor import Editor
    from viral.storage import Storage

    dtype = torch.float32 if args.device == "cpu" else torch.bfloat16
    editor = Editor.load(RunConfig(base=args.base).base_folder(), adapter, args.device, dtype)
    start = time.perf_counter()
    edit = editor([(images[0], images[1])], images[2], steps=args.steps, seed=args.seed, size=args.size)
    seconds = time.perf_counter() - start
    Storage(str(args.output.parent)).write(args.output.name, encode_png(edit.image, edit.trace))
    return seconds


def _adapter(args: argparse.Namespace) -> Path:
    """Folder of the adapter asked for, fetched from the registry where it is a registered one."""
    if args.adapter is None and not (DEMO / "adapter").is_dir():
        raise ValueError(f"there is no adapter at {DEMO / 'adapter'} yet; run `make demo`, or name one with --adapter")
    if args.adapter is None or not args.adapter.startswith("models:/"):
        folder = Path(args.adapter or DEMO / "adapter")
        if not (folder / "card.json").is_file():  # asked here too: the library takes long to import
            raise ValueError(f"{folder} holds no adapter (card.json is missing); train one with jobs/train_adapter.py")
        return folder
    from viral.config import TrackingConfig
    from viral.tracking import resolve, tracking_server

    uri = args.tracking or os.environ.get("MLFLOW_TRACKING_URI")
    with tracking_server(RunConfig(storage=str(DEMO), tracking=TrackingConfig(uri=uri))) as found:
        return resolve(args.adapter, found)[0]


def _read(path: Path) -> "Image":
    from viral.data.images import decode

    if not path.is_file():
        raise ValueError(f"{path} is not a file; give the three images as paths")
    return decode(path.read_bytes(), str(path))


if __name__ == "__main__":
    main()

"""Paint what the last image becomes by the change that example pairs show, that an instruction tells, or both.

python jobs/edit_image.py a.png a2.png b.png -o out.png
python jobs/edit_image.py a.png a2.png c.png c2.png b.png --candidates 4 -o out.png
python jobs/edit_image.py b.png --instruction "make the sky red" --base FLUX_FILL_FOLDER -o out.png
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viral.config import ModelConfig, RunConfig, resolve, stop
from viral.shipped import adapter_of_edits

if TYPE_CHECKING:
    from PIL.Image import Image

    from viral.sampling.editor import Edit, Editor
    from viral.sampling.instruct import InstructEditor

DEMO = Path(__file__).parents[1] / "runs" / "demo"


def main(argv: list[str] | None = None) -> None:
    """Read images, write one."""
    args = _parse(argv)
    try:
        edit, seconds = _edit(args)
    except (ValueError, ConnectionError) as error:
        stop(str(error))
    seed = f"seed {edit.trace['seed']}, " if args.candidates > 1 else ""
    print(f"wrote {args.output} ({seed}{seconds:.1f} s)")
    if error := edit.trace.get("error"):
        print(f"warning: the judge decided nothing, the first seed went on: {error}", file=sys.stderr)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="image", help="examples, each before and after; last the one to edit"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--instruction", help="the edit in words, for a base or an adapter that takes them")
    parser.add_argument(
        "--adapter",
        help="adapter folder, released .safetensors file or models:/name@alias (default: with examples the demo's "
        "or the shipped one, with tiny-fill the one that ships for it, else none)",
    )
    parser.add_argument("--tracking", help="MLflow address (default: $MLFLOW_TRACKING_URI, else the demo's server)")
    parser.add_argument("--base", default="tiny", help="tiny, tiny-fill, a folder or a hub id (default: tiny)")
    parser.add_argument(
        "--accept-licence", action="append", default=[], metavar="NAME", help="a restricted licence that suits you"
    )
    parser.add_argument("--steps", type=int, help="denoising steps (default: 12, with FLUX.1 Fill 28)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same image (default: 0)")
    parser.add_argument("--size", type=int, help="side in pixels of a square of the output's area; Fill: panel's width")
    parser.add_argument("--guidance", type=float, help="(default: 1, none; FLUX.1 Fill's own embedded one: 30)")
    parser.add_argument(
        "--candidates", type=int, default=1, metavar="M", help="seeds to preview, of which a judge picks (default: 1)"
    )
    parser.add_argument("--preview-steps", type=int, default=4, metavar="m", help="of each candidate (default: 4)")
    parser.add_argument(
        "--judge",
        help="consensus (default), cycle, direction, folder or hub id of a Qwen2.5-VL, or http://host/v1#MODEL",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="how the base is held, e.g. model.offload=model"
    )
    args = parser.parse_args(argv)
    if len(args.images) % 2 == 0:
        parser.error(f"got {len(args.images)} images; give pairs of examples, then the one image to edit")
    if len(args.images) == 1 and args.instruction is None:
        parser.error("got one image and nothing to do with it; add example pairs or --instruction")
    if args.judge is not None and args.candidates < 2:
        parser.error("--judge has nothing to choose from; add --candidates 4, say")
    return args


def _edit(args: argparse.Namespace) -> tuple["Edit", float]:
    """Paint and write; the edit, and seconds of the painting alone."""
    adapter = _adapter(args)
    images = [_read(path) for path in args.images]

    from viral.model.architecture import is_fill
    from viral.provenance import encode_png
    from viral.storage import Storage

    held = resolve(None, args.set).model
    config = held.model_copy(update={"accept_licences": (*held.accept_licences, *args.accept_licence)})
    fill = is_fill(RunConfig(base=args.base).base_folder(), config)
    if fill and len(images) > 1:
        raise ValueError(f"{args.base} edits one image as told, got {len(images)}; leave the examples out")
    editor = _load(args, adapter, config, fill)
    start = time.perf_counter()
    edit = _paint(args, editor, fill, images)
    seconds = time.perf_counter() - start
    Storage(str(args.output.parent)).write(args.output.name, encode_png(edit.image, edit.trace))
    return edit, seconds


def _load(args: argparse.Namespace, adapter: Path | None, config: ModelConfig, fill: bool) -> "Editor | InstructEditor":
    """The editor for the base; either kind is imported alone, as each takes long."""
    base, options = RunConfig(base=args.base).base_folder(), {"device": args.device, "config": config}
    if fill:
        from viral.sampling.instruct import InstructEditor

        return InstructEditor.load(base, adapter, **options)
    from viral.sampling.editor import Editor

    return Editor.load(base, adapter, **options)


def _paint(args: argparse.Namespace, editor: "Editor | InstructEditor", fill: bool, images: list["Image"]) -> "Edit":
    *shown, query = images
    examples = list(zip(shown[::2], shown[1::2], strict=True))
    asked: tuple[Any, ...] = (query, args.instruction) if fill else (examples, query, args.instruction)
    options = {"steps": args.steps, "guidance": args.guidance, "width" if fill else "size": args.size}
    options = {name: value for name, value in options.items() if value is not None}
    if args.candidates < 2:
        return editor(*asked, seed=args.seed, **options)
    from viral.sampling.judge_choice import choose_judge

    judge = choose_judge(
        args.judge or "consensus", editor, args.instruction, size=args.size,
        accept_licences=tuple(args.accept_licence), api_key=os.environ.get("OPENAI_API_KEY"),
    )  # fmt: skip
    seeds = list(range(args.seed, args.seed + args.candidates))
    return editor.filtered(*asked, judge=judge, seeds=seeds, preview_steps=args.preview_steps, **options)


def _adapter(args: argparse.Namespace) -> Path | None:
    """Folder or file of the adapter asked for, fetched from the registry where it is a registered one."""
    if args.adapter is None or not args.adapter.startswith("models:/"):
        own = adapter_of_edits(len(args.images) > 1, args.base, DEMO / "adapter")
        if (path := own if args.adapter is None else Path(args.adapter)) is None:
            return None
        # Asked here too: the library takes long to import.
        if path.suffix != ".safetensors" and not (path / "card.json").is_file():
            raise ValueError(f"{path} holds no adapter (card.json is missing); train one with jobs/train_adapter.py")
        return path
    from viral.config import TrackingConfig
    from viral.tracking import resolve, tracking_server

    uri = args.tracking or os.environ.get("MLFLOW_TRACKING_URI")
    with tracking_server(RunConfig(storage=str(DEMO), tracking=TrackingConfig(uri=uri))) as found:
        return resolve(args.adapter, found)[0]


def _read(path: Path) -> "Image":
    from viral.data.images import decode

    if not path.is_file():
        raise ValueError(f"{path} is not a file; give images as paths")
    return decode(path.read_bytes(), str(path))


if __name__ == "__main__":
    main()

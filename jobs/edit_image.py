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

from viral.config import ModelConfig, RunConfig, stop
from viral.edit_arguments import DEMO, adapter_asked, add_edit_arguments, check_edit_arguments, model_asked

if TYPE_CHECKING:
    from PIL.Image import Image

    from viral.sampling.editor import Edit, Editor
    from viral.sampling.instruct import InstructEditor


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
    add_edit_arguments(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    args = parser.parse_args(argv)
    check_edit_arguments(parser, args, len(args.images) - 1)
    return args


def _edit(args: argparse.Namespace) -> tuple["Edit", float]:
    """Paint and write; the edit, and seconds of the painting alone."""
    adapter = _adapter(args)
    images = [_read(path) for path in args.images]

    from viral.model.architecture import is_fill
    from viral.provenance import encode_png
    from viral.storage import Storage

    config = model_asked(args)
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
    options = {
        "steps": args.steps, "guidance": args.guidance, "example_guidance": args.example_guidance,
        "width" if fill else "size": args.size,
    }  # fmt: skip
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
        return adapter_asked(args, len(args.images) - 1, DEMO)  # looked for here too: the library takes long to import
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

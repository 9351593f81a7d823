"""Make one change, shown by example or told, to every picture of a folder or table, of any size.

python jobs/edit_images.py a.png a2.png photos/ -o edited/
python jobs/edit_images.py photos/ --instruction "make the sky red" --base FLUX_FILL_FOLDER -o edited/
ray job submit --working-dir . -- python jobs/edit_images.py a.png a2.png s3://bucket/photos.parquet -o s3://bucket/edited

The images lie in OUTPUT/images, what became of each picture in OUTPUT/shard-*.parquet, and OUTPUT/index.html shows them
all. Stop it at any moment and give the same command again: it goes on, and paints nothing twice.
"""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from viral.config import RunConfig, TrackingConfig, stop
from viral.edit_arguments import DEMO, adapter_asked, add_edit_arguments, check_edit_arguments, model_asked

if TYPE_CHECKING:
    from viral.data.edits import Change
    from viral.storage import Manifest


def main(argv: list[str] | None = None) -> None:
    """Edit all pictures, write the contact sheet, say what came out."""
    args = _parse(argv)
    try:
        with _change(args) as change:
            manifest = _edit(args, change)
    except (ValueError, ConnectionError) as error:
        stop(str(error))
    counts = f"{manifest.counts_out['good']} of {manifest.counts_in['rows']} pictures edited"
    failed = ", ".join(f"{count} {reason}" for reason, count in manifest.rejected.items())
    print(f"{counts}; failed: {failed or 'none'}; see {args.output.rstrip('/')}/index.html")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", type=Path, metavar="example", help="pictures, each before and after")
    parser.add_argument("pictures", help="folder or address of images or Parquet files, or of one Parquet file")
    parser.add_argument("-o", "--output", required=True, help="folder or object store to write to")
    parser.add_argument("--column", default="image", help="column of a table with encoded images (default: image)")
    add_edit_arguments(parser)
    parser.add_argument("--actors", type=int, default=2, help="Ray Data actors, each with a model (default: 2)")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of an actor (default: 0, the CPU)")
    parser.add_argument("--rows", type=int, default=64, help="pictures of a commit (default: 64)")
    args = parser.parse_args(argv)
    check_edit_arguments(parser, args, len(args.examples))
    if args.candidates > 1 and args.steps is not None and not 1 <= args.preview_steps < args.steps:
        parser.error(f"--preview-steps {args.preview_steps} is not between 1 and the {args.steps} steps; give fewer")
    for name in ("steps", "candidates", "actors", "rows"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}; it must be at least 1")
    return args


@contextmanager
def _change(args: argparse.Namespace) -> Iterator["Change"]:
    """What to do to every picture."""
    for path in args.examples:
        if not path.is_file():
            raise ValueError(f"{path} is not a file; give examples as paths")
    data = [path.read_bytes() for path in args.examples]
    with _adapter(args) as (adapter, tracking):
        from viral.data.edits import Change

        yield Change(
            examples=tuple(zip(data[::2], data[1::2], strict=True)),
            base=RunConfig(base=args.base).base_folder(),
            adapter=adapter,
            tracking=tracking,
            instruction=args.instruction,
            steps=args.steps,
            seed=args.seed,
            size=args.size,
            guidance=args.guidance,
            example_guidance=args.example_guidance,
            candidates=args.candidates,
            preview_steps=args.preview_steps,
            judge=args.judge or "consensus",
            model=model_asked(args),
        )


@contextmanager
def _adapter(args: argparse.Namespace) -> Iterator[tuple[str | None, str | None]]:
    """The adapter's folder, or None for the base alone; or its name and version, and the registry, which answers for
    the length of the block."""
    if args.adapter is None or not args.adapter.startswith("models:/"):
        path = adapter_asked(args, len(args.examples), DEMO)
        yield path and str(path.resolve()), None
        return
    from viral.tracking import resolve
    from viral.tracking_server import tracking_server

    uri = args.tracking or os.environ.get("MLFLOW_TRACKING_URI")
    with tracking_server(RunConfig(storage=str(DEMO), tracking=TrackingConfig(uri=uri))) as found:
        _, version = resolve(args.adapter, found)
        name = re.split("[@/]", args.adapter.removeprefix("models:/"))[0]
        yield f"models:/{name}/{version}", found


def _edit(args: argparse.Namespace, change: "Change") -> "Manifest":
    from viral.cluster import connect
    from viral.data.contact_sheet import write_sheet
    from viral.data.edits import edit_pictures, examples_of, read_edits
    from viral.data.inputs import find_inputs
    from viral.data.shards import Pool
    from viral.storage import Storage

    storage, examples = Storage(args.output), examples_of(change)
    inputs = find_inputs(args.pictures, args.column, args.rows)  # before the half minute that Ray takes to start
    with connect(RunConfig()):
        manifest = edit_pictures(change, inputs, storage, Pool(args.actors, args.gpus))
    write_sheet(storage, read_edits(storage, manifest), examples, args.instruction)
    return manifest


if __name__ == "__main__":
    main()

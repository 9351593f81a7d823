"""What the jobs that paint from the command line are asked in common; loads neither torch nor ray."""

import argparse
from pathlib import Path

from viral.config import ModelConfig, resolve
from viral.shipped import SHIPPED_FILL_ADAPTER, own_or_shipped_adapter

DEMO = Path(__file__).parents[1] / "runs" / "demo"


def add_edit_arguments(parser: argparse.ArgumentParser) -> None:
    """How edits are painted: by which base and adapter, and how one of several candidates is picked."""
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
    parser.add_argument("--seed", type=int, default=0, help="same seed, same noise, same image (default: 0)")
    parser.add_argument("--size", type=int, help="side in pixels of a square of the output's area; Fill: panel's width")
    parser.add_argument("--guidance", type=float, help="(default: 1, none; FLUX.1 Fill's own embedded one: 30)")
    parser.add_argument(
        "--example-guidance", type=float, metavar="S", help="follow the examples S times as strongly (default: 1)"
    )
    parser.add_argument(
        "--candidates", type=int, default=1, metavar="M", help="seeds to preview, of which a judge picks (default: 1)"
    )
    parser.add_argument("--preview-steps", type=int, default=4, metavar="m", help="of each candidate (default: 4)")
    parser.add_argument(
        "--judge",
        help="consensus (default), cycle, direction, folder or hub id of a Qwen2.5-VL, or http://host/v1#MODEL",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="how the base is held, e.g. model.offload=model"
    )


def check_edit_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace, examples: int) -> None:
    """Ends with a word of what is wrong where nothing is asked for or nothing can be chosen from."""
    if examples % 2:
        parser.error(f"got {examples + 1} images; give pairs of examples, then what to edit")
    if not examples and args.instruction is None:
        parser.error("got nothing to do; add example pairs or --instruction")
    if not examples and args.example_guidance is not None:
        parser.error("--example-guidance has no example to follow; add example pairs")
    if args.judge is not None and args.candidates < 2:
        parser.error("--judge has nothing to choose from; add --candidates 4, say")


def model_asked(args: argparse.Namespace) -> ModelConfig:
    """How the base is held, with the licences accepted."""
    held = resolve(None, args.set).model
    return held.model_copy(update={"accept_licences": (*held.accept_licences, *args.accept_licence)})


def adapter_asked(args: argparse.Namespace, examples: int, demo: Path) -> Path | None:
    """Folder or file of an adapter that is not in the registry, None for the base alone; `ValueError` where none is."""
    path = Path(args.adapter) if args.adapter else _default(args.base, examples, demo)
    if path is not None and path.suffix != ".safetensors" and not (path / "card.json").is_file():
        raise ValueError(f"{path} holds no adapter (card.json is missing); train one with jobs/train_adapter.py")
    return path


def _default(base: str, examples: int, demo: Path) -> Path | None:
    if examples:
        return own_or_shipped_adapter(demo / "adapter")
    return SHIPPED_FILL_ADAPTER if base == "tiny-fill" else None

"""What to do when a card's memory does not suffice: the setting to change first, in the error itself."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

from viral.config import ModelConfig, RunConfig


@contextmanager
def naming_remedies(doing: str, remedies: list[str]) -> Iterator[None]:
    """Raise `ValueError` in place of the card's out-of-memory error, with what to change, best first."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        needed = f"{asked[1]} more were needed" if asked else "more was needed"
        first, *others = remedies
        then = f"; if that is not enough: {', '.join(others)}" if others else ""
        raise ValueError(
            f"out of memory in {doing}: {needed}{_free()}. Set {first}{then}. `--dry-run` tells what fits"
        ) from error


def training_remedies(config: RunConfig) -> list[str]:
    """Settings that make a training step smaller, what costs least first."""
    train, model = config.train, config.model
    changes = [
        ("train.gradient_checkpointing=true", not train.gradient_checkpointing),
        (f"train.micro_batch={train.micro_batch // 2}", train.micro_batch > 1),
        ("model.quantise=float8", model.quantise is None),
        ("train.zero_stage=3", train.zero_stage < 3 and train.workers > 1),
        (f"data.size={config.data.size // 2 // 16 * 16}", config.data.size >= 32),
    ]
    return [words for words, helps in changes if helps] or ["train.workers to more cards and train.zero_stage=3"]


def painting_remedies(model: ModelConfig) -> list[str]:
    """Settings that make painting smaller, what costs least first."""
    changes = [
        ("model.offload=model", model.offload is None),
        ("model.quantise=float8", model.quantise is None),
        ("model.quantise=nf4", model.quantise in (None, "float8")),
        ("model.offload=group", model.offload != "group"),
    ]
    return [*(words for words, helps in changes if helps), "a smaller size of the image"]


def naming_painting_remedies(method: Callable[..., Any]) -> Callable[..., Any]:
    """An editor's method, whose out-of-memory error names what makes painting with its backbone smaller."""

    @wraps(method)
    def paint(editor: Any, *args: Any, **options: Any) -> Any:
        with naming_remedies("painting", painting_remedies(editor.backbone.config)):
            return method(editor, *args, **options)

    return paint


def _free() -> str:
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    return f", {free / 1e9:.1f} GB of the card's {total / 1e9:.1f} GB are free"

"""What a base has learnt, for its model card: its error on scenes that it never saw, by kind of edit.

An error is the distance to the truth, root mean square in latents as the VAE knows them (its own loss is no part of
it), over that of the best answer that costs nothing: the picture as it is, the example's answer, or the mean of the
other truths. 1 is no better than that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import QwenImageTransformer2DModel
from jaxtyping import Float
from torch import Tensor

from viral.model.roles import ANALOGY, Role
from viral.model.velocity import predict_velocity
from viral.pretrain import edits
from viral.pretrain.couples import couples
from viral.pretrain.editor import LinearEncoder, Words
from viral.pretrain.edits import MAP, Edited
from viral.pretrain.pictures import Pictures
from viral.pretrain.told_scenes import ToldScenes, make_couple
from viral.scenes import read_instruction

FIRST, COUPLES, EACH, SIZE = 1_000_000, 480, 16, 64
"""Number of the first couple, far from those of training; couples in all, at most of one kind; side of a picture."""
TIMES = (1.0, 0.8, 0.0)
"""Two steps: what is uncertain is rather averaged than drawn, as an error asks."""
PHOTO_EDITS = (edits.negative, edits.colorize, edits.brighten, edits.edges, edits.unmark, edits.derain, edits.tint)
RANDOM = (edits.unmark, edits.derain)
"""Edits that fall out otherwise on each picture of a couple."""


Cases = list[tuple[Edited, Edited]]
"""Examples with what is asked."""
Way = Callable[[Cases], Float[Tensor, "b z h w"]]
"""A way to ask for the answers to cases, as latents."""


@dataclass(frozen=True)
class Mark:
    """Errors of one kind, by the ways in which it was asked."""

    kind: str
    count: int
    errors: tuple[float, ...]


def unseen_scenes(folder: Path) -> ToldScenes:
    """Couples that no lesson holds."""
    images, told = couples(folder, COUPLES, _make_unseen)
    return ToldScenes(images, [tuple(words) for words in told])


def _make_unseen(index: int) -> tuple[np.ndarray, list[str]]:
    return make_couple(FIRST + index)


def exam(encode: LinearEncoder, scenes: ToldScenes, ways: dict[str, Way]) -> str:
    """The errors of each kind of map and edit, those of photographs on pictures of scenes: a Markdown table."""
    marks = [_mark(encode, kind, cases, tuple(ways.values())) for kind, cases in _cases(scenes).items()]
    lines = ["| kind | n | " + " | ".join(ways) + " |", "|---|---|" + "---|" * len(ways)]
    for mark in sorted(marks, key=lambda mark: mark.errors):
        lines.append(f"| {mark.kind} | {mark.count} | " + " | ".join(f"{e:.2f}" for e in mark.errors) + " |")
    return "\n".join(lines)


def editor_ways(transformer: QwenImageTransformer2DModel, words: Words, encode: LinearEncoder) -> dict[str, Way]:
    """Told in words, beside an example with words for the family alone, and by the example without words."""

    def told(cases: Cases) -> Tensor:
        return _paint(transformer, words, [_query(encode, cases)], [ask.words for _, ask in cases])

    def shown(cases: Cases, said: list[str]) -> Tensor:
        return _paint(transformer, words, [*_examples(encode, cases), _query(encode, cases)], said)

    return {
        "words": told,
        "family, beside an example": lambda cases: shown(cases, [ask.family for _, ask in cases]),
        "example alone": lambda cases: shown(cases, [" "] * len(cases)),
    }


def _cases(scenes: ToldScenes) -> dict[str, Cases]:
    """Examples with what is asked, by kind."""
    found: dict[str, Cases] = {}
    rng = np.random.default_rng(0)
    for index, (sentence, kind, family) in enumerate(scenes.words):
        name = kind if family == MAP else read_instruction(sentence)[0]
        cases = found.setdefault(name, [])
        if len(cases) < EACH:
            cases.append(scenes.couple(index, SIZE, rng))
    pictures = Pictures([scenes.frame(index) for index in range(len(scenes.words))], SIZE, drawn_share=0.0)
    for edit in PHOTO_EDITS:
        cases = []
        for seed in range(EACH):
            couple = [edit(pictures(rng), rng if edit in RANDOM else np.random.default_rng(seed)) for _ in range(2)]
            cases.append((couple[0], couple[1]))
        found[cases[0][0].kind] = cases
    return {kind: cases for kind, cases in found.items() if len(cases) > 3}


def _mark(encode: LinearEncoder, kind: str, cases: Cases, ways: tuple[Way, ...]) -> Mark:
    truth = encode([ask.after for _, ask in cases])
    others = (truth.sum(0) - truth) / (len(truth) - 1)
    scale = encode.std.view(1, -1, 1, 1)

    def error(answer: Tensor) -> float:
        return float(((answer - truth) * scale).square().mean().sqrt())

    free = min(error(answer) for answer in (_query(encode, cases), _examples(encode, cases)[1], others))
    return Mark(kind, len(cases), tuple(error(way(cases)) / free for way in ways))


def _query(encode: LinearEncoder, cases: Cases) -> Tensor:
    return encode([ask.before for _, ask in cases])


def _examples(encode: LinearEncoder, cases: Cases) -> list[Tensor]:
    return [encode([example.before for example, _ in cases]), encode([example.after for example, _ in cases])]


@torch.no_grad()
def _paint(
    transformer: QwenImageTransformer2DModel, words: Words, context: list[Tensor], said: list[str]
) -> Float[Tensor, "b z h w"]:
    text, mask = words(said, None)
    roles = ANALOGY if len(context) == 3 else (Role.EXAMPLE_SOURCE,)

    def v(x: Tensor, t: Tensor) -> Tensor:
        return predict_velocity(transformer, x, context, roles, t, text, mask)

    return in_two_steps(v, tuple(context[-1].shape))


@torch.no_grad()
def in_two_steps(velocity: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> Float[Tensor, "b z h w"]:
    """Euler's steps from noise over `TIMES`."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for now, then in zip(TIMES, TIMES[1:], strict=False):
        x = x + (then - now) * velocity(x, torch.full((len(x),), now))
    return x

"""What a base has learnt, for its model card: its error on scenes that it never saw, by kind of edit.

An error is the distance to the truth, root mean square in latents as the VAE knows them (its own loss is no part of
it), over that of the best answer that costs nothing: the picture as it is, the example's answer, or the mean of the
other truths. 1 is no better than that.
"""

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


@dataclass(frozen=True)
class Mark:
    """Error of one kind: told in words, beside an example with words for the family alone, and without words."""

    kind: str
    count: int
    words: float
    family: float
    example: float


def unseen_scenes(folder: Path) -> ToldScenes:
    """Couples that no lesson holds."""
    images, told = couples(folder, COUPLES, _make_unseen)
    return ToldScenes(images, [tuple(words) for words in told])


def _make_unseen(index: int) -> tuple[np.ndarray, list[str]]:
    return make_couple(FIRST + index)


def exam(
    transformer: QwenImageTransformer2DModel, words: Words, encode: LinearEncoder, scenes: ToldScenes
) -> list[Mark]:
    """A mark for each kind of map and edit, those of photographs on pictures of scenes."""
    return [_mark(transformer, words, encode, kind, cases) for kind, cases in _cases(scenes).items()]


def table(marks: list[Mark]) -> str:
    """The marks as a Markdown table, best first."""
    rows = [
        f"| {m.kind} | {m.count} | {m.words:.2f} | {m.family:.2f} | {m.example:.2f} |"
        for m in sorted(marks, key=lambda m: m.words)
    ]
    return "\n".join(
        ["| kind | n | words | family, beside an example | example alone |", "|---|---|---|---|---|", *rows]
    )


def _cases(scenes: ToldScenes) -> dict[str, list[tuple[Edited, Edited]]]:
    """Examples with what is asked, by kind."""
    found: dict[str, list[tuple[Edited, Edited]]] = {}
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


def _mark(
    transformer: QwenImageTransformer2DModel, words: Words, encode: LinearEncoder, kind: str,
    cases: list[tuple[Edited, Edited]],
) -> Mark:  # fmt: skip
    examples, asks = zip(*cases, strict=True)
    shown = [encode([example.before for example in examples]), encode([example.after for example in examples])]
    query, truth = encode([ask.before for ask in asks]), encode([ask.after for ask in asks])
    others = (truth.sum(0) - truth) / (len(truth) - 1)
    scale = encode.std.view(1, -1, 1, 1)

    def error(answer: Tensor) -> float:
        return float(((answer - truth) * scale).square().mean().sqrt())

    free = min(error(answer) for answer in (query, shown[1], others))
    asked = (
        ([query], [ask.words for ask in asks]),
        ([*shown, query], [ask.family for ask in asks]),
        ([*shown, query], [" "] * len(cases)),
    )
    errors = [error(_paint(transformer, words, context, text)) / free for context, text in asked]
    return Mark(kind, len(cases), *errors)


@torch.no_grad()
def _paint(
    transformer: QwenImageTransformer2DModel, words: Words, context: list[Tensor], said: list[str]
) -> Float[Tensor, "b z h w"]:
    """Euler's steps from noise over `TIMES`."""
    text, mask = words(said, None)
    roles = ANALOGY if len(context) == 3 else (Role.EXAMPLE_SOURCE,)
    x = torch.randn(context[-1].shape, generator=torch.Generator().manual_seed(0))
    for now, then in zip(TIMES, TIMES[1:], strict=False):
        v = predict_velocity(transformer, x, context, roles, torch.full((len(x),), now), text, mask)
        x = x + (then - now) * v
    return x

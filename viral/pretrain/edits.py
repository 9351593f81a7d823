"""Edits told in words: what the base model learns to do before the adapter learns analogies.

An edit maps a picture to (before, after, words, kind): `words` say all that is needed, `kind` names the edit but
leaves out its parameter, which then has to be read from an example image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from viral.data.degradations import dark, rain, watermark
from viral.pretrain.pictures import COLOURS, Picture, Pictures, Shape, background, draw, random_shapes
from viral.tasks import TASKS


@dataclass(frozen=True)
class Edited:
    before: Picture
    after: Picture
    words: str
    kind: str
    family: str = "Change its look as the example shows."
    """Words that leave even the kind to the example."""


MAP, RESTORE, SCENE = (
    "Draw the map that the example shows.", "Restore it as the example shows.", "Change the scene as the example shows."
)  # fmt: skip


def _task(name: str, before: Picture, after: Picture, *family: str) -> Edited:
    """An edit that is a task of the platform's, in that task's words."""
    words = TASKS[name].instruction
    assert words is not None
    return Edited(before, after, words, words, *family)


def negative(p: Picture, rng: np.random.Generator) -> Edited:
    return _task("negative", p, 1 - p)


def gray(p: Picture) -> Picture:
    return np.repeat((p @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, axis=2)


def decolor(p: Picture, rng: np.random.Generator) -> Edited:
    return Edited(p, gray(p), "make it black and white", "make it black and white")


def colorize(p: Picture, rng: np.random.Generator) -> Edited:
    return _task("colorization", gray(p), p, RESTORE)


def brighten(p: Picture, rng: np.random.Generator) -> Edited:
    return _task("low_light", dark(p, rng).picture, p, RESTORE)


def darken(p: Picture, rng: np.random.Generator) -> Edited:
    factor, word = ((0.65, "slightly"), (0.4, "much"), (0.2, "very much"))[rng.integers(3)]
    return Edited(p, p * np.float32(factor), f"make it {word} darker", "make it darker")


def edges(p: Picture, rng: np.random.Generator) -> Edited:
    lines = cv2.Canny((p * 255).astype(np.uint8), 100, 200).astype(np.float32) / 255
    return _task("edge", p, np.repeat(lines[..., None], 3, axis=2), MAP)


def unmark(p: Picture, rng: np.random.Generator) -> Edited:
    return _task("watermark", watermark(p, rng).picture, p, RESTORE)


def blur(p: Picture, rng: np.random.Generator) -> Edited:
    sigma, word = ((1.0, "slightly"), (2.0, "much"), (4.0, "very much"))[rng.integers(3)]
    return Edited(p, cv2.GaussianBlur(p, (0, 0), sigma), f"blur it {word}", "blur it")


def sharpen(p: Picture, rng: np.random.Generator) -> Edited:
    return Edited(
        cv2.GaussianBlur(p, (0, 0), float(rng.uniform(0.8, 1.6))), p, "make it sharp", "make it sharp", RESTORE
    )


def denoise(p: Picture, rng: np.random.Generator) -> Edited:
    noisy = np.clip(p + rng.normal(size=p.shape) * rng.uniform(0.05, 0.2), 0, 1).astype(np.float32)
    return Edited(noisy, p, "remove the noise", "remove the noise", RESTORE)


def derain(p: Picture, rng: np.random.Generator) -> Edited:
    return _task("deraining", rain(p, rng).picture, p, RESTORE)


def tint(p: Picture, rng: np.random.Generator) -> Edited:
    name = list(COLOURS)[rng.integers(len(COLOURS))]
    tinted = 0.15 * p + 0.85 * gray(p) * (0.25 + np.float32(COLOURS[name]))
    return Edited(p, np.clip(tinted, 0, 1), f"tint it {name}", "tint it")


def frame(p: Picture, rng: np.random.Generator) -> Edited:
    name, width = list(COLOURS)[rng.integers(len(COLOURS))], max(2, len(p) // 10)
    after = np.empty_like(p)
    after[:] = np.float32(COLOURS[name])
    after[width:-width, width:-width] = p[width:-width, width:-width]
    return Edited(p, after, f"draw a {name} frame around it", "draw a frame around it")


def swap(p: Picture, rng: np.random.Generator) -> Edited:
    return Edited(p, np.ascontiguousarray(p[..., ::-1]), "swap red and blue", "swap red and blue")


def silhouette(p: Picture, rng: np.random.Generator) -> Edited:
    g = cv2.GaussianBlur(gray(p), (0, 0), 1.0)
    return Edited(p, (g > g.mean()).astype(np.float32), "make it a silhouette", "make it a silhouette", MAP)


def nothing(p: Picture, rng: np.random.Generator) -> Edited:
    return Edited(p, p, "change nothing", "change nothing")


PHOTO_EDITS: tuple[Callable[[Picture, np.random.Generator], Edited], ...] = (
    negative, negative, decolor, colorize, colorize, brighten, brighten, brighten, darken, edges, edges, edges, edges,
    unmark, unmark, unmark, blur, sharpen, denoise, derain, tint, tint, frame, swap, silhouette, nothing,
)  # fmt: skip


def recolor(shapes: list[Shape], ground: Picture, kind: str, rng: np.random.Generator) -> Edited:
    """Give one shape another colour."""
    i = next(i for i, shape in enumerate(shapes) if shape.kind == kind)
    name = list(COLOURS)[rng.integers(len(COLOURS))]
    after = [*shapes[:i], Shape(kind, name, shapes[i].x, shapes[i].y, shapes[i].radius), *shapes[i + 1 :]]
    return Edited(draw(shapes, ground), draw(after, ground), f"make the {kind} {name}", f"recolor the {kind}", SCENE)


def remove(shapes: list[Shape], ground: Picture, kind: str, rng: np.random.Generator) -> Edited:
    """Take every shape of one kind away."""
    after = [shape for shape in shapes if shape.kind != kind]
    return Edited(draw(shapes, ground), draw(after, ground), f"remove the {kind}", f"remove the {kind}", SCENE)


def edit(pictures: Pictures, rng: np.random.Generator) -> Callable[[np.random.Generator], Edited]:
    """One kind of edit, to be applied to as many pictures as are asked for.

    The edit's own parameter (a colour, a strength) is fixed by the seed drawn here; the picture differs per call.
    """
    seed = int(rng.integers(2**32))
    if rng.random() < 0.15:
        change = (recolor, remove)[rng.integers(2)]
        kind = ("circle", "square", "triangle")[rng.integers(3)]
        return lambda other: _shape_edit(change, kind, pictures.size, other, np.random.default_rng(seed))
    chosen = PHOTO_EDITS[rng.integers(len(PHOTO_EDITS))]
    if chosen in (unmark, derain, denoise):
        return lambda other: chosen(pictures(other), other)
    return lambda other: chosen(pictures(other), np.random.default_rng(seed))


def _shape_edit(
    change: Callable[..., Edited], kind: str, size: int, rng: np.random.Generator, fixed: np.random.Generator
) -> Edited:
    shapes = random_shapes(rng)
    if all(shape.kind != kind for shape in shapes):
        shapes[0] = Shape(kind, shapes[0].colour, shapes[0].x, shapes[0].y, shapes[0].radius)
    keep = [shape for i, shape in enumerate(shapes) if shape.kind != kind or all(s.kind != kind for s in shapes[:i])]
    return change(keep, background(size, rng), kind, fixed)


def phrases(pictures: Pictures, count: int = 3000, seed: int = 0) -> list[str]:
    """The words of `count` random edits, each once: what the tokenizer is trained on."""
    rng = np.random.default_rng(seed)
    drawn = (edit(pictures, rng)(rng) for _ in range(count))
    return sorted({text for edited in drawn for text in (edited.words, edited.kind, edited.family)})

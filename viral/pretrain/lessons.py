"""What the base is taught: samples of one picture, or of three, told in words that say more or less.

A third of the samples edit one image. The others see three images, an example pair and the image to edit, as
multi-reference edit models do; there the words often leave a parameter, or the kind of edit, to be read off the
example. Words are dropped from a tenth of all samples, as guidance needs. Reading everything off the example is what
the adapter learns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from viral.pretrain import edits
from viral.pretrain.edits import Edited
from viral.pretrain.pictures import Picture, Pictures
from viral.pretrain.told_scenes import ToldScenes

SMALL_SHARE = 0.3
"""Share of the work done on pictures of half the side: a quarter of the tokens, so four times as many edits."""
DROPPED = 0.1


@dataclass(frozen=True)
class Sample:
    """Context pictures in order, the picture to paint, and the words."""

    context: tuple[Picture, ...]
    target: Picture
    words: str


Lesson = Callable[[int, bool, float, np.random.Generator], list[Sample]]
"""So many samples, with an example or without, at this share of the work."""


def draw_sample(example: Edited | None, edited: Edited, levels: tuple[float, ...], rng: np.random.Generator) -> Sample:
    """One edit told in words; beside an example, `levels` are the shares of words, kind and family."""
    said = (edited.words, edited.kind, edited.family)
    words = said[rng.choice(3, p=levels)] if example else edited.words
    words = " " if rng.random() < DROPPED else words
    shown = (example.before, example.after) if example else ()
    return Sample((*shown, edited.before), edited.after, words)


@dataclass(frozen=True)
class PhotographEdits:
    """The first lesson: edits of photographs, small ones to begin with."""

    pictures: Pictures
    levels: tuple[float, ...] = (0.35, 0.65, 0.0)

    def __call__(self, count: int, with_example: bool, share: float, rng: np.random.Generator) -> list[Sample]:
        size = self.pictures.size // 2 if share < SMALL_SHARE else self.pictures.size
        return [self.draw(replace(self.pictures, size=size), with_example, rng) for _ in range(count)]

    def draw(self, pictures: Pictures, with_example: bool, rng: np.random.Generator) -> Sample:
        """An edit of one of these pictures."""
        make = edits.edit(pictures, rng)
        edited = make(rng)
        return draw_sample(make(rng) if with_example else None, edited, self.levels, rng)


@dataclass(frozen=True)
class SceneEdits:
    """The second lesson: maps and edits of scenes, and what the first taught, on photographs and on scenes."""

    pictures: Pictures
    scenes: ToldScenes
    told_share: float = 0.65
    levels: tuple[float, ...] = (0.15, 0.25, 0.6)

    def __call__(self, count: int, with_example: bool, share: float, rng: np.random.Generator) -> list[Sample]:
        return [self._draw(with_example, rng) for _ in range(count)]

    def _draw(self, with_example: bool, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.told_share:
            frame = self.scenes.frame(int(rng.integers(len(self.scenes.words))))
            pictures = replace(self.pictures, photos=[frame]) if rng.random() < 0.5 else self.pictures
            return PhotographEdits(pictures, self.levels).draw(pictures, with_example, rng)
        couple = self.scenes.couple(int(rng.integers(len(self.scenes.words))), self.pictures.size, rng)
        example, edited = couple if rng.random() < 0.5 else couple[::-1]
        return draw_sample(example if with_example else None, edited, self.levels, rng)

"""Scenes told in words to pretrain the base on: couples of pictures with a map of theirs, and of scenes under an edit.

What the adapter is measured on is not among them: the kinds of edit and the combinations that
`viral.data.sources.combinations` keeps apart, line drawings, and the numbers of the scenes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viral.data.sources.combinations import KEPT_OUT
from viral.data.sources.scenes import read_scene, sampled_edit, sampled_scene_for
from viral.pretrain.couples import SIZE, Couple, Couples, couples, pictures_of
from viral.pretrain.edits import MAP, SCENE, Edited
from viral.pretrain.pictures import Photograph
from viral.scenes import CATEGORIES, EDITS, apply
from viral.tasks import TASKS, Rendering

MAPS = ("depth", "normal", "entity", "detection", "interactive", "depth", "normal", "pose")
KINDS = tuple(kind for kind in EDITS if kind not in KEPT_OUT)
ATTEMPTS = 64


@dataclass(frozen=True)
class ToldScenes:
    """Couples with their words: what is to be done, its kind without its parameter, and its family."""

    images: Couples
    words: list[tuple[str, str, str]]

    def couple(self, index: int, size: int, rng: np.random.Generator) -> tuple[Edited, Edited]:
        """Both pairs of couple `index`, each cut to `size` at a place of its own."""
        first, second = (self._cut(pair, size, rng) for pair in self.images[index])
        return Edited(*first, *self.words[index]), Edited(*second, *self.words[index])

    @staticmethod
    def _cut(pair: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        top, left = rng.integers(pair.shape[1] - size + 1, size=2)
        return pair[:, top : top + size, left : left + size].astype(np.float32) / 255

    def frame(self, index: int) -> Photograph:
        """The first picture of couple `index` in place of a photograph."""
        return Photograph(self.images[index, 0, 0], "", "scene", "CC0-1.0", "")

    def phrases(self) -> list[str]:
        """All words, each once."""
        return sorted({text for words in self.words for text in words})


def told_scenes(folder: Path, count: int) -> ToldScenes:
    """The first `count` couples, of which those in `folder` are read and the others rendered into it."""
    images, told = couples(folder, count, make_couple)
    return ToldScenes(images, [tuple(words) for words in told])


def make_couple(index: int) -> tuple[Couple, list[str]]:
    """Couple number `index`: two of five show a map, the others an edit."""
    turn, which = divmod(index, 5)
    if which < 2:
        return _map(MAPS[(2 * turn + which) % len(MAPS)], index)
    return _edit(KINDS[(3 * turn + which - 2) % len(KINDS)], index)


def _edit(kind: str, index: int) -> tuple[Couple, list[str]]:
    rng = np.random.default_rng([index, 3])
    edit, first = sampled_edit(kind, int(rng.integers(1 << 31)), "train")
    second = sampled_scene_for(kind, edit.params, int(rng.integers(1 << 31)), "train")
    scenes = ((first, edit.scene_after), (second, apply(second, kind, edit.params)))
    return pictures_of(scenes), [edit.instruction, _kind(kind, edit.params), SCENE]


def _kind(kind: str, params: dict[str, str]) -> str:
    """The instruction with the parameter that is read off an example, the last, left open."""
    template, names = EDITS[kind].template, list(EDITS[kind].choices)
    if not names:
        return template
    return re.sub(r"\ba (?=[aeiou])", "an ", template.format(**{**params, names[-1]: "as shown"}))


def _map(name: str, index: int) -> tuple[Couple, list[str]]:
    """A task that draws a map, done to two scenes; of objects, those of one category."""
    rng = np.random.default_rng([index, 5])
    category = "person" if name == "pose" else str(rng.choice(list(CATEGORIES)))
    shown = (category,) if name in ("pose", "detection") else ()
    pairs: list[Rendering] = []
    for _ in range(ATTEMPTS):
        try:
            pair = TASKS[name].pair(read_scene(int(rng.integers(1 << 31)), SIZE, shown), rng)
        except ValueError:  # nothing in this scene is large enough
            continue
        pairs += [pair] if pair.group in (None, category) else []
        if len(pairs) == 2:
            break
    else:
        raise ValueError(f"{ATTEMPTS} scenes show no two {name} of {category}")
    kind = TASKS[name].instruction
    assert kind is not None
    words = kind.replace("object of the category", category) if name == "detection" else kind
    return np.stack([np.stack([pair.source, pair.target]) for pair in pairs]), [words, kind, MAP]

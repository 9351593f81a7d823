"""Pictures on their way to a method, which has a size of its own, and back to the query's size."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image as Pillow

from viral.evaluation.protocols.case import Case, Image
from viral.sampling.editor import Pair


def pillow(image: Image) -> Pillow.Image:
    """The same pixels as a Pillow image."""
    return Pillow.fromarray(image)


def query_of(case: Case) -> Pillow.Image:
    """B."""
    return pillow(case.query)


def examples_of(case: Case) -> list[Pair]:
    """The pairs (A, A')."""
    return [(pillow(source), pillow(target)) for source, target in case.examples]


def sized_as(painted: Pillow.Image, like: Image) -> Image:
    """A painted picture at the size of another, bicubic where it has to change."""
    size = like.shape[1], like.shape[0]
    rgb = painted.convert("RGB")
    return np.asarray(rgb if rgb.size == size else rgb.resize(size, Pillow.Resampling.BICUBIC))


def answers_of(painted: Mapping[int, Pillow.Image], cases: Sequence[Case]) -> list[Image | None]:
    """Pictures by the place of their case, each at its query's size; none for the places left out."""
    return [sized_as(painted[i], case.query) if i in painted else None for i, case in enumerate(cases)]

"""Scenes that benchmarks are drawn from: their seeds lie where none that is trained on can."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow

from viral.evaluation.protocols.case import Image
from viral.scenes import AppliedEdit, Scene, sample_edit, sample_scene

UNSEEN = 1 << 48
"""Seeds of training scenes are of at most 48 bits."""
LAYOUT, RUN = 1 << 32, 1 << 20
"""Seeds apart of one layout and the next, and of one run's seed and the next."""
ATTEMPTS = 32


def unseen_scene(layout: int, seed: int, number: int, categories: tuple[str, ...] = ()) -> Scene:
    """Scene `number` of a layout, which has a number too; equal arguments give equal scenes."""
    return sample_scene(UNSEEN + layout * LAYOUT + seed * RUN + number, categories)


def some_edit(scene: Scene, kinds: Sequence[str], rng: np.random.Generator) -> AppliedEdit:
    """An edit of one of the kinds that means something in the scene; `ValueError` where there is none."""
    for kind in rng.permutation(kinds):
        try:
            return sample_edit(scene, str(kind), rng)
        except ValueError:
            continue
    raise ValueError(f"none of {', '.join(kinds)} applies to the scene")


def editable_scene(
    layout: int, seed: int, number: int, kinds: Sequence[str]
) -> tuple[Scene, AppliedEdit, np.random.Generator]:
    """A scene with an edit of one of the kinds, and the generator to go on with."""
    for attempt in range(ATTEMPTS):
        scene = unseen_scene(layout, seed, number * ATTEMPTS + attempt)
        rng = np.random.default_rng([scene.seed, 5])
        try:
            return scene, some_edit(scene, kinds, rng), rng
        except ValueError:
            continue
    raise ValueError(f"no scene of {ATTEMPTS} has a place for an edit of {', '.join(kinds)}")


def encode(pixels: np.ndarray, form: str = "PNG", palette: bytes | None = None) -> bytes:
    """The bytes of an image file; a palette makes numbers of one byte a picture that shows them."""
    picture = Pillow.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette)
    file = io.BytesIO()
    picture.save(file, form, **({"quality": 95} if form == "JPEG" else {}))
    return file.getvalue()


def without(image: Image, region: np.ndarray) -> np.ndarray:
    """The image as RGBA, transparent in the region."""
    return np.dstack([image, np.where(region, 0, 255).astype(np.uint8)])

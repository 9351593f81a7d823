"""Pictures that were degraded, back to what they were: the source is made, the target is the picture."""

import cv2
import numpy as np

from viral.data import degradations
from viral.tasks.labelled import Image, Labelled
from viral.tasks.task import Rendering, Task

LEAST_COVER = 0.02
"""Share of a picture that its watermark covers at least."""
LEAST_INK = 12
"""What it changes there on average, of 255: white letters on a white sky teach nothing."""


def render_colorization(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """From the luma of a photograph to its colours."""
    luma = cv2.cvtColor(labelled.image, cv2.COLOR_RGB2GRAY)
    return Rendering(np.repeat(luma[..., None], 3, axis=2), labelled.image)


def render_low_light(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """From a dark, noisy exposure to the photograph."""
    degraded = degradations.dark(_float(labelled.image), rng)
    return Rendering(_uint8(degraded.picture), labelled.image, params=degraded.params)


def render_deraining(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """From a photograph behind falling rain to the clear one; far drops are a mist that lies on all of it."""
    degraded = degradations.rain(_float(labelled.image), rng)
    return Rendering(_uint8(degraded.picture), labelled.image, params=degraded.params)


def render_watermark(
    labelled: Labelled, rng: np.random.Generator, templates: degradations.Templates | None = None
) -> Rendering:
    """From a photograph under a half transparent mark to the clean one; the mask is where the mark is.

    Marks are lines of letters, or `templates`.
    """
    image = labelled.image
    for _ in range(64):
        if templates is None:
            degraded = degradations.watermark(_float(image), rng)
        else:
            degraded = degradations.logo(_float(image), rng, templates)
        rendering = _marked(image, degraded)
        if _is_visible(rendering):
            return rendering
    height, width = image.shape[:2]
    raise ValueError(f"no visible watermark: 64 were drawn on an image of {width}x{height} pixels")


def _marked(image: Image, degraded: degradations.Degraded) -> Rendering:
    assert degraded.cover is not None, "a mark knows what it covers"
    mask = np.where(degraded.cover > 0.05, 255, 0).astype(np.uint8)
    return Rendering(_uint8(degraded.picture), image, mask, degraded.params)


def _is_visible(marked: Rendering) -> bool:
    assert marked.mask is not None
    covered = marked.mask != 0
    change = np.abs(marked.source.astype(int) - marked.target)
    return bool(covered.mean() >= LEAST_COVER) and float(change[covered].mean()) >= LEAST_INK


def _float(image: Image) -> degradations.Picture:
    return image.astype(np.float32) / 255


def _uint8(picture: degradations.Picture) -> Image:
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


COLORIZATION = Task(
    "colorization", "Colorization", render_colorization, "ab_error", higher_is_better=False, weight=2.0,
    instruction="Give the black and white picture its colours.",
)  # fmt: skip
LOW_LIGHT = Task(
    "low_light", "Low-light enhancement", render_low_light, "psnr", higher_is_better=True,
    instruction="Brighten the dark picture.",
)  # fmt: skip
DERAINING = Task(
    "deraining", "Deraining", render_deraining, "psnr", higher_is_better=True, instruction="Remove the rain."
)
WATERMARK = Task(
    "watermark", "Watermark removal", render_watermark, "masked_error", higher_is_better=False, weight=2.0,
    instruction="Remove the watermark.",
)  # fmt: skip

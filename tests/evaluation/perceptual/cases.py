"""Cases of smooth noise with words."""

import numpy as np
from skimage.filters import gaussian

from viral.evaluation.protocols.case import Case, Image


def noise(seed: int, side: int = 64) -> Image:
    """A picture of smooth noise."""
    picture = gaussian(np.random.default_rng(seed).random((side, side, 3)), 3, channel_axis=-1)
    return (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)


def case(seed: int, **given: object) -> Case:
    """A case told in words, with a truth."""
    about = {"instruction": "Paint the car red.", "caption": "a photo of a red car"}
    about |= {"labels": {"source_caption": "a photo of a blue car"}, "truth": noise(seed + 1000)}
    return Case(f"case-{seed}", "edit", f"scene-{seed}", (), noise(seed), seed=seed, **(about | given))

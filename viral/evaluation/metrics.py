"""How far an output is from the truth: pure functions on uint8 images, with their conventions pinned.

Every metric has the same signature, `(output, truth, mask) -> float`, and is found by its name in `METRICS`.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, UInt8
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio
from skimage.morphology import dilation, footprint_rectangle

Image = UInt8[np.ndarray, "y x 3"]
Mask = UInt8[np.ndarray, "y x"]

LINE_THRESHOLD = 128
HIGHEST_PSNR = 100.0


def edge_f1(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """F-score of light lines at one pixel of tolerance, 0..1.

    A line is where the mean of the channels is at least 128. Precision is the share of output lines with a true line
    in the 3x3 pixels around them, recall the share of true lines with an output line there. Two images without a
    line agree (1); one without a line scores 0.
    """
    found, wanted = _lines(output), _lines(truth)
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    around = footprint_rectangle((3, 3))
    precision = dilation(wanted, around)[found].mean()
    recall = dilation(found, around)[wanted].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def ab_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean Euclidean distance in the a and b of CIELAB (sRGB, D65, 2 degrees): wrong colour, whatever the lightness."""
    difference = rgb2lab(output)[..., 1:] - rgb2lab(truth)[..., 1:]
    return float(np.linalg.norm(difference, axis=-1).mean())


def psnr(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio over all channels in dB, peak 255, at most 100 (equal images)."""
    if np.array_equal(output, truth):
        return HIGHEST_PSNR
    return min(float(peak_signal_noise_ratio(truth, output, data_range=255)), HIGHEST_PSNR)


def masked_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean absolute difference, 0..255, over the pixels where `mask` is not 0; `ValueError` without such a pixel."""
    if mask is None or not mask.any():
        raise ValueError(
            "masked_error needs a mask with at least one pixel set, got none; give the pairs of this task masks"
        )
    inside = mask > 0
    return float(np.abs(output[inside].astype(float) - truth[inside].astype(float)).mean())


def _lines(image: Image) -> Bool[np.ndarray, "y x"]:
    return image.mean(axis=-1) >= LINE_THRESHOLD


METRICS: dict[str, Callable[[Image, Image, Mask | None], float]] = {
    "edge_f1": edge_f1,
    "ab_error": ab_error,
    "psnr": psnr,
    "masked_error": masked_error,
}
HIGHER_IS_BETTER = ("edge_f1", "psnr")
NAMES = {
    "edge_f1": "F-score of lines at one pixel",
    "ab_error": "colour error in CIELAB a, b",
    "psnr": "peak signal-to-noise ratio, dB",
    "masked_error": "error inside the mask, of 255",
}

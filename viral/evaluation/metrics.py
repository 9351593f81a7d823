"""How far an output is from the truth: pure functions on uint8 images, with their conventions pinned.

Every metric has the same signature, `(output, truth, mask) -> float`, and is found by its name in `METRICS`.
"""

from collections.abc import Callable

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, Integer, UInt8
from skimage.color import rgb2lab
from skimage.measure import label
from skimage.metrics import peak_signal_noise_ratio
from skimage.morphology import dilation, footprint_rectangle

from viral.tasks.pose import COLOURS

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


def iou(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Intersection over union of what is light (mean of the channels at least 128), 0..1; both empty is 1."""
    found, wanted = _lines(output), _lines(truth)
    union = (found | wanted).sum()
    return float((found & wanted).sum() / union) if union else 1.0


def depth_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean absolute difference of grey, of 255, after the scale and shift of the output that fit the truth best.

    Grey is the mean of the channels; pixels whose truth is black are not known and do not count.
    """
    known = truth.max(axis=2) > 0
    if not known.any():
        raise ValueError("depth_error: the truth is black everywhere, so no depth is known")
    found, wanted = output[known].mean(axis=1), truth[known].mean(axis=1)
    fit = np.stack([found, np.ones_like(found)], axis=1)
    aligned = fit @ np.linalg.lstsq(fit, wanted, rcond=None)[0]
    return float(np.abs(aligned - wanted).mean())


def normal_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean angle in degrees between normals (colour / 127.5 - 1, brought to length 1) where the truth is not black."""
    known = truth.max(axis=2) > 0
    if not known.any():
        raise ValueError("normal_error: the truth is black everywhere, so no normal is known")
    found, wanted = (_unit(image[known].astype(float) / 127.5 - 1) for image in (output, truth))
    return float(np.degrees(np.arccos(np.clip((found * wanted).sum(axis=1), -1, 1))).mean())


def entity_iou(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean over the truth's colours of the best intersection over union with one of the output's, 0..1.

    Each output pixel takes the nearest of the output's 32 main colours, so that slight noise splits no region; the
    colours themselves do not count, nor does black in the truth.
    """
    labels = _quantised(output)
    colours, wanted = np.unique(truth.reshape(-1, 3), axis=0, return_inverse=True)
    counts = np.zeros((len(colours), labels.max() + 1))
    np.add.at(counts, (wanted.ravel(), labels.ravel()), 1)
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0, keepdims=True) - counts
    best = (counts / union).max(axis=1)[colours.any(axis=1)]
    if not len(best):
        raise ValueError("entity_iou: the truth is black everywhere, so there is no entity")
    return float(best.mean())


def pck(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Share of the drawn joints that the output has in the same colour within a 20th of the picture's longer side.

    A joint is a group of pixels of the truth in the full colour of one of OpenPose's 18 joints.
    """
    reach, hits = max(2, round(max(truth.shape[:2]) / 20)), []
    around = footprint_rectangle((2 * reach + 1, 2 * reach + 1))
    for colour in COLOURS:
        wanted, found = (np.abs(image.astype(int) - colour).max(axis=2) <= 40 for image in (truth, output))
        joints = np.asarray(label(wanted))
        near = dilation(found, around) if found.any() else found
        hits += [bool(near[joints == number].any()) for number in range(1, joints.max() + 1)]
    if not hits:
        raise ValueError("pck: the truth shows no joint")
    return float(np.mean(hits))


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _quantised(image: Image) -> Integer[np.ndarray, "y x"]:
    """Each pixel's number among the image's main colours."""
    paletted = PIL.Image.fromarray(image).quantize(32, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
    return np.asarray(paletted).astype(int)


def _lines(image: Image) -> Bool[np.ndarray, "y x"]:
    return image.mean(axis=-1) >= LINE_THRESHOLD


METRICS: dict[str, Callable[[Image, Image, Mask | None], float]] = {
    "edge_f1": edge_f1,
    "ab_error": ab_error,
    "psnr": psnr,
    "masked_error": masked_error,
    "iou": iou,
    "depth_error": depth_error,
    "normal_error": normal_error,
    "entity_iou": entity_iou,
    "pck": pck,
}
HIGHER_IS_BETTER = ("edge_f1", "psnr", "iou", "entity_iou", "pck")
NAMES = {
    "edge_f1": "F-score of lines at one pixel",
    "ab_error": "colour error in CIELAB a, b",
    "psnr": "peak signal-to-noise ratio, dB",
    "masked_error": "error inside the mask, of 255",
    "iou": "intersection over union",
    "depth_error": "depth error after scale and shift, of 255",
    "normal_error": "angle between normals, degrees",
    "entity_iou": "mean IoU of entities, whatever their colours",
    "pck": "share of joints within a 20th of the picture",
}

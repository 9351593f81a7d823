"""How far an output is from the truth: pure functions on uint8 images, with their conventions pinned.

Every metric has the same signature, `(output, truth, mask) -> float`, and is found by its name in `METRICS`.
"""

from collections.abc import Callable

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, Integer, UInt8
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from skimage.color import rgb2lab
from skimage.measure import label, regionprops
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from skimage.morphology import dilation, footprint_rectangle

from viral.tasks.pose import COLOURS

Image = UInt8[np.ndarray, "y x 3"]
Mask = UInt8[np.ndarray, "y x"]

LINE_THRESHOLD = 128
HIGHEST_PSNR = 100.0
LEAST_BOX = 0.001
"""Share of the picture that a light region covers at least to count as a box."""
FARTHEST = 10.0
"""How many times as far as the nearest the farthest counts in figures of depth."""
DELTA1 = 1.25
ALIKE = 30.0
"""Distance in RGB up to which two colours of an output are one entity's."""


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


def rmse(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Root of the mean squared difference over all pixels and channels of sRGB, 0..255."""
    return float(np.sqrt(mean_squared_error(truth, output)))


def l1(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean absolute difference over all pixels and channels of sRGB, 0..1, as MagicBrush has it."""
    return float(np.abs(output.astype(float) - truth).mean() / 255)


def ssim(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Structural similarity, at most 1, of Wang et al. (2004): a Gaussian window of 11x11 pixels with sigma 1.5, K
    0.01 and 0.03, peak 255; the mean over the channels of sRGB, not of luma alone, and over windows that lie inside.

    `ValueError` for pictures with a side below 11.
    """
    if min(truth.shape[:2]) < 11:
        raise ValueError(f"ssim needs sides of 11 pixels and more, got {truth.shape[1]}x{truth.shape[0]}")
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(truth, output, data_range=255, channel_axis=2, **window))


def box_iou(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean intersection over union of boxes, 0..1, each of either picture matched to at most one of the other.

    A box is the upright rectangle round a connected light region (mean of the channels at least 128, eight
    neighbours) of at least a thousandth of the picture. The matching has the largest sum (Hungarian method), which is
    divided by the larger number of boxes: one too many or too few counts as 0. Without any box in both it is 1.
    """
    found, wanted = _boxes(output), _boxes(truth)
    if not len(found) or not len(wanted):
        return float(len(found) == len(wanted))
    low = np.maximum(found[:, None, :2], wanted[None, :, :2])
    high = np.minimum(found[:, None, 2:], wanted[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    overlap = common / (_areas(found)[:, None] + _areas(wanted)[None] - common)
    return float(overlap[linear_sum_assignment(overlap, maximize=True)].sum() / max(overlap.shape))


def abs_rel(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean of |d - d*| / d* over the pixels whose depth is known, with d and d* as `_depths` reads them."""
    found, wanted = _depths(output, truth)
    return float((np.abs(found - wanted) / wanted).mean())


def delta1(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Share of the pixels with max(d / d*, d* / d) below 1.25, with d and d* as `_depths` reads them."""
    found, wanted = _depths(output, truth)
    return float((np.maximum(found / wanted, wanted / found) < DELTA1).mean())


def depth_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean absolute difference of grey, of 255, after the scale and shift of the output that fit the truth best.

    Grey is the mean of the channels; pixels whose truth is black are not known and do not count.
    """
    aligned, wanted = _aligned(output, truth)
    return float(np.abs(aligned - wanted).mean())


def normal_error(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean angle in degrees between normals (colour / 127.5 - 1, brought to length 1) where the truth is not black."""
    return float(_angles(output, truth).mean())


def normal_median(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Median over the pixels of the angle that `normal_error` averages."""
    return float(np.median(_angles(output, truth)))


def entity_iou(output: Image, truth: Image, mask: Mask | None = None) -> float:
    """Mean over the truth's colours of the intersection over union with the output's colour matched to it, 0..1.

    Each output pixel takes the nearest of the output's 32 main colours, of which those within 30 of 255 of one another
    count as one (complete linkage in RGB), so that slight noise splits no region. Each of these is matched to at most
    one of the truth's, so that the sum is largest (Hungarian method); the colours themselves do not count, nor does
    black in the truth.
    """
    labels = _quantised(output)
    colours, wanted = np.unique(truth.reshape(-1, 3), axis=0, return_inverse=True)
    counts = np.zeros((len(colours), labels.max() + 1))
    np.add.at(counts, (wanted.ravel(), labels.ravel()), 1)
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0, keepdims=True) - counts
    overlap = (counts / union)[colours.any(axis=1)]
    if not len(overlap):
        raise ValueError("entity_iou: the truth is black everywhere, so there is no entity")
    return float(overlap[linear_sum_assignment(overlap, maximize=True)].sum() / len(overlap))


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


def _depths(output: Image, truth: Image) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Depths of output and truth where the truth's is known, in units of the nearest.

    Pictures are grey inverse depth: the mean of the channels, near bright, black unknown in the truth. The output's
    grey is brought to the truth's by the scale and shift that fit best (least squares, per picture), as inverse depth
    is known up to these; then depth is 255 / grey, at least 1 and at most 10. `ValueError` where nothing is known.
    """
    found, wanted = _aligned(output, truth)
    return tuple(255 / np.clip(grey, 255 / FARTHEST, 255) for grey in (found, wanted))


def _aligned(output: Image, truth: Image) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Grey of output and truth where the truth is not black, the output's scaled and shifted to fit best."""
    known = truth.max(axis=2) > 0
    if not known.any():
        raise ValueError("the truth is black everywhere, so no depth is known")
    found, wanted = output[known].mean(axis=1), truth[known].mean(axis=1)
    fit = np.stack([found, np.ones_like(found)], axis=1)
    return fit @ np.linalg.lstsq(fit, wanted, rcond=None)[0], wanted


def _angles(output: Image, truth: Image) -> Float[np.ndarray, " n"]:
    """Degrees between normals where the truth is not black."""
    known = truth.max(axis=2) > 0
    if not known.any():
        raise ValueError("the truth is black everywhere, so no normal is known")
    found, wanted = (_unit(image[known].astype(float) / 127.5 - 1) for image in (output, truth))
    return np.degrees(np.arccos(np.clip((found * wanted).sum(axis=1), -1, 1)))


def _boxes(image: Image) -> Float[np.ndarray, "n 4"]:
    """Top, left, bottom, right of the light regions of an image."""
    least = LEAST_BOX * image.shape[0] * image.shape[1]
    regions = regionprops(np.asarray(label(_lines(image))))
    boxes = [region.bbox for region in regions if region.area >= least]
    return np.array(boxes, float).reshape(-1, 4)


def _areas(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _quantised(image: Image) -> Integer[np.ndarray, "y x"]:
    """Each pixel's number among the image's main colours, of which those that are nearly alike count as one."""
    paletted = PIL.Image.fromarray(image).quantize(32, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
    numbers, palette = np.asarray(paletted).astype(int), np.array(paletted.getpalette(), float).reshape(-1, 3)
    colours = palette[: numbers.max() + 1]
    if len(colours) == 1:
        return numbers
    return (fcluster(linkage(colours, "complete"), ALIKE, "distance") - 1)[numbers]


def _lines(image: Image) -> Bool[np.ndarray, "y x"]:
    return image.mean(axis=-1) >= LINE_THRESHOLD


METRICS: dict[str, Callable[[Image, Image, Mask | None], float]] = {
    "edge_f1": edge_f1,
    "ab_error": ab_error,
    "psnr": psnr,
    "masked_error": masked_error,
    "rmse": rmse,
    "l1": l1,
    "ssim": ssim,
    "iou": iou,
    "box_iou": box_iou,
    "abs_rel": abs_rel,
    "delta1": delta1,
    "depth_error": depth_error,
    "normal_error": normal_error,
    "normal_median": normal_median,
    "entity_iou": entity_iou,
    "pck": pck,
}
HIGHER_IS_BETTER = ("edge_f1", "psnr", "ssim", "iou", "box_iou", "delta1", "entity_iou", "pck")
NAMES = {
    "edge_f1": "F-score of lines at one pixel",
    "ab_error": "colour error in CIELAB a, b",
    "psnr": "peak signal-to-noise ratio, dB",
    "masked_error": "error inside the mask, of 255",
    "rmse": "root mean squared error, of 255",
    "l1": "mean absolute difference, of 1",
    "ssim": "structural similarity",
    "iou": "intersection over union",
    "box_iou": "IoU of boxes, one matched to one",
    "abs_rel": "relative error of depth after scale and shift",
    "delta1": "share of depths within a factor of 1.25",
    "depth_error": "depth error after scale and shift, of 255",
    "normal_error": "mean angle between normals, degrees",
    "normal_median": "median angle between normals, degrees",
    "entity_iou": "mean IoU of entities, whatever their colours",
    "pck": "share of joints within a 20th of the picture",
}

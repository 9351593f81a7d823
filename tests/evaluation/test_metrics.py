import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error
from torchmetrics.functional.image import peak_signal_noise_ratio

from viral.evaluation.metrics import HIGHER_IS_BETTER, METRICS, ab_error, edge_f1, masked_error, psnr
from viral.tasks.pose import COLOURS


def _pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (24, 32, 3), np.uint8), rng.integers(0, 256, (24, 32, 3), np.uint8)


def _sketch(seed: int) -> np.ndarray:
    lines = np.random.default_rng(seed).random((24, 32, 1)) < 0.1
    return np.repeat(lines, 3, axis=-1).astype(np.uint8) * 255


def test_edge_f1_equals_matching_by_chebyshev_distance():
    output, truth = _sketch(1), _sketch(2)
    found, wanted = np.argwhere(output[..., 0] > 0), np.argwhere(truth[..., 0] > 0)
    near = np.abs(found[:, None] - wanted[None]).max(axis=-1) <= 1
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    assert edge_f1(output, truth) == pytest.approx(2 / (1 / precision + 1 / recall))


def test_edge_f1_forgives_one_pixel_but_not_two():
    truth = np.zeros((16, 16, 3), np.uint8)
    truth[8] = 255
    assert edge_f1(np.roll(truth, 1, axis=0), truth) == 1
    assert edge_f1(np.roll(truth, 2, axis=0), truth) == 0


def test_edge_f1_of_no_lines_is_one_against_none_and_zero_against_some():
    empty = np.zeros((8, 8, 3), np.uint8)
    assert edge_f1(empty, empty) == 1
    assert edge_f1(empty, empty + 255) == 0


def test_ab_error_equals_the_formula_of_the_cie():
    output, truth = _pair()
    assert ab_error(output, truth) == pytest.approx(np.linalg.norm(_ab(output) - _ab(truth), axis=-1).mean(), rel=1e-3)


def test_ab_error_of_greys_is_zero_whatever_the_lightness():
    dark, light = (np.full((4, 4, 3), level, np.uint8) for level in (30, 220))
    assert ab_error(dark, light) == pytest.approx(0, abs=1e-2)


def test_psnr_equals_torchmetrics():
    output, truth = _pair()
    other = peak_signal_noise_ratio(torch.tensor(output).double(), torch.tensor(truth).double(), data_range=255.0)
    assert psnr(output, truth) == pytest.approx(other.item(), rel=1e-6)


def test_psnr_of_equal_images_is_finite():
    assert psnr(_pair()[0], _pair()[0]) == 100


def test_masked_error_equals_scikit_learn_inside_the_mask():
    output, truth = _pair()
    mask = np.zeros((24, 32), np.uint8)
    mask[4:9, 7:20] = 255
    other = mean_absolute_error(truth[mask > 0].ravel().astype(float), output[mask > 0].ravel().astype(float))
    assert masked_error(output, truth, mask) == pytest.approx(other)


def test_masked_error_ignores_what_lies_outside_the_mask():
    output, _ = _pair()
    truth, mask = output.copy(), np.zeros((24, 32), np.uint8)
    mask[:4], truth[4:] = 1, 0
    assert masked_error(output, truth, mask) == 0


def test_masked_error_without_a_mask_says_what_it_needs():
    with pytest.raises(ValueError, match="needs a mask"):
        masked_error(*_pair(), None)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_prefers_the_truth_to_noise(name: str):
    truth, noise = _sketch(3), _pair()[1]
    truth[4:8, 4:8] = COLOURS[0]  # a joint
    mask = np.full(truth.shape[:2], 255, np.uint8)
    exact, wrong = METRICS[name](truth, truth, mask), METRICS[name](noise, truth, mask)
    assert exact > wrong if name in HIGHER_IS_BETTER else exact < wrong


def _ab(image: np.ndarray) -> np.ndarray:
    """a and b of CIELAB from sRGB by the published formulas."""
    value = image / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.moveaxis(linear @ np.array(matrix).T / np.array([0.95047, 1.0, 1.08883]), -1, 0)
    f = [np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in (x, y, z)]
    return np.stack([500 * (f[0] - f[1]), 200 * (f[1] - f[2])], axis=-1)

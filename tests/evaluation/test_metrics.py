from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchvision.ops import box_iou as torchvision_box_iou

from viral.evaluation.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    ab_error,
    abs_rel,
    box_iou,
    delta1,
    edge_f1,
    entity_iou,
    masked_error,
    normal_median,
    psnr,
    rmse,
    ssim,
)
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


def _rectangles(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """White on black; top, left, bottom, right."""
    picture = np.zeros((64, 64, 3), np.uint8)
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = 255
    return picture


def test_rmse_equals_torchmetrics():
    output, truth = _pair()
    other = mean_squared_error(torch.tensor(output).double().flatten(), torch.tensor(truth).double().flatten())
    assert rmse(output, truth) == pytest.approx(other.sqrt().item(), rel=1e-9)


def test_ssim_equals_torchmetrics_where_its_window_lies_inside():
    output, truth = _pair()
    as_batch = [torch.tensor(image).double().permute(2, 0, 1)[None] for image in (output, truth)]
    _, each = structural_similarity_index_measure(*as_batch, data_range=255.0, sigma=1.5, return_full_image=True)
    assert ssim(output, truth) == pytest.approx(each[..., 5:-5, 5:-5].mean().item(), abs=1e-9)


def test_ssim_of_a_picture_smaller_than_its_window_is_an_error():
    with pytest.raises(ValueError, match="sides of 11"):
        ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))


def test_box_iou_equals_torchvision_and_the_best_of_all_matchings():
    found, wanted = [(2, 2, 20, 20), (30, 30, 60, 50)], [(4, 4, 22, 24), (28, 26, 58, 52)]
    overlap = torchvision_box_iou(
        *(torch.tensor([(b[1], b[0], b[3], b[2]) for b in boxes]) for boxes in (found, wanted))
    )
    best = max(sum(overlap[i, j].item() for i, j in enumerate(order)) for order in permutations(range(2)))
    assert box_iou(_rectangles(*found), _rectangles(*wanted)) == pytest.approx(best / 2)


def test_box_iou_counts_a_missing_and_a_surplus_box_as_zero():
    one, two = _rectangles((2, 2, 20, 20)), _rectangles((2, 2, 20, 20), (30, 30, 60, 50))
    assert box_iou(two, one) == box_iou(one, two) == pytest.approx(0.5)
    assert box_iou(_rectangles(), _rectangles()) == 1 and box_iou(_rectangles(), one) == 0


def test_box_iou_does_not_see_single_pixels():
    speckled = _rectangles((2, 2, 20, 20))
    speckled[40, 40] = 255
    assert box_iou(speckled, _rectangles((2, 2, 20, 20))) == 1


def test_figures_of_depth_equal_sklearns_regression_and_their_definition():
    output, truth = (np.repeat(image[..., :1], 3, axis=2) for image in _pair())
    known = truth[..., 0] > 0
    grey, wanted = output[known][:, :1].astype(float), truth[known][:, 0].astype(float)
    fitted = LinearRegression().fit(grey, wanted).predict(grey)
    found, true = (255 / np.clip(value, 25.5, 255) for value in (fitted, wanted))
    assert abs_rel(output, truth) == pytest.approx(mean_absolute_percentage_error(true, found))
    assert delta1(output, truth) == pytest.approx(((found / true < 1.25) & (true / found < 1.25)).mean())


def test_figures_of_depth_do_not_ask_for_scale_and_shift():
    truth = np.repeat(np.linspace(10, 250, 32 * 32).reshape(32, 32, 1).astype(np.uint8), 3, axis=2)
    darker = (truth // 2 + 40).astype(np.uint8)
    assert abs_rel(darker, truth) < 0.02 and delta1(darker, truth) == 1
    assert delta1(truth[::-1].copy(), truth) < 1


def test_depth_that_nobody_knows_is_an_error():
    black = np.zeros((16, 16, 3), np.uint8)
    for metric in (abs_rel, delta1):
        with pytest.raises(ValueError, match="no depth is known"):
            metric(black, black)


def test_the_median_angle_ignores_a_few_wrong_normals_and_the_mean_does_not():
    truth = np.full((16, 16, 3), (127, 127, 255), np.uint8)
    output = truth.copy()
    output[:2] = (255, 127, 127)
    assert normal_median(output, truth) < 1 < METRICS["normal_error"](output, truth)


def test_entities_are_matched_one_to_one():
    truth = np.zeros((32, 32, 3), np.uint8)
    truth[:, :16], truth[:, 16:] = (200, 0, 0), (0, 200, 0)
    assert entity_iou(np.full_like(truth, 90), truth) == pytest.approx(0.25)
    assert entity_iou(truth[..., ::-1].copy(), truth) == pytest.approx(1)


def test_noise_within_an_entity_splits_it_into_no_two():
    rng = np.random.default_rng(0)
    truth = np.zeros((32, 32, 3), np.uint8)
    truth[:, :16], truth[:, 16:] = (200, 20, 20), (20, 200, 20)
    noisy = (truth.astype(int) + rng.integers(-8, 9, truth.shape)).clip(0, 255).astype(np.uint8)
    assert entity_iou(noisy, truth) > 0.95

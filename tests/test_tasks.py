"""Tasks: pairs that lie pixel on pixel, vary with the seed and with nothing else."""

import cv2
import numpy as np
import pytest

from viral.evaluation.metrics import METRICS
from viral.tasks import TASKS, describe_task, find_tasks


def _photo(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_source_and_target_have_the_size_of_the_photograph(name: str, size: tuple[int, int]) -> None:
    photo = _photo(*size)
    rendering = TASKS[name].render(photo, np.random.default_rng(0))
    assert rendering.source.shape == rendering.target.shape == photo.shape
    assert rendering.source.dtype == rendering.target.dtype == np.uint8


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_gives_the_same_pair_again(name: str) -> None:
    first, again, other = (TASKS[name].render(_photo(64, 64), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.source, again.source) and np.array_equal(first.target, again.target)
    assert first.params == again.params
    if name in ("low_light", "watermark"):
        assert not np.array_equal(first.source, other.source)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_photograph_gives_a_pair_too(name: str, grey: int) -> None:
    TASKS[name].render(np.full((64, 64, 3), grey, np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (80, 112), (128, 96), (30, 200)])
def test_edges_lie_where_the_photograph_has_them(size: tuple[int, int]) -> None:
    photo = np.zeros((*size, 3), np.uint8)
    photo[:, 13:] = 255  # the only edge is between columns 12 and 13
    target = TASKS["edge"].render(photo, np.random.default_rng(0)).target
    assert set(np.flatnonzero(target.any(axis=(0, 2)))) <= {12, 13}
    assert (target.any(axis=2).sum(axis=1)[1:-1] == 1).all()  # one pixel wide, on every row
    assert set(np.unique(target)) == {0, 255}


def test_edges_are_cannys_at_the_final_size() -> None:
    photo = _photo(64, 64)
    target = TASKS["edge"].render(photo, np.random.default_rng(0)).target
    assert target.any()
    assert np.array_equal(target, np.repeat(cv2.Canny(photo, 100, 200)[..., None], 3, axis=2))


def test_the_watermark_changes_nothing_outside_its_mask() -> None:
    photo = _photo(64, 64)
    for seed in range(20):
        rendering = TASKS["watermark"].render(photo, np.random.default_rng(seed))
        change = np.abs(rendering.source.astype(int) - rendering.target).max(axis=2)
        assert change[rendering.mask == 0].max() <= 10
        assert change[rendering.mask != 0].mean() >= 12
        assert np.array_equal(rendering.target, photo)


def test_low_light_is_much_darker_and_noisy() -> None:
    photo = np.full((64, 64, 3), 180, np.uint8)
    rendering = TASKS["low_light"].render(photo, np.random.default_rng(1))
    assert rendering.source.mean() < 0.55 * photo.mean() and rendering.source.std() > 0.3
    assert np.array_equal(rendering.target, photo)


def test_colorization_starts_from_the_luma_and_negative_ends_in_the_complement() -> None:
    photo = _photo(64, 64)
    colour = TASKS["colorization"].render(photo, np.random.default_rng(0))
    assert (colour.source == colour.source[..., :1]).all() and np.array_equal(colour.target, photo)
    luma = photo @ np.array([0.299, 0.587, 0.114])
    assert np.abs(colour.source[..., 0] - luma).max() <= 1
    negative = TASKS["negative"].render(photo, np.random.default_rng(0))
    assert np.array_equal(negative.target, 255 - photo)


def test_every_task_is_scored_by_a_metric_that_exists() -> None:
    assert {task.metric for task in TASKS.values()} <= set(METRICS)
    assert describe_task("my_own_task").metric in METRICS


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no task 'edgy'; choose from edge, colorization"):
        find_tasks(("edge", "edgy"))
    with pytest.raises(ValueError, match="each only once"):
        find_tasks(("edge", "edge"))
    assert [task.name for task in find_tasks(("negative", "edge"))] == ["negative", "edge"]

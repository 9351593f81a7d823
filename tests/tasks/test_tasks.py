"""Tasks: pairs that lie pixel on pixel, vary with the seed and with nothing else."""

import cv2
import numpy as np
import pytest

from tests.tasks.pictures import labelled, photo
from viral.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from viral.tasks import TASKS, Labelled, Rendering, describe_task, find_tasks

GIVEN = ("edit", "style")
RENDERED = [name for name in TASKS if name not in GIVEN]
FROM_PIXELS = [name for name in RENDERED if not TASKS[name].needs]


def _pair(name: str, seed: int = 0, picture: Labelled | None = None) -> Rendering:
    return TASKS[name].pair(picture or labelled(), np.random.default_rng(seed))


@pytest.mark.parametrize("name", RENDERED)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_source_and_target_have_the_size_of_the_photograph(name: str, size: tuple[int, int]) -> None:
    rendering = _pair(name, picture=labelled(*size))
    assert rendering.source.shape == rendering.target.shape == (*size, 3)
    assert rendering.source.dtype == rendering.target.dtype == np.uint8


@pytest.mark.parametrize("name", RENDERED)
def test_a_seed_gives_the_same_pair_again(name: str) -> None:
    first, again, other = (_pair(name, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.source, again.source) and np.array_equal(first.target, again.target)
    assert first.params == again.params
    if name in ("low_light", "watermark", "deraining"):
        assert not np.array_equal(first.source, other.source)


@pytest.mark.parametrize("name", FROM_PIXELS)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_photograph_gives_a_pair_too(name: str, grey: int) -> None:
    _pair(name, picture=Labelled(np.full((64, 64, 3), grey, np.uint8)))


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (80, 112), (128, 96), (30, 200)])
def test_edges_lie_where_the_photograph_has_them(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[:, 13:] = 255  # the only edge is between columns 12 and 13
    target = _pair("edge", picture=Labelled(image)).target
    assert set(np.flatnonzero(target.any(axis=(0, 2)))) <= {12, 13}
    assert (target.any(axis=2).sum(axis=1)[1:-1] == 1).all()  # one pixel wide, on every row
    assert set(np.unique(target)) == {0, 255}


def test_edges_are_cannys_at_the_final_size() -> None:
    target = _pair("edge").target
    assert target.any()
    assert np.array_equal(target, np.repeat(cv2.Canny(photo(), 100, 200)[..., None], 3, axis=2))


def test_the_watermark_changes_nothing_outside_its_mask() -> None:
    for seed in range(20):
        rendering = _pair("watermark", seed)
        change = np.abs(rendering.source.astype(int) - rendering.target).max(axis=2)
        assert change[rendering.mask == 0].max() <= 10
        assert change[rendering.mask != 0].mean() >= 12
        assert np.array_equal(rendering.target, photo())


def test_low_light_is_much_darker_and_noisy() -> None:
    image = np.full((64, 64, 3), 180, np.uint8)
    rendering = _pair("low_light", 1, Labelled(image))
    assert rendering.source.mean() < 0.55 * image.mean() and rendering.source.std() > 0.3
    assert np.array_equal(rendering.target, image)


def test_colorization_starts_from_the_luma_and_negative_ends_in_the_complement() -> None:
    colour = _pair("colorization")
    assert (colour.source == colour.source[..., :1]).all() and np.array_equal(colour.target, photo())
    luma = photo() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(colour.source[..., 0] - luma).max() <= 1
    assert np.array_equal(_pair("negative").target, 255 - photo())


def test_rain_only_adds_light_to_a_dark_picture_and_most_where_its_streaks_are() -> None:
    image = np.full((96, 96, 3), 60, np.uint8)
    for seed in range(8):
        rendering = _pair("deraining", seed, Labelled(image))
        change = rendering.source.astype(int)[..., 0] - 60
        mist = np.bincount(change.ravel()).argmax()
        assert change.min() >= 0 and 0.01 < (change > mist + 5).mean() < 0.8
        assert change.max() > 1.5 * mist
        assert np.array_equal(rendering.target, image)


def test_a_line_drawing_is_black_on_white_with_lines_at_the_edges() -> None:
    image = np.full((64, 64, 3), 220, np.uint8)
    image[20:44, 20:44] = 40
    drawing = _pair("lineart", picture=Labelled(image)).target
    assert (drawing == 255).mean() > 0.7 and drawing[18:46, 18:46].min() < 10 and drawing[:12].min() == 255


def test_what_an_annotator_painted_takes_the_place_of_the_filter() -> None:
    painted = np.full((64, 64, 3), 99, np.uint8)
    for name in ("edge", "lineart"):
        picture = Labelled(photo(), maps={name: painted})
        assert np.array_equal(_pair(name, picture=picture).target, painted)


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].inverse])
def test_the_inverse_exchanges_source_and_target(name: str) -> None:
    forward, backward = _pair(name.removesuffix("_inverse")), _pair(name)
    assert np.array_equal(forward.source, backward.target) and np.array_equal(forward.target, backward.source)


@pytest.mark.parametrize("name", TASKS)
def test_a_given_pair_is_taken_as_it_is(name: str) -> None:
    target = 255 - photo()
    picture = Labelled(photo(), target=target, instruction="turn it over", about={"group": "turned"})
    pair = _pair(name, picture=picture)
    assert np.array_equal(pair.source if TASKS[name].inverse else pair.target, target) and pair.group == "turned"


@pytest.mark.parametrize("name", [name for name in RENDERED if TASKS[name].needs])
def test_a_missing_label_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs .*{TASKS[name].needs[0]}.* the picture has no label: add an"):
        _pair(name, picture=Labelled(photo()))


def test_edits_cannot_be_rendered() -> None:
    for name in GIVEN:
        with pytest.raises(ValueError, match="needs .*target"):
            _pair(name)


def test_the_papers_unseen_task_is_held_out_of_training() -> None:
    assert {name for name, task in TASKS.items() if not task.trains} == {"lineart", "lineart_inverse"}


def test_every_task_is_scored_by_a_metric_that_exists() -> None:
    assert {task.metric for task in TASKS.values()} <= set(METRICS)
    assert all(task.higher_is_better == (task.metric in HIGHER_IS_BETTER) for task in TASKS.values())
    assert describe_task("my_own_task").metric in METRICS


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no task 'edgy'; choose from edge, colorization"):
        find_tasks(("edge", "edgy"))
    with pytest.raises(ValueError, match="each only once"):
        find_tasks(("edge", "edge"))
    assert [task.name for task in find_tasks(("negative", "edge"))] == ["negative", "edge"]

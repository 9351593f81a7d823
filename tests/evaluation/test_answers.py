import numpy as np
import pytest

from viral.evaluation.answers import free_answers, mean_images
from viral.evaluation.gallery import PANELS, compose, cut, pick


def _images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 6, 3), np.uint8))


def test_the_mean_target_is_the_mean_of_each_task_alone() -> None:
    images = _images(7)
    means = mean_images((["a", "b"][i % 2], image) for i, image in enumerate(images))
    assert (means["a"] == np.stack(images[::2]).mean(axis=0).round()).all()
    assert (means["b"] == np.stack(images[1::2]).mean(axis=0).round()).all()


def test_images_of_two_sizes_have_no_mean() -> None:
    with pytest.raises(ValueError, match="one size"):
        mean_images([("a", np.zeros((4, 4, 3), np.uint8)), ("a", np.zeros((4, 8, 3), np.uint8))])


def test_free_answers_are_the_images_themselves() -> None:
    query, target, mean = _images(3)
    answers = free_answers(query, target, mean)
    assert answers["copy_query"] is query and answers["copy_example"] is target and answers["mean"] is mean


def test_a_strip_is_cut_into_what_it_was_composed_of() -> None:
    panels = np.stack(_images(len(PANELS)))
    assert (cut(compose(panels)) == panels).all()


def test_best_median_and_worst_follow_the_direction_of_the_metric() -> None:
    scores = [3.0, 1.0, 5.0, 2.0, 4.0]
    assert pick(scores, higher_is_better=True) == {"best": 2, "median": 0, "worst": 1}
    assert pick(scores, higher_is_better=False) == {"best": 1, "median": 0, "worst": 2}

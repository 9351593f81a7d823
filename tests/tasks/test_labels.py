"""Tasks that render labels: what they paint says what the labels say, and nothing else."""

import cv2
import numpy as np
import pytest

from tests.tasks.pictures import PERSON, labelled, photo
from viral.evaluation.metrics import METRICS
from viral.tasks import JOINTS, TASKS, Instance, Labelled, Rendering, fit
from viral.tasks.geometry import depth_picture, normal_picture, read_normals
from viral.tasks.objects import distinct_colours
from viral.tasks.pose import COLOURS, draw_people


def _pair(name: str, seed: int = 0, picture: Labelled | None = None) -> Rendering:
    return TASKS[name].pair(picture or labelled(), np.random.default_rng(seed))


def test_near_is_bright_and_unknown_is_black() -> None:
    inverse = np.linspace(1, 5, 64 * 64, dtype=np.float32).reshape(64, 64)
    inverse[0] = 0
    grey = depth_picture(inverse)[..., 0]
    assert (grey[0] == 0).all() and grey[1:].min() == 1 and grey[-1].max() == 255
    assert (np.diff(grey[1:].ravel().astype(int)) >= 0).all()
    with pytest.raises(ValueError, match="not known at any pixel"):
        depth_picture(np.zeros((8, 8), np.float32))


def test_depth_on_another_scale_is_the_same_picture() -> None:
    inverse = np.random.default_rng(0).uniform(1, 2, (32, 32)).astype(np.float32)
    assert np.array_equal(depth_picture(inverse), depth_picture(inverse * 37))


def test_normals_are_red_to_the_right_green_up_and_blue_to_the_viewer() -> None:
    normals = np.zeros((1, 4, 3), np.float32)
    normals[0, 0], normals[0, 1], normals[0, 2] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    picture = normal_picture(normals)
    assert picture[0].tolist() == [[255, 128, 128], [128, 255, 128], [128, 128, 255], [0, 0, 0]]
    assert np.abs(read_normals(picture) - normals).max() < 0.01


def test_detection_fills_every_box_of_one_category_and_pairs_meet_within_it() -> None:
    for seed in range(6):
        pair = _pair("detection", seed)
        assert pair.group == pair.params["category"] and set(np.unique(pair.target)) == {0, 255}
        left, top, right, bottom = pair.params["boxes"][0]
        assert (pair.target[top:bottom, left:right] == 255).all()
        assert (pair.target == 255).all(axis=2).sum() == (right - left) * (bottom - top)
    assert TASKS["detection"].meets == "category"
    assert {_pair("detection", seed).group for seed in range(20)} == {"dog", "cat", "person"}


def test_a_category_with_a_crowd_is_not_asked_for() -> None:
    crowd = Instance("dog", (0.0, 0.0, 60.0, 60.0), crowd=True)
    dog = Instance("dog", (0.0, 0.0, 30.0, 30.0))
    with pytest.raises(ValueError, match="crowd of dog"):
        _pair("detection", picture=Labelled(photo(), instances=(crowd, dog)))


def test_interactive_segmentation_draws_a_red_box_on_the_source_alone_round_the_mask() -> None:
    for seed in range(6):
        pair = _pair("interactive", seed)
        left, top, right, bottom = pair.params["box"]
        changed = (pair.source != photo()).any(axis=2)
        assert (pair.source[changed] == (255, 0, 0)).all() and changed[top, left:right].any()
        assert not changed[top + 4 : bottom - 4, left + 4 : right - 4].any()
        assert set(np.unique(pair.target)) == {0, 255}
        ys, xs = np.nonzero(pair.target[..., 0])
        assert left <= xs.min() and xs.max() < right and top <= ys.min() and ys.max() < bottom


def test_entities_have_distinct_colours_that_change_with_the_seed() -> None:
    pair, other = _pair("entity", 0), _pair("entity", 1)
    for one in (pair, other):
        colours = np.unique(one.target.reshape(-1, 3), axis=0)
        assert len(colours) == 3 and one.target.max(axis=2).min() > 100
    assert not np.array_equal(pair.target, other.target)
    assert METRICS["entity_iou"](other.target, pair.target, None) == 1


@pytest.mark.parametrize("count", [2, 7, 30, 200])
def test_colours_are_never_equal(count: int) -> None:
    colours = distinct_colours(count, np.random.default_rng(count))
    assert len(np.unique(colours, axis=0)) == count


def test_entities_without_a_map_come_from_masks_the_smaller_on_top() -> None:
    big, small = np.zeros((2, 64, 64), bool)
    big[:, :40], small[10:20, 10:20] = True, True
    box = (0.0, 0.0, 10.0, 10.0)
    pair = _pair("entity", picture=Labelled(photo(), instances=(Instance("a", box, small), Instance("b", box, big))))
    assert len({tuple(pair.target[y, x]) for y, x in ((15, 15), (30, 30), (30, 60))}) == 3


def test_joints_are_drawn_where_they_are_in_openposes_colours() -> None:
    drawn = draw_people([PERSON * np.float32([4, 4, 1])], 256, 256)
    for joint, colour in {"nose": 0, "right_wrist": 4, "left_wrist": 7, "right_ankle": None, "left_knee": 12}.items():
        x, y, v = PERSON[JOINTS.index(joint)]
        if colour is not None:
            assert tuple(drawn[int(4 * y), int(4 * x)]) == COLOURS[colour]
        else:
            assert v == 0 and not (drawn == COLOURS[10]).all(axis=2).any()
    neck = (PERSON[5, :2] + PERSON[6, :2]) / 2 * 4
    assert tuple(drawn[int(neck[1]), int(neck[0])]) == COLOURS[1]


def test_a_picture_without_people_says_so() -> None:
    with pytest.raises(ValueError, match="nobody in the picture"):
        _pair("pose", picture=Labelled(photo(), instances=()))


def test_fitting_moves_labels_with_the_picture() -> None:
    wide = labelled(64, 128)
    small = fit(wide, 32)
    assert small.image.shape == (32, 32, 3) and small.depth is not None and small.depth.shape == (32, 32)
    dog, cat, person = small.instances
    assert dog.category == "dog" and cat.box == (16.0, 0.0, 32.0, 32.0)
    ys, xs = np.nonzero(cat.mask)
    assert (xs.min(), xs.max() + 1) == (16, 32) and (ys.min(), ys.max() + 1) == (0, 32)
    # the picture's middle stays in the middle, and what lies in the cut margins is no longer known
    nose = person.keypoints[0]
    assert nose.tolist() == [16.0, 5.0, 2.0]
    assert person.keypoints[16, 2] == 0


def test_objects_in_the_cut_margins_go() -> None:
    edge = Instance("cup", (0.0, 0.0, 20.0, 20.0))
    assert fit(Labelled(photo(64, 128), instances=(edge,)), 64).instances == ()


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="depth is 32x32 where the picture is 64x64"):
        Labelled(photo(), depth=np.ones((32, 32), np.float32))
    with pytest.raises(ValueError, match="mask of a dog is 32x32"):
        Labelled(photo(), instances=(Instance("dog", (0.0, 0.0, 1.0, 1.0), np.ones((32, 32), bool)),))


@pytest.mark.parametrize("name", ["detection", "interactive", "depth", "normal", "entity", "pose"])
def test_the_metric_is_best_for_the_truth_and_worse_for_another_picture(name: str) -> None:
    task, pair = TASKS[name], _pair(name)
    score = METRICS[task.metric]
    best, worse = score(pair.target, pair.target, None), score(cv2.flip(pair.target, -1), pair.target, None)
    if name == "normal":  # the same everywhere
        worse = score(np.full_like(pair.target, 128), pair.target, None)
    assert best == pytest.approx(1.0 if task.higher_is_better else 0.0, abs=1e-6)
    assert worse < best if task.higher_is_better else worse > best

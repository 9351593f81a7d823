"""The scene world as a source: exact labels, and edits that come in couples."""

import json

import numpy as np
import pytest

from viral.data.sources.scenes import Scenes
from viral.scenes import EDITS
from viral.tasks import TASKS

RENDERED = [name for name in TASKS if name not in ("edit", "style")]


def test_every_task_renders_from_a_scene_with_people() -> None:
    source = Scenes(kind="scenes")
    (item,) = source.items(1, 0, frozenset({"keypoints"}))
    picture = source.reader("cpu")(item, 64)
    assert {"depth", "normals", "entities", "boxes", "masks", "keypoints", "caption"} <= picture.labels
    for name in RENDERED:
        pair = TASKS[name].pair(picture, np.random.default_rng(0))
        assert pair.source.shape == pair.target.shape == (64, 64, 3)


def test_masks_lie_in_their_boxes_and_entities_cover_the_picture() -> None:
    source = Scenes(kind="scenes")
    picture = source.reader("cpu")(source.items(1, 3, frozenset())[0], 64)
    assert picture.instances and picture.entities is not None and picture.entities.min() > 0
    for item in picture.instances:
        ys, xs = np.nonzero(item.mask)
        assert item.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_an_edit_comes_twice_on_two_scenes_on_one_side_of_the_split() -> None:
    source = Scenes(kind="scenes", edits=("recolour",))
    items = source.items(2, 0, frozenset({"target"}))
    first, second = (source.reader("cpu")(item, 48) for item in items)
    assert items[0].source_id == items[1].source_id and items[0].id != items[1].id
    assert first.about["group"] == second.about["group"] and json.loads(first.about["group"])[0] == "recolour"
    assert first.instruction == second.instruction and not np.array_equal(first.image, second.image)
    for picture in (first, second):
        assert picture.target is not None and picture.changed is not None
        differ = (picture.image != picture.target).any(axis=2)
        assert not differ[~picture.changed].any()


def test_all_kinds_of_edit_take_turns_and_an_unknown_one_is_named() -> None:
    items = Scenes(kind="scenes", edits=("all",)).items(2 * len(EDITS), 0, frozenset())
    assert {item.data["kind"] for item in items} == set(EDITS)
    with pytest.raises(ValueError, match="there is no edit repaint; choose from"):
        Scenes(kind="scenes", edits=("repaint",)).items(1, 0, frozenset())


def test_two_sources_with_other_numbers_share_no_scene() -> None:
    one, other = (Scenes(kind="scenes", first=first).items(5, 0, frozenset()) for first in (0, 5))
    assert not {item.source_id for item in one} & {item.source_id for item in other}

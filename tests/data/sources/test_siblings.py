"""Families of pairs: two scenes, each under two edits that differ in one parameter."""

import json

import numpy as np
import pytest

from viral.data.sources.combinations import is_apart
from viral.data.sources.siblings import LEAST, Siblings, find_family
from viral.scenes import EDITS
from viral.tasks import Labelled

VARIED = {"recolour": "colour", "keep_only": "category", "tone": "look"}


def test_pictures_of_a_family_share_scenes_and_edits() -> None:
    for (one, one_too), (other, other_too) in families(3):
        assert np.array_equal(one.image, other.image) and np.array_equal(one_too.image, other_too.image)
        assert not np.array_equal(one.image, one_too.image)
        for first, second in ((one, other), (one_too, other_too)):
            kind, params = first.about["edit"], (first.about["edit_params"], second.about["edit_params"])
            assert {name for name in params[0] if params[0][name] != params[1][name]} == {VARIED[kind]}
            assert first.about["group"] != second.about["group"] and first.target is not None
            assert distance(first.target, second.target) >= LEAST and distance(first.target, first.image) > 0
        assert one.about["group"] == one_too.about["group"] and other.about["group"] == other_too.about["group"]


def test_no_two_families_are_one_group_and_a_family_lies_on_one_side() -> None:
    items = Siblings(kind="siblings", edits=VARIED).items(12, 0, frozenset())
    assert [item.source_id for item in items[:4]] == [items[0].source_id] * 4
    assert len({item.source_id for item in items}) == 3
    groups = {scene.about["group"] for family in families(3) for edit in family for scene in edit}
    assert len(groups) == 6 and all(json.loads(group) for group in groups)


def test_the_combinations_kept_apart_are_not_shown() -> None:
    for seed in range(5):
        scenes, edits = find_family("tone", "look", seed, "train")
        assert not any(is_apart("tone", params, scene) for params in edits for scene in scenes)


@pytest.mark.parametrize("edits", [{"repaint": "colour"}, {"recolour": "look"}])
def test_what_is_no_edit_or_none_of_its_parameters_is_named(edits: dict[str, str]) -> None:
    kind, name = next(iter(edits.items()))
    with pytest.raises(ValueError, match=f"no edit {kind} with a parameter {name}; choose from.*recolour: "):
        Siblings(kind="siblings", edits=edits).items(4, 0, frozenset())


def test_an_edit_that_no_scene_has_twice_says_so() -> None:
    assert "mirror" in EDITS
    with pytest.raises(ValueError, match="two edits mirror that differ in side"):
        find_family("mirror", "side", 0)


def families(count: int) -> list[list[list[Labelled]]]:
    """Pictures by family, edit and scene."""
    source = Siblings(kind="siblings", edits=VARIED, combinations="train")
    read = source.reader("cpu")
    seen = [read(item, 64) for item in source.items(4 * count, 0, frozenset())]
    return [[seen[i : i + 2], seen[i + 2 : i + 4]] for i in range(0, len(seen), 4)]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))

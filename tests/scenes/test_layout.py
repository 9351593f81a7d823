import math
from collections import Counter

import pytest

from viral.scenes import BACKDROPS, CATEGORIES, TIMES, Scene, sample_scene
from viral.scenes.layout import radius_of


def test_equal_seeds_give_equal_scenes_and_others_differ(scenes: list[Scene]) -> None:
    assert sample_scene(5) == scenes[5]
    assert len(set(scenes)) == len(scenes)


def test_every_category_backdrop_and_time_occurs(scenes: list[Scene]) -> None:
    counts = Counter(name for scene in scenes for name in scene.categories)
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 2
    assert {scene.backdrop for scene in scenes} == set(BACKDROPS)
    assert {scene.time for scene in scenes} == set(TIMES)


def test_things_do_not_stand_in_one_another(scenes: list[Scene]) -> None:
    for things in (scene.things for scene in scenes):
        for i, one in enumerate(things):
            for two in things[:i]:
                assert math.hypot(one.x - two.x, one.z - two.z) >= 0.9 * (radius_of(one) + radius_of(two)) - 1e-9


@pytest.mark.parametrize("wanted", [("house", "dog"), ("sofa", "lamp", "cup"), ("boat", "bed"), ("person",) * 4])
def test_wanted_things_come_first(wanted: tuple[str, ...]) -> None:
    for seed in range(5):
        scene = sample_scene(seed, wanted)
        assert tuple(thing.category for thing in scene.things[: len(wanted)]) == wanted
        assert len({thing.id for thing in scene.things}) == len(scene.things)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unicorn"):
        sample_scene(0, ("unicorn",))
    with pytest.raises(ValueError, match="backdrop is one of"):
        sample_scene(0, backdrop="moon")


def test_too_many_things_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        sample_scene(0, ("house",) * 12)

import itertools

import cv2
import numpy as np
import pytest

from viral.scenes import (
    CATEGORIES,
    EDITS,
    Labelled,
    NotApplicable,
    Scene,
    apply,
    changed_region,
    instruction,
    read_instruction,
    render,
    sample_edit,
    sample_scene,
    sample_scene_for,
)

SIZE = 64


def drawn(kind: str, seed: int = 0):
    """A scene and an edit of that kind for it."""
    for attempt in range(60):
        scene = sample_scene(1000 * seed + attempt)
        try:
            return scene, sample_edit(scene, kind, np.random.default_rng(attempt))
        except NotApplicable:
            continue
    raise AssertionError(f"no scene for {kind}")


def grown(mask: np.ndarray, by: int = 1) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1,) * 2, np.uint8)).astype(bool)


def test_there_are_more_than_twenty_kinds() -> None:
    assert len(EDITS) >= 20


@pytest.mark.parametrize("kind", EDITS)
def test_every_kind_changes_the_picture_the_same_way_each_time(kind: str) -> None:
    for seed in range(12):
        scene, edit = drawn(kind, seed)
        assert edit.scene_after == apply(scene, kind, edit.params)
        after = render(edit.scene_after, SIZE)
        if changed_region(render(scene, SIZE), after).any():
            assert np.array_equal(after.image, render(edit.scene_after, SIZE).image)
            return
    raise AssertionError(f"{kind} never changes a pixel")


@pytest.mark.parametrize("kind", EDITS)
def test_the_same_edit_applies_to_another_scene(kind: str) -> None:
    scene, edit = drawn(kind)
    other = sample_scene_for(kind, edit.params, seed=7)
    assert other != scene
    assert other == sample_scene_for(kind, edit.params, seed=7)
    assert apply(other, kind, edit.params) != other


def test_no_two_edits_read_the_same_and_every_instruction_is_read_back() -> None:
    said: dict[str, tuple[str, dict[str, str]]] = {}
    for kind, edit in EDITS.items():
        for values in itertools.product(*edit.choices.values()):
            params = dict(zip(edit.choices, values, strict=True))
            text = instruction(kind, params)
            assert text not in said, (text, said[text], kind)
            said[text] = (kind, params)
    for text in list(said)[::17]:
        assert read_instruction(text) == said[text]


def pair(kind: str, params: dict[str, str], seed: int) -> tuple[Scene, Scene, Labelled, Labelled]:
    scene = sample_scene_for(kind, params, seed)
    after = apply(scene, kind, params)
    return scene, after, render(scene, SIZE), render(after, SIZE)


def ids(scene: Scene, category: str) -> list[int]:
    return [thing.id for thing in scene.things if thing.category == category]


@pytest.mark.parametrize("kind, params", [("recolour", {"colour": "pink"}), ("retexture", {"texture": "checkered"})])
@pytest.mark.parametrize("seed", range(4))
def test_paint_changes_nothing_beyond_the_thing(kind: str, params: dict[str, str], seed: int) -> None:
    """One pixel around it counts as its own: edges mix their neighbours. Weather lies over both alike."""
    scene, after, before, then = pair(kind, params | {"category": "barrel"}, seed)
    own = np.isin(before.instances, ids(scene, "barrel"))
    assert not (changed_region(before, then) & ~grown(own)).any()
    assert np.array_equal(before.depth, then.depth)
    assert np.array_equal(before.instances, then.instances)


@pytest.mark.parametrize("seed", range(4))
def test_removal_leaves_the_geometry_of_all_else(seed: int) -> None:
    scene, after, before, then = pair("remove", {"category": "box"}, seed)
    gone = np.isin(before.instances, ids(scene, "box"))
    assert not np.isin(then.instances, ids(scene, "box")).any()
    assert np.array_equal(before.depth[~gone], then.depth[~gone])
    assert np.array_equal(before.instances[~gone], then.instances[~gone])
    assert (changed_region(before, then)[gone]).mean() > 0.9 or not gone.any()


@pytest.mark.parametrize("seed", range(4))
def test_an_added_thing_is_new_and_in_front_or_hidden(seed: int) -> None:
    params = {"category": "ball", "colour": "yellow", "side": "on the right"}
    scene, after, before, then = pair("add", params, seed)
    (new,) = set(ids(after, "ball")) - set(ids(scene, "ball"))
    mask = then.mask(new)
    assert mask.any()
    assert np.array_equal(before.instances[~mask], then.instances[~mask])
    assert np.all(then.depth[mask] <= before.depth[mask])
    assert np.nonzero(mask)[1].mean() > SIZE / 2


def test_a_splash_keeps_the_colours_of_its_category_only() -> None:
    scene, after, before, then = pair("splash", {"category": "flower"}, 3)
    kept = np.isin(then.instances, ids(scene, "flower"))
    assert np.array_equal(before.image[kept], then.image[kept])
    assert np.ptp(then.image[~kept].astype(int), axis=1).max() <= 1


def test_moved_things_move_the_way_that_is_said() -> None:
    for direction, axis, sign in (
        ("to the left", 0, -1),
        ("to the right", 0, 1),
        ("nearer", 1, 1),
        ("farther away", 1, -1),
    ):
        for seed in range(3):
            scene, after, before, then = pair("move", {"category": "bottle", "direction": direction}, seed)
            (id,) = ids(scene, "bottle")
            found = [np.argwhere(labels.mask(id)) for labels in (before, then)]
            if all(len(pixels) > 30 for pixels in found):
                change = (found[1].mean(0) - found[0].mean(0))[1 - axis]
                assert sign * change > 0, (direction, seed)


def test_an_edit_without_its_thing_says_so() -> None:
    scene = sample_scene(0)
    missing = next(name for name in CATEGORIES if name not in scene.categories)
    with pytest.raises(NotApplicable, match=f"no {missing}"):
        apply(scene, "remove", {"category": missing})


def test_an_edit_that_changes_nothing_is_refused() -> None:
    scene = sample_scene(0)
    with pytest.raises(NotApplicable, match="changes nothing"):
        apply(scene, "time", {"time": scene.time})


@pytest.mark.parametrize(
    "kind, params, message",
    [
        ("melt", {}, "kind is one of"),
        ("zoom", {}, r"takes the parameters \['way'\]"),
        ("zoom", {"way": "sideways"}, "way of zoom is one of in, out"),
    ],
)
def test_foreign_words_are_named(kind: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply(sample_scene(0), kind, params)


def test_a_foreign_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of edit reads"):
        read_instruction("Make it nicer.")

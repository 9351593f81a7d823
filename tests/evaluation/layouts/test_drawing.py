from viral.data.sources.scenes import Scenes
from viral.evaluation.layouts.drawing import UNSEEN, unseen_scene


def test_no_scene_of_a_layout_can_have_been_trained_on() -> None:
    """Sources number their scenes by hashes of six bytes, the embedder's and the base's training by fewer bits."""
    trained = [item.data["seed"] for item in Scenes(kind="scenes").items(50, 0, frozenset())]
    seeds = [unseen_scene(layout, seed, number).seed for layout in (1, 4) for seed in (0, 9) for number in (0, 5)]
    assert max(trained) < UNSEEN <= min(seeds) and len(set(seeds)) == len(seeds)


def test_a_layouts_scene_is_the_same_whenever_it_is_drawn() -> None:
    assert unseen_scene(1, 0, 3) == unseen_scene(1, 0, 3) != unseen_scene(2, 0, 3)

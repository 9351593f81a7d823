import pytest

from viral.scenes import Scene, caption, read_caption


def test_captions_tell_scenes_apart(scenes: list[Scene]) -> None:
    assert len({caption(scene) for scene in scenes}) >= len(scenes) - 2


def test_a_caption_read_back_shows_what_it_says(scenes: list[Scene]) -> None:
    for seed in range(12):
        text = caption(scenes[seed])
        assert caption(read_caption(text, seed + 1000)) == text


def test_free_words_are_read() -> None:
    scene = read_caption("The red car and two dogs on grass by the sea at sunset, a watercolour", 0)
    assert [thing.category for thing in scene.things] == ["car", "dog", "dog"]
    assert scene.things[0].colour == "red"
    assert (scene.ground, scene.backdrop, scene.time, scene.style) == ("grass", "sea", "sunset", "watercolour")


def test_words_without_a_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="names none of"):
        read_caption("nothing at all", 0)

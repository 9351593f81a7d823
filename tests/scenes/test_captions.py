import pytest

from viral.scenes import caption, read_caption, sample_scene


def test_captions_tell_scenes_apart() -> None:
    assert len({caption(sample_scene(seed)) for seed in range(200)}) >= 198


def test_a_caption_read_back_shows_what_it_says() -> None:
    for seed in range(25):
        text = caption(sample_scene(seed))
        assert caption(read_caption(text, seed + 1000)) == text


def test_free_words_are_read() -> None:
    scene = read_caption("The red car and two dogs on grass by the sea at sunset, a watercolour", 0)
    assert [thing.category for thing in scene.things] == ["car", "dog", "dog"]
    assert scene.things[0].colour == "red"
    assert (scene.ground, scene.backdrop, scene.time, scene.style) == ("grass", "sea", "sunset", "watercolour")


def test_words_without_a_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="names none of"):
        read_caption("nothing at all", 0)

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.config import AdapterConfig
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash, load_backbone
from viral.pretrain.pictures import Pictures
from viral.sampling.editor import Editor, fit


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, config = tmp_path_factory.mktemp("adapter"), AdapterConfig(rank=2, expert_rank=2)
    transformer = load_backbone(str(tiny_base), parts=("transformer",)).transformer
    add_adapter(transformer, config, seed=0)
    save_adapter(
        transformer,
        folder,
        AdapterCard(adapter=config, base="test", base_sha256=base_hash(str(tiny_base)), size=32, steps=0),
    )
    return folder


@pytest.fixture
def images(pictures: Pictures) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray((pictures(rng) * 255).astype(np.uint8)) for _ in range(3)]


def test_same_request_gives_the_same_pixels_and_another_seed_others(
    tiny_base: Path, adapter: Path, images: list[Image.Image]
) -> None:
    editor = Editor.load(str(tiny_base), adapter)
    a, a2, b = images
    first, again, other = (np.asarray(editor([(a, a2)], b, steps=2, seed=s).image) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_of_different_sizes_meet_in_one_request(
    tiny_base: Path, adapter: Path, images: list[Image.Image]
) -> None:
    editor = Editor.load(str(tiny_base), adapter)
    wide = images[2].resize((90, 45))
    assert (
        editor([(images[0].resize((20, 50)), images[1])], wide, steps=1).image.size == fit(wide, 32, 8).size == (48, 24)
    )


def test_a_callback_sees_each_step_and_can_cancel(tiny_base: Path, adapter: Path, images: list[Image.Image]) -> None:
    editor, seen = Editor.load(str(tiny_base), adapter), []

    def watch(i: int, latents: object) -> None:
        seen.append(i)
        if i == 1:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError):
        editor([(images[0], images[1])], images[2], steps=5, on_step=watch)
    assert seen == [0, 1]


def test_an_adapter_for_another_base_is_refused(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "base"
    shutil.copytree(tiny_base, other)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.03"))
    with pytest.raises(ValueError, match="was trained on base"):
        Editor.load(str(other), adapter)


def test_more_than_one_example_is_refused_by_name(tiny_base: Path, adapter: Path, images: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match="2 example pairs"):
        Editor.load(str(tiny_base), adapter)([(images[0], images[1])] * 2, images[2])

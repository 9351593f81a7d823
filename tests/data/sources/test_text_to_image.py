"""Pictures painted from prompts, by a small folder of Qwen-Image's own classes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from diffusers import QwenImageEditPlusPipeline, QwenImagePipeline

from viral.data.sources.text_to_image import TextToImage

NONE: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def painter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete Qwen-Image folder of random weights."""
    folder = tmp_path_factory.mktemp("painter")
    editor = QwenImageEditPlusPipeline.from_pretrained(tiny_base)
    parts = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")
    QwenImagePipeline(**{name: getattr(editor, name) for name in parts}).save_pretrained(folder)
    return folder


def _source(painter: Path, prompts: Path) -> TextToImage:
    return TextToImage(kind="text_to_image", prompts=str(prompts), base=str(painter), steps=2)


def test_a_prompt_gives_its_own_picture_again_and_another_one_another(painter: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\n\n  a   red circle \na blue house\n")
    source = _source(painter, tmp_path / "prompts.txt")
    items = source.items(9, 0, NONE)
    assert sorted(item.data["prompt"] for item in items) == ["a blue house", "a red circle"]
    read = source.reader("cpu")
    first, other, again = (read(item, 32) for item in (*items, items[0]))
    assert first.image.shape == (32, 32, 3) and first.caption == items[0].data["prompt"]
    assert np.array_equal(first.image, again.image) and not np.array_equal(first.image, other.image)
    assert first.about["model"] == str(painter) and source.gives == {"caption"}


def test_prompts_come_from_diffusiondbs_table_too(painter: Path, tmp_path: Path) -> None:
    table = pa.table({"image_name": ["a", "b", "c"], "prompt": ["a hill", "", None], "seed": [1, 2, 3]})
    pq.write_table(table, tmp_path / "metadata.parquet")
    (item,) = _source(painter, tmp_path / "metadata.parquet").items(9, 0, NONE)
    assert item.data["prompt"] == "a hill"
    wrong = _source(painter, tmp_path / "metadata.parquet").model_copy(update={"column": "text"})
    with pytest.raises(ValueError, match="has no column text; it has"):
        wrong.items(9, 0, NONE)


def test_a_list_without_a_prompt_is_named(painter: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="prompts.txt holds no prompt"):
        _source(painter, tmp_path / "prompts.txt").items(1, 0, NONE)

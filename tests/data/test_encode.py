"""Latents: encoded once, the same bytes again, read back as the VAE gave them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from viral.config import RunConfig
from viral.data.encode import LatentMaker, encode_pairs
from viral.data.images import pixels_of
from viral.data.latents import LatentTable
from viral.data.pairs import load_pairs
from viral.model.backbone import load_backbone
from viral.storage import Storage


@pytest.fixture(scope="module")
def config(pairs_config: RunConfig, tiny_base: Path) -> RunConfig:
    """The configuration whose latents have been made."""
    config = pairs_config.model_copy(update={"base": str(tiny_base)})
    encode_pairs(config)
    return config


@pytest.fixture
def table(config: RunConfig) -> LatentTable:
    return LatentTable(Storage(config.storage).join("latents"))


@pytest.fixture
def damaged(config: RunConfig, tmp_path: Path) -> Storage:
    """A copy of the table with a shard cut short."""
    folder = tmp_path / "latents"
    shutil.copytree(Path(config.storage, "latents"), folder)
    shard = folder / "shard-00002.arrow"
    shard.write_bytes(shard.read_bytes()[:-64])
    return Storage(str(folder))


def test_every_pair_is_found_by_task_and_split(table: LatentTable, config: RunConfig) -> None:
    assert len(table) == 42 and table.tasks == ("colorization", "low_light", "watermark")
    for split, count in (("train", 8), ("test", 6)):
        rows = {task: table.rows(task, split) for task in table.tasks}
        assert all(len(found) == count for found in rows.values())
        assert all(table[int(row)].task == task for task, found in rows.items() for row in found)
    assert len(table.rows("low_light", "train")) and not len(table.rows("no_task", "train"))
    with pytest.raises(IndexError, match="row 42 of a table of 42"):
        table[42]


def test_a_latent_is_what_the_vae_says_of_the_image(table: LatentTable, config: RunConfig) -> None:
    backbone = load_backbone(config.base, parts=("vae",))
    pairs = {row["pair_id"]: row for split in ("train", "test") for row in load_pairs(config).rows(split)}
    for index in (0, 13, 41):
        pair = table[index]
        pixels = np.stack([pixels_of(pairs[pair.pair_id][key]["bytes"]) for key in ("source", "target")])
        latents = backbone.encode_images(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
        assert pair.source.dtype == np.float16 and pair.source.shape == latents.shape[1:]
        np.testing.assert_allclose(np.stack([pair.source, pair.target]), latents, atol=4e-3, rtol=2e-3)


def test_the_text_is_the_constant_of_the_base(table: LatentTable, config: RunConfig) -> None:
    text = load_backbone(config.base, parts=("text",)).encode_text([" "])[0].numpy()
    np.testing.assert_allclose(table.text, text, atol=1e-5)


def test_a_shard_made_here_has_the_bytes_of_one_made_by_an_actor(table: LatentTable, config: RunConfig) -> None:
    pairs, threads = load_pairs(config), torch.get_num_threads()
    torch.set_num_threads(1)
    made = LatentMaker(pairs, config.base, 0.0, config.model)(pairs.manifest.shards[1])
    torch.set_num_threads(threads)
    assert made.data == table.storage.read("shard-00001.arrow")


def test_a_truncated_shard_is_refused_with_its_name(damaged: Storage) -> None:
    with pytest.raises(ValueError, match=r"shard-00002\.arrow is damaged: \d+ bytes"):
        LatentTable(damaged)


def test_the_same_command_again_does_nothing_and_says_so(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    encode_pairs(config)
    assert "is up to date, 42 pairs" in capsys.readouterr().out


def test_a_table_that_is_not_whole_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are not there; run jobs/encode_dataset.py"):
        LatentTable(Storage(str(tmp_path)))

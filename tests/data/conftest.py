"""A folder of odd files among photographs, and the table of pairs made from it once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.config import RunConfig, resolve
from viral.data.pairs import generate_pairs


def paint(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """Something with edges and colours, another for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.normal(size=smooth.shape) * 8, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs in two folders, one of them twice, and five files that are none."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for seed in range(6):
        paint(seed).save(folder / ("more" if seed % 2 else "") / f"photo{seed}.png")
    (folder / "again.png").write_bytes((folder / "photo0.png").read_bytes())
    paint(9).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])
    (folder / "empty.jpg").touch()
    (folder / "notes.png").write_text("no picture")
    paint(10, 20, 20).save(folder / "small.png")
    (folder / "readme.txt").write_text("not looked into")
    return folder


@pytest.fixture(scope="session")
def pairs_config(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunConfig:
    """A configuration whose pairs have been made, by one actor: 14 crops, 42 pairs in 5 shards."""
    storage = tmp_path_factory.mktemp("run")
    data = ["size=32", "train_crops=8", "test_crops=6", "rows_per_shard=9", "actors=1"]
    tasks = "data.tasks=[colorization, low_light, watermark]"
    config = resolve(None, [f"storage={storage}", f"images={photo_folder}", tasks, *(f"data.{item}" for item in data)])
    generate_pairs(config)
    return config

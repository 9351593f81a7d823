"""What a test of a whole making starts from: photographs of noise, and few scenes, rendered once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.pretrain import base, exam, fill_base
from viral.pretrain.couples import CHUNK
from viral.pretrain.told_scenes import told_scenes


@pytest.fixture
def noise_photos(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    return photos


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("rendered")
    told_scenes(state / "scenes", CHUNK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exam, "COUPLES", CHUNK)
        exam.unseen_scenes(state / "exam")
    return state


@pytest.fixture
def few_scenes(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A making's state in which the scenes of lessons and exam lie ready, as few as there can be."""
    for module in (base, fill_base, exam):
        monkeypatch.setattr(module, "COUPLES", CHUNK)
    monkeypatch.setattr(exam, "EACH", 4)
    return Path(shutil.copytree(rendered, tmp_path / "state"))

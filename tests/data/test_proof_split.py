"""The committed split: what may be trained on, what proves, and that nothing alike lies in both."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.data.duplicates import ALIKE
from viral.data.photographs import shipped_files
from viral.data.proof_split import Listed, files_of, make_split, read_listed, read_split, write_split
from viral.shipped import SHIPPED_BASES
from viral.storage import Storage


def _bits(listed: tuple[Listed, ...]) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex("".join(one.look for one in listed)), np.uint8)
    return np.unpackbits(packed.reshape(len(listed), -1), axis=1).astype(int)


def _least_difference(some: tuple[Listed, ...], others: tuple[Listed, ...]) -> int:
    """Bits that the two nearest looks of both differ in."""
    a, b = _bits(some), _bits(others)
    return int((a @ (1 - b).T + (1 - a) @ b.T).min())


def test_no_proof_photograph_looks_like_one_to_train_on() -> None:
    assert len(files_of("proof")) > 200 and len(files_of("train")) > 50
    assert _least_difference(files_of("proof"), files_of("train")) > ALIKE


def test_no_scene_lies_in_two_parts() -> None:
    parts: dict[str, set[str]] = {}
    for one in read_split():
        parts.setdefault(one.scene, set()).add(one.part)
    assert all(len(part) == 1 for part in parts.values())


def test_the_demo_photographs_are_in_neither_part() -> None:
    demo = {one.sha256 for one in files_of("demo")}
    assert {file.sha256 for file in shipped_files()} <= demo
    assert _least_difference(files_of("demo"), files_of("train") + files_of("proof")) > ALIKE


@pytest.mark.parametrize("base", SHIPPED_BASES)
def test_every_photograph_of_a_base_is_one_to_train_on_and_permissive(base: str) -> None:
    card = (SHIPPED_BASES[base] / "README.md").read_text()
    named = re.findall(r"^\| \S+ \| ([0-9a-f]{16}) \|", card, re.MULTILINE)
    train = {one.sha256[:16] for one in files_of("train", "permissive")}
    assert named and set(named) <= train


def test_rain_on_a_photograph_lies_with_the_photograph() -> None:
    scenes = {one.file: one.scene for one in read_split()}
    rainy = [scene for file, scene in scenes.items() if file.startswith("rain/rain100l")]
    assert sum(scene.startswith("photos/bsds") for scene in rainy) > len(rainy) / 2


def _collection(folder: Path) -> Storage:
    """Three photographs: one free, a copy of it under a restricting licence, a third one with a dark version."""
    rng = np.random.default_rng(0)
    free, other = (np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(2))
    noise = rng.integers(0, 256, other.shape).astype(np.uint8)
    pictures = {"free.png": free, "copy.png": np.minimum(free + 2, 255), "other.png": other, "dark.png": noise}
    for name, pixels in pictures.items():
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    rows = [
        {"task": "photo", "source": "free.png", "licence_class": "permissive"},
        {"task": "photo", "source": "copy.png", "licence_class": "research-nc"},
        {"task": "low_light", "source": "dark.png", "target": "other.png", "licence_class": "unknown"},
    ]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Storage(str(folder))


def test_what_looks_alike_or_is_made_of_one_another_lies_together(tmp_path: Path) -> None:
    split = {one.file: one for one in make_split(_collection(tmp_path))}
    assert split["free.png"].part == split["copy.png"].part == "train"
    assert split["copy.png"].licence == "research-nc"
    assert split["dark.png"].part == split["other.png"].part == "proof"
    assert split["dark.png"].scene == split["other.png"].scene
    assert write_split(list(split.values())).startswith(b"part,scene,licence,sha256,look,file\n")


def test_a_file_that_is_not_the_listed_one_is_refused(tmp_path: Path) -> None:
    storage = _collection(tmp_path)
    (listed,) = [one for one in make_split(storage) if one.file == "free.png"]
    assert read_listed(storage, listed).shape == (80, 80, 3)
    (tmp_path / "free.png").write_bytes((tmp_path / "other.png").read_bytes())
    with pytest.raises(ValueError, match="free.png is not the file of the list"):
        read_listed(storage, listed)

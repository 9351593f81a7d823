"""Alike pictures are found through what is done to copies, and end on one side of the split."""

import io
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from skimage import data as shipped

from viral.data.duplicates import (
    ALIKE,
    Look,
    count_links,
    find_links,
    join_sources,
    moved_sources,
    perceptual_hash,
    write_links,
)
from viral.scenes import render, sample_scene
from viral.storage import Storage


def _photograph(name: str) -> np.ndarray:
    return np.ascontiguousarray(cv2.resize(getattr(shipped, name)()[..., :3], (96, 96), interpolation=cv2.INTER_AREA))


def _jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Pillow.open(buffer))


COPIES = {
    "compressed": _jpeg,
    "smaller": lambda image: cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "grey": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(0).normal(size=image.shape) * 10, 0, 255
    ).astype(np.uint8),
    "trimmed": lambda image: np.ascontiguousarray(image[1:-1, 1:-1]),
}  # fmt: skip


def _distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_a_copy_looks_alike(copy, name: str) -> None:
    image = _photograph(name)
    assert _distance(perceptual_hash(image), perceptual_hash(copy(image))) <= ALIKE


def test_other_pictures_do_not() -> None:
    hashes = [perceptual_hash(_photograph(name)) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    hashes += [perceptual_hash(render(sample_scene(seed), 48).image) for seed in range(12)]
    assert min(_distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > ALIKE


def _look(source: str, look: int, split: str = "train", pixels: str = "") -> Look:
    return Look(f"image of {source}", source, split, pixels or source, f"{look:064x}")


def _flipped(look: int, *bits: int) -> int:
    return look ^ sum(1 << bit for bit in bits)


BASE = int.from_bytes(np.random.default_rng(0).bytes(32))
OTHER = int.from_bytes(np.random.default_rng(1).bytes(32))


def test_exact_and_perceptual_copies_are_told_apart_and_counted() -> None:
    looks = [
        _look("a", BASE, pixels="same"),
        _look("b", BASE, "test", pixels="same"),
        _look("c", _flipped(BASE, *range(5)), "test"),
        _look("d", OTHER),
        _look("a", BASE, pixels="same"),
    ]
    links = find_links(looks)
    assert count_links(links) == {"exact": 1, "perceptual": 1, "across the split": 2}
    assert find_links(looks[::-1]) == links


def test_whoever_looks_like_a_test_picture_is_kept_apart_over_any_number_of_steps() -> None:
    chain = [_look(f"s{i}", _flipped(BASE, *range(30 * i)), "test" if i == 4 else "train") for i in range(5)]
    assert all(_distance(a.look, b.look) <= ALIKE for a, b in pairwise(chain))
    links = find_links([*chain, _look("alone", OTHER)])
    assert set(join_sources(links).values()) == {"s0"}
    assert moved_sources(links) == {"s0", "s1", "s2", "s3"}
    assert moved_sources(find_links(chain[:4])) == frozenset()


def test_more_copies_than_neighbours_are_all_joined() -> None:
    looks = [_look(f"s{i:02d}", _flipped(BASE, i), "test" if i == 7 else "train") for i in range(40)]
    assert len(moved_sources(find_links(looks))) == 39


def test_the_report_says_where_both_were_and_are(tmp_path) -> None:
    links = find_links([_look("a", BASE, pixels="x"), _look("b", BASE, "test", pixels="x")])
    write_links(Storage(str(tmp_path)), links)
    lines = (tmp_path / "duplicates.csv").read_text().splitlines()
    assert lines == ["kind,bits,source,split,other source,other split,both are now", "exact,0,a,train,b,test,test"]


def test_nothing_alike_is_nothing() -> None:
    assert find_links([]) == [] and join_sources([]) == {} and moved_sources([]) == frozenset()

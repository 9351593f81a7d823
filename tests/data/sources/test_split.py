"""Squares of the photographs that may be trained on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from viral.data.proof_split import files_of
from viral.data.sources import Source, build_sources
from viral.data.sources.split import random_square

NONE: frozenset[str] = frozenset()


def _source(**described: object) -> Source:
    return build_sources({"it": {"kind": "split", "path": "nowhere", **described}})["it"]


def test_only_permissive_photographs_of_the_part_are_cut() -> None:
    items = _source().items(200, 0, NONE)
    files = {item.data["file"] for item in items}
    assert files == {one.file for one in files_of("train", "permissive", "photos/")}
    proof = {one.scene for one in files_of("proof")}
    assert not {item.source_id.removeprefix("photograph/") for item in items} & proof


def test_every_photograph_is_cut_before_a_second_square_of_any() -> None:
    items = _source().items(150, 3, NONE)
    counts = Counter(item.data["file"] for item in items)
    assert max(counts.values()) - min(counts.values()) <= 1 and len({item.id for item in items}) == 150


def test_a_licence_that_no_photograph_has_is_told() -> None:
    with pytest.raises(ValueError, match="no photograph of part train has a licence"):
        _source(licences=["unknown"]).items(4, 0, NONE)


def test_another_file_under_a_listed_name_is_refused(tmp_path: Path) -> None:
    source = _source(path=str(tmp_path))
    item = source.items(1, 0, NONE)[0]
    (tmp_path / item.data["file"]).parent.mkdir(parents=True)
    (tmp_path / item.data["file"]).write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the file of the list"):
        source.reader("cpu")(item, 64)


def test_squares_differ_by_seed_lie_in_the_photograph_and_repeat() -> None:
    pixels = np.indices((90, 120)).transpose(1, 2, 0)[..., [0, 1, 0]].astype(np.uint8)
    squares = [random_square(pixels, 32, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert squares[0].shape == (32, 32, 3) and np.array_equal(squares[0], squares[1])
    assert not np.array_equal(squares[0], squares[2])
    with pytest.raises(ValueError, match="too small: 90 pixels"):
        random_square(pixels, 128, np.random.default_rng(0))

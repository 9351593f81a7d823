"""Pairs of your own: brought into our form, or told what is not understood."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from viral.config import RunConfig, resolve
from viral.data import own_pairs
from viral.data.images import pixels_of
from viral.data.own_pairs import OwnPairMaker
from viral.data.pairs import generate_pairs, load_pairs
from viral.data.shards import ShardWork
from viral.storage import Storage

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _image(seed: int, width: int = 50, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _config(tmp_path: Path, pairs: Path) -> RunConfig:
    data = ["data.size=32", "data.test_sources=1", "data.rows_per_shard=4", "data.actors=1"]
    return resolve(None, [f"storage={tmp_path / 'run'}", f"pairs={pairs}", *data])


def _write_images(folder: Path, count: int) -> None:
    (folder / "etching").mkdir(parents=True)
    for seed in range(count):
        _image(seed).save(folder / "etching" / f"p{seed}__source.png")
        _image(seed + 100).save(folder / "etching" / f"p{seed}__target.png")


def _write_parquet(path: Path, **columns: pa.Array) -> None:
    count = len(next(iter(columns.values())))
    table = {
        "task": pa.array(["etching"] * count),
        "source": pa.array([{"bytes": _png(_image(i)), "path": None} for i in range(count)], IMAGE),
        "target": pa.array([{"bytes": _png(_image(i + 100)), "path": None} for i in range(count)], IMAGE),
    }
    pq.write_table(pa.table({**table, **columns}), path, row_group_size=3)


def _made(folder: Path, size: int = 32) -> list[dict]:
    """The rows of a folder, made in this process."""
    storage = Storage(str(folder))
    found = own_pairs._found(storage, storage.walk())
    plan: list[ShardWork] = list(own_pairs._plan(found, 4))
    shards = [OwnPairMaker(storage, size)(item.work) for item in plan]
    return [row for shard in shards for row in pq.read_table(pa.BufferReader(shard.data)).to_pylist()]


def test_a_folder_of_images_becomes_a_table_and_stays_one(tmp_path: Path, ray_cluster: None, capsys) -> None:
    _write_images(tmp_path / "mine", 6)
    _image(7, 60, 40).save(tmp_path / "mine" / "etching" / "p1__target.png")
    config = _config(tmp_path, tmp_path / "mine")
    table = load_pairs(config)
    assert table.manifest.rejected == {"source and target differ in size": 1}
    assert table.manifest.counts_out == {"rows": 6, "good": 5, "test": 1, "train": 5}
    rows = [row for split in ("train", "test") for row in table.rows(split, "etching")]
    assert len({row["pair_id"] for row in rows}) == 5
    assert all(pixels_of(row["source"]["bytes"]).shape == (32, 32, 3) for row in rows)
    assert generate_pairs(config) == table.manifest
    assert "is up to date, 5 pairs" in capsys.readouterr().out


def test_parquet_and_image_files_give_the_same_images(tmp_path: Path) -> None:
    _write_images(tmp_path / "images", 10)
    (tmp_path / "table").mkdir()
    _write_parquet(tmp_path / "table" / "mine.parquet", licence=pa.array(["CC0"] * 10))
    images, table = _made(tmp_path / "images"), _made(tmp_path / "table")
    assert [row["source"] for row in images] == [row["source"] for row in table]
    assert [row["target"] for row in images] == [row["target"] for row in table]
    assert {row["licence"] for row in table} == {"CC0"} and {row["licence"] for row in images} == {"as given"}


def test_instruction_and_group_of_a_row_are_kept(tmp_path: Path) -> None:
    words = {"instruction": pa.array(["make it red", None]), "group": pa.array(["cats", None])}
    _write_parquet(tmp_path / "mine.parquet", **words)
    rows = _made(tmp_path)
    assert [(row["instruction"], row["group"]) for row in rows] == [("make it red", "cats"), (None, None)]


def test_a_damaged_image_stays_as_a_row_with_its_error(tmp_path: Path) -> None:
    cells = [{"bytes": b"no image", "path": None}, {"bytes": None, "path": "elsewhere.png"}]
    _write_parquet(tmp_path / "mine.parquet", target=pa.array(cells, IMAGE))
    errors = [row["error"] for row in _made(tmp_path)]
    assert errors[0].startswith("not an image of a known kind") and errors[1].startswith("no image bytes")


def test_foreign_columns_are_told_with_those_expected(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a cat"], "image": [b""]}), tmp_path / "foreign.parquet")
    with pytest.raises(
        ValueError, match=r"foreign\.parquet has no column task or source or target; got prompt"
    ) as error:
        load_pairs(_config(tmp_path, tmp_path))
    assert "expected columns task (string)" in str(error.value)
    _write_parquet(tmp_path / "foreign.parquet", source=pa.array([["a", "b"]]))
    with pytest.raises(ValueError, match="column source is list<"):
        load_pairs(_config(tmp_path, tmp_path))


def test_a_truncated_parquet_file_is_told(tmp_path: Path) -> None:
    _write_parquet(tmp_path / "cut.parquet", licence=pa.array(["CC0"] * 4))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"cut\.parquet is damaged or no Parquet file"):
        load_pairs(_config(tmp_path, tmp_path))


def test_a_source_without_target_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "etching").mkdir()
    with pytest.raises(ValueError, match="holds no pair among its 0 files; expected Parquet files, or <task>/"):
        load_pairs(_config(tmp_path, tmp_path))
    _image(0).save(tmp_path / "etching" / "p__source.png")
    with pytest.raises(ValueError, match="has no p__target beside it"):
        load_pairs(_config(tmp_path, tmp_path))
    with pytest.raises(ValueError, match="is neither a table under"):
        load_pairs(_config(tmp_path, tmp_path / "nowhere"))


def test_a_split_that_is_given_is_kept_and_a_foreign_one_told(tmp_path: Path) -> None:
    _write_parquet(tmp_path / "mine.parquet", split=pa.array(["train", "test", "validation"]))
    with pytest.raises(ValueError, match=r"column split holds \['test', 'train', 'validation'\]"):
        load_pairs(_config(tmp_path, tmp_path))

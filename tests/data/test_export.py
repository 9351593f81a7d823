"""What other tools read of an export is what the table holds."""

import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.tables import mixed
from viral.data.export import FORMS, export
from viral.data.pair_table import PairTable
from viral.schema import PAIRS
from viral.storage import Storage


@pytest.fixture
def table(tmp_path: Path) -> PairTable:
    return mixed(Storage(str(tmp_path / "pairs")))


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def _counts(table: PairTable) -> dict[tuple[str, str], int]:
    rows = [(row["task"], split) for split in ("train", "test") for row in table.rows(split)]
    return {key: rows.count(key) for key in rows}


def test_hugging_face_loads_each_task_with_its_splits_and_images(table: PairTable, tmp_path: Path) -> None:
    to = tmp_path / "export"
    export(table, Storage(str(to)), "huggingface")
    for task in ("depth", "interactive"):
        loaded = datasets.load_dataset(str(to), task, cache_dir=str(tmp_path / "cache"))
        assert {(task, split): len(rows) for split, rows in loaded.items()}.items() <= _counts(table).items()
        assert isinstance(loaded["train"].features["target"], datasets.Image)
        first = next(row for row in table.rows("train", task))
        assert np.array_equal(loaded["train"][0]["target"], _pixels(first["target"]["bytes"]))
    assert pq.read_schema(to / "depth" / "train-00000.parquet").equals(PAIRS)


def test_webdataset_has_a_sample_for_every_pair(table: PairTable, tmp_path: Path) -> None:
    to = tmp_path / "export"
    names = export(table, Storage(str(to)), "webdataset")
    assert names == [f"{task}/{split}-00000.tar" for task in ("depth", "interactive") for split in ("test", "train")]
    rows = {row["pair_id"]: row for row in table.rows("train", "depth")}
    with tarfile.open(to / "depth" / "train-00000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    assert {name.partition(".")[0] for name in members} == set(rows)
    for pair_id, row in rows.items():
        assert members[f"{pair_id}.source.png"] == row["source"]["bytes"]
        assert json.loads(members[f"{pair_id}.json"])["provenance"] == row["provenance"]
    loaded = datasets.load_dataset(str(to), "depth", cache_dir=str(tmp_path / "cache"))
    assert len(loaded["train"]) == len(rows) and loaded["train"][0]["target.png"].size == (64, 64)


def test_a_folder_of_images_is_read_by_hugging_face_and_as_pairs_of_ones_own(table: PairTable, tmp_path: Path) -> None:
    from viral.data.own_pairs import _found

    to = tmp_path / "export"
    export(table, Storage(str(to)), "folder")
    loaded = datasets.load_dataset(str(to), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 7, "test": 2}
    assert loaded["train"][0]["source"].size == loaded["train"][0]["target"].size == (64, 64)
    own = Storage(str(to / "train"))
    assert len(_found(own, own.walk())) == 7


@pytest.mark.parametrize("form", FORMS)
def test_exported_again_it_is_the_same_bytes_and_rejected_rows_stay_out(
    table: PairTable, tmp_path: Path, form: str
) -> None:
    files = []
    for place in ("one", "two"):
        export(table, Storage(str(tmp_path / place)), form)
        files.append(
            {
                str(path.relative_to(tmp_path / place)): path.read_bytes()
                for path in (tmp_path / place).rglob("*")
                if path.is_file()
            }
        )
    assert files[0] == files[1]
    rejected = {
        row["pair_id"] for shard in table.manifest.shards for row in table.read(shard).to_pylist() if row["error"]
    }
    assert len(rejected) == 2
    assert not any(
        pair_id.encode() in data or pair_id in name for pair_id in rejected for name, data in files[0].items()
    )

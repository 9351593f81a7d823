"""The table of pairs: the same bytes whoever makes it and however often it is stopped."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viral.config import RunConfig
from viral.data.crops import crop_boxes
from viral.data.pair_table import PairTable
from viral.data.pairs import PairMaker, PairPlan, generate_pairs, load_pairs
from viral.data.photographs import photographs
from viral.schema import PAIRS
from viral.storage import Storage, read_manifest, write_manifest


@pytest.fixture
def table(pairs_config: RunConfig) -> PairTable:
    return load_pairs(pairs_config)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_crop_has_every_task_and_every_row_is_counted(table: PairTable) -> None:
    manifest = table.manifest
    assert manifest.complete and manifest.counts_in == {"files": 12, "crops": 14, "rows": 42}
    assert manifest.counts_out["good"] == manifest.counts_out["rows"] == 42
    assert sum(manifest.rejected.values()) == 6 and "rejected empty.jpg" in manifest.notes
    rows = [row for shard in manifest.shards for row in table.read(shard).to_pylist()]
    assert len({row["pair_id"] for row in rows}) == 42
    assert sum(row["split"] == "test" for row in rows) == 18
    assert all((row["mask"] is not None) == (row["task"] == "watermark") for row in rows)


def test_no_photograph_lies_on_both_sides(table: PairTable) -> None:
    train, test = ({row["source_id"] for row in table.rows(split)} for split in ("train", "test"))
    assert len(train) == len(test) == 3 and not train & test


def test_hugging_face_decodes_the_images(pairs_config: RunConfig, tmp_path: Path) -> None:
    import datasets

    files = [str(path) for path in sorted(Path(pairs_config.storage, "pairs").glob("*.parquet"))]
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert isinstance(loaded.features["source"], datasets.Image) and len(loaded) == 42
    row = loaded[2]
    assert row["source"].size == row["target"].size == row["mask"].size == (32, 32)
    assert row["task"] == "watermark" and row["error"] is None and "box" in json.loads(row["params"])


def test_stopped_damaged_and_resumed_with_three_actors_it_is_the_same_table(
    pairs_config: RunConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(Path(pairs_config.storage, "pairs"), folder)
    whole = _files(folder)
    storage = Storage(str(folder))
    manifest = read_manifest(storage)
    assert manifest is not None
    write_manifest(storage, manifest.model_copy(update={"complete": False, "shards": manifest.shards[:4]}))
    (folder / "shard-00001.parquet").unlink()  # lost
    (folder / "shard-00002.parquet").write_bytes(whole["shard-00002.parquet"][:-100])  # cut
    (folder / "shard-00004.parquet").write_bytes(b"written, never entered in the manifest")
    (folder / ".shard-00003.parquet.x.tmp").write_bytes(b"half")
    kept = (folder / "shard-00000.parquet").stat().st_mtime_ns
    data = pairs_config.data.model_copy(update={"actors": 3})
    generate_pairs(pairs_config.model_copy(update={"storage": str(tmp_path), "data": data}))
    assert _files(folder) == whole
    assert (folder / "shard-00000.parquet").stat().st_mtime_ns == kept


def test_the_same_command_again_does_nothing_and_says_so(
    pairs_config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(pairs_config.storage, "pairs")
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    generate_pairs(pairs_config)
    assert "is up to date, 42 pairs" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_a_row_that_fails_stays_and_says_why(pairs_config: RunConfig) -> None:
    photo, box = crop_boxes(photographs(pairs_config).photographs, 1, 32)[0]
    plans = [PairPlan(task, photo, box, 32, 0) for task in ("negative", "unheard_of", "low_light")]
    made = PairMaker()(plans)
    assert made.rows == 3 and made.rejected == {"unheard_of failed": 1}
    rows = pq.read_table(pa.BufferReader(made.data), schema=PAIRS).to_pylist()
    assert [row["error"] for row in rows] == [None, "unheard_of failed: KeyError: 'unheard_of'", None]
    assert rows[1]["source"] is None and rows[1]["source_id"] == photo.source_id


def test_pairs_that_are_not_there_are_asked_for(pairs_config: RunConfig, tmp_path: Path) -> None:
    elsewhere = pairs_config.model_copy(update={"storage": str(tmp_path)})
    with pytest.raises(ValueError, match="are not there; run jobs/generate_dataset.py"):
        load_pairs(elsewhere)


def test_masks_lie_where_source_and_target_differ(table: PairTable) -> None:
    from viral.data.images import pixels_of

    for row in table.rows("test", "watermark"):
        source, target, mask = (pixels_of(row[key]["bytes"]).astype(int) for key in ("source", "target", "mask"))
        assert np.abs(source - target)[mask == 0].max() <= 10 < np.abs(source - target)[mask > 0].mean()

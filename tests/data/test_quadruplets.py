"""From a table of pairs to quadruplets: embedded by the shipped CLIP, mined, written, read by anybody."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from viral.config import RunConfig, resolve
from viral.data.embeddings import embeddings_place, read_embeddings
from viral.data.pair_table import count_errors, failed_row, good_row, open_pairs, pairs_parquet
from viral.data.quadruplets import QuadrupletTable, mine_quadruplets, open_quadruplets, quadruplets_place
from viral.data.sources import build_sources
from viral.data_config import EMBEDDED_CLIP
from viral.scenes import render, sample_scene
from viral.storage import Manifest, Storage, describe_shard, read_manifest, write_manifest
from viral.tasks import Rendering

TWO_EDITS = ("Make the picture dark.", "Invert the colours.")


def edited(number: int) -> Rendering:
    """A scene and one of two drastic edits of it."""
    image = render(sample_scene(number), 32).image
    return Rendering(image, 255 - image if number % 2 else image // 4, group=json.dumps(["edit", str(number % 2)]))


def write_pairs(storage: Storage, shards: int = 3, rows: int = 8) -> None:
    """A finished table of pairs: every fourth is of the test split, and one of each shard is damaged."""
    described = []
    for shard in range(shards):
        made = []
        for number in range(shard * rows, (shard + 1) * rows):
            head = {"pair_id": f"pair{number:03d}", "task": "edit", "split": "test" if number % 4 == 0 else "train"}
            head |= {"source_id": f"scene{number}", "licence": "CC0", "instruction": TWO_EDITS[number % 2]}
            about = {**head, "provenance": json.dumps({"scene": number})}
            failed = number % rows == rows - 1
            made.append(failed_row(about, {}, "damaged") if failed else good_row(about, {"n": number}, edited(number)))
        data, name = pairs_parquet(made), f"shard-{shard:05d}.parquet"
        storage.write(name, data)
        described.append(describe_shard(name, len(made), data, count_errors(made)))
    counts = {"rows": shards * rows, "good": shards * (rows - 1)}
    write_manifest(storage, Manifest(fingerprint="x", complete=True, shards=tuple(described), counts_out=counts))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunConfig:
    """Pairs that have been mined by one actor."""
    folder = tmp_path_factory.mktemp("mining")
    write_pairs(Storage(str(folder)).join("pairs"))
    limits = ["mining.most_alike=2", "mining.least_words=0.995", "mining.least_crossed=-2", "mining.clusters=2"]
    config = resolve(None, [f"storage={folder}", "data.actors=1", "data.rows_per_shard=4", *limits])
    mine_quadruplets(config)
    return config


@pytest.fixture(scope="module")
def table(config: RunConfig) -> QuadrupletTable:
    return open_quadruplets(quadruplets_place(config, "mined"))


def _bytes(storage: Storage) -> dict[str, bytes]:
    return {name: storage.read(name) for name in storage.list()}


def test_both_pairs_of_a_quadruplet_are_of_one_split_and_agree_in_words(table: QuadrupletTable) -> None:
    rows = list(table.rows())
    assert len(rows) >= 4
    for row in rows:
        about, scores = json.loads(row["provenance"]), json.loads(row["scores"])
        numbers = [int(pair.removeprefix("pair")) for pair in about["pairs"]]
        assert {number % 4 == 0 for number in numbers} == {row["split"] == "test"}
        assert row["a_instruction"] == row["b_instruction"] and scores["words"] >= 0.995
        assert (row["a_source_id"], row["b_source_id"]) == tuple(f"scene{number}" for number in numbers)
        assert about["provenance"] == [{"scene": number} for number in numbers] and row["licence"] == "CC0"


def test_pictures_of_a_quadruplet_are_the_pairs_own(config: RunConfig, table: QuadrupletTable) -> None:
    pairs = {row["pair_id"]: row for row in open_pairs(Storage(config.storage).join("pairs")).rows("train")}
    pairs |= {row["pair_id"]: row for row in open_pairs(Storage(config.storage).join("pairs")).rows("test")}
    for row in table.rows():
        a, b = (pairs[name] for name in json.loads(row["provenance"])["pairs"])
        assert [row[name]["bytes"] for name in ("a", "a_prime", "b", "b_prime")] == [
            pair[side]["bytes"] for pair in (a, b) for side in ("source", "target")
        ]


def test_embeddings_are_the_shipped_clips_and_what_is_left_out_is_counted(config: RunConfig) -> None:
    manifest = read_manifest(embeddings_place(config))
    assert manifest is not None and manifest.rejected == {"the pair has an error": 3}
    embedded = read_embeddings(embeddings_place(config), manifest)
    assert len(embedded) == 21 and embedded.vectors.sources.shape[1] == 128
    for vectors in (embedded.vectors.sources, embedded.vectors.targets, embedded.vectors.words):
        assert np.allclose(vectors.float().norm(dim=1), 1, atol=2e-3)
    assert manifest.notes["embedder"] == "embedded" and EMBEDDED_CLIP.is_dir()


def test_three_actors_on_a_broken_table_make_the_same_bytes(config: RunConfig, tmp_path: Path) -> None:
    made = {
        place: _bytes(Storage(config.storage).join(*place)) for place in (("embeddings",), ("quadruplets", "mined"))
    }
    shutil.copytree(config.storage, tmp_path / "again")
    again = config.model_copy(
        update={"storage": str(tmp_path / "again"), "data": config.data.model_copy(update={"actors": 3})}
    )
    broken = Storage(again.storage).join("embeddings")
    (name, *_) = [name for name in broken.list() if name.startswith("shard")]
    broken.write(name, b"cut")
    Storage(again.storage).join("quadruplets", "mined").delete("manifest.json")
    mine_quadruplets(again)
    assert {place: _bytes(Storage(again.storage).join(*place)) for place in made} == made


def test_a_second_run_makes_nothing_anew(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    before = quadruplets_place(config, "mined").stamp("manifest.json")
    mine_quadruplets(config)
    assert "is up to date" in capsys.readouterr().out
    assert quadruplets_place(config, "mined").stamp("manifest.json") == before


def test_filters_that_leave_nothing_say_what_to_change(config: RunConfig, tmp_path: Path) -> None:
    shutil.copytree(config.storage, tmp_path / "none")
    strict = config.mining.model_copy(update={"most_alike": -2.0})
    with pytest.raises(ValueError, match=r"raise mining\.most_alike"):
        mine_quadruplets(config.model_copy(update={"storage": str(tmp_path / "none"), "mining": strict}))


def test_datasets_and_pyarrow_read_the_table(table: QuadrupletTable, tmp_path: Path) -> None:
    names = [str(table.storage.local(shard.name, shard.sha256)) for shard in table.manifest.shards]
    loaded = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path))
    assert loaded[0]["b_prime"].size == (32, 32)
    assert sum(pq.read_table(name).num_rows for name in names) == len(loaded) == table.manifest.counts_out["good"]


def test_quadruplets_are_a_source_whose_two_pairs_meet_each_other_alone(table: QuadrupletTable) -> None:
    source = build_sources({"mined": {"kind": "quadruplets", "path": str(table.storage)}})["mined"]
    items = source.items(1000, 0, frozenset())
    rows = {row["quadruplet_id"]: row for row in table.rows()}
    assert len(items) == 2 * len(rows)
    read = source.reader("cpu")
    by_group: dict[str, list[np.ndarray]] = {}
    for item in items:
        labelled = read(item, 32)
        by_group.setdefault(labelled.about["group"], []).append(labelled.target)
        row = rows[labelled.about["group"]]
        assert item.source_id in (row["a_source_id"], row["b_source_id"])
        assert labelled.instruction in TWO_EDITS
    assert {len(targets) for targets in by_group.values()} == {2} and set(by_group) == set(rows)

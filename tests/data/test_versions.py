"""A version is what its name says: same pairs, same name; changed, it is refused."""

import csv
import hashlib
from pathlib import Path

import pytest
import yaml

from tests.data.tables import mixed, write_pairs
from viral.data.pair_table import PairTable
from viral.data.versions import list_versions, open_version, publish, version_name
from viral.storage import Storage


@pytest.fixture
def run(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def version(run: Storage) -> PairTable:
    return publish(mixed(run.join("pairs")), run)


def test_a_version_is_named_by_the_hash_of_its_manifest_and_published_once(run: Storage, version: PairTable) -> None:
    folder = Path(str(version.storage))
    assert folder.name == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12]
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert publish(mixed(run.join("pairs")), run).storage == version.storage
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def test_a_version_outlives_the_pairs_it_was_made_from(run: Storage, version: PairTable) -> None:
    before = list(version.rows("train"))
    write_pairs(run.join("pairs"), [[]])
    name = version_name(version.manifest)
    assert list(open_version(run, name[:5]).rows("train")) == before
    second = publish(mixed(run.join("pairs"), lambda shards: shards.pop()), run)
    assert list_versions(run) == sorted([name, version_name(second.manifest)])


def test_publishing_that_was_stopped_is_finished(run: Storage, version: PairTable) -> None:
    folder = Path(str(version.storage))
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "manifest.json").unlink()
    (folder / "shard-00001.parquet").write_bytes(b"half")
    (folder / "README.md").unlink()
    assert list_versions(run) == []
    publish(mixed(run.join("pairs")), run)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_a_changed_version_is_refused(run: Storage, version: PairTable) -> None:
    manifest = Path(str(version.storage), "manifest.json")
    manifest.write_text(manifest.read_text().replace('"fingerprint": "f"', '"fingerprint": "g"'))
    with pytest.raises(ValueError, match="was changed: its manifest is that of version"):
        open_version(run, version.storage.names[-1])
    with pytest.raises(ValueError, match="0 versions begin with 'zz', expected 1|there are:"):
        open_version(run, "zz")


def test_every_rejected_row_is_listed_with_its_reason(version: PairTable) -> None:
    rows = list(csv.DictReader(version.storage.read("rejected.csv").decode().splitlines()))
    assert [(row["task"], row["source_id"]) for row in rows] == [("depth", "scene/5"), ("interactive", "scene/6")]
    assert rows[0]["error"].startswith("truncated or damaged PNG") and '"item": "5"' in rows[0]["provenance"]


def test_the_card_counts_pairs_licences_and_rejections(version: PairTable) -> None:
    card = version.storage.read("README.md").decode()
    _, front, body = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "other" and facts["size_categories"] == ["n<1K"] and "depth" in facts["tags"]
    assert "# 9 image pairs of 2 tasks" in body and version.storage.names[-1] in body
    assert "| 4 | 1 | 1 | 0 | 1 | 6 |" in body  # depth: train, test, doubtful, alone, rejected, sources
    assert "no commercial use, nor of what is trained on it" in body
    assert "| depth | truncated or damaged PNG | 1 |" in body
    assert "| depth | source and target hardly differ | 1 |" in body


def test_hugging_face_reads_a_version_by_its_card(version: PairTable, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(version.storage), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["pairs"] and len(loaded["pairs"]) == 11
    assert loaded["pairs"][0]["source"].size == (64, 64)

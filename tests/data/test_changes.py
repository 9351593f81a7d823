"""Every way in which a row can change is told apart, and equal tables have no changes."""

import json
from pathlib import Path

import pytest

from tests.data.tables import NOTES, Row, mixed, pair, rejected, write_pairs
from viral.data.changes import compare
from viral.data.pair_table import PairTable
from viral.storage import Storage


@pytest.fixture
def old(tmp_path: Path) -> PairTable:
    return mixed(Storage(str(tmp_path / "old")))


def test_equal_tables_have_no_changes(old: PairTable, tmp_path: Path) -> None:
    changes = compare(old, mixed(Storage(str(tmp_path / "new"))))
    assert changes.counts == {} and "The pairs are the same." in changes.markdown()


def test_each_kind_of_change_is_told_apart(old: PairTable, tmp_path: Path) -> None:
    def change(shards: list[list[Row]]) -> None:
        first, second, third = shards
        first[0]["split"] = "test"
        first[1]["source"] = first[2]["source"]
        first[2] = rejected("depth", 2, "sam failed")
        second[0]["instruction"] = "Another one."
        second.pop()
        third[0]["doubts"] = None
        third[1] = pair("depth", 5)
        third.append(pair("edge", 9))

    changes = compare(old, mixed(Storage(str(tmp_path / "new")), change))
    assert changes.rows == {
        ("moved", "depth"): ["scenes 0"],
        ("repainted", "depth"): ["scenes 1"],
        ("now rejected", "depth"): ["scenes 2"],
        ("reworded", "interactive"): ["scenes 0"],
        ("removed", "interactive"): ["scenes 3"],
        ("other doubts", "depth"): ["scenes 4"],
        ("no longer rejected", "depth"): ["scenes 5"],
        ("added", "edge"): ["scenes 9"],
    }
    assert "| repainted | depth | 1 | scenes 1 |" in changes.markdown()


def test_a_row_under_another_id_is_the_same_row(old: PairTable, tmp_path: Path) -> None:
    def rename(shards: list[list[Row]]) -> None:
        for row in (row for rows in shards for row in rows):
            row["pair_id"] = row["pair_id"][::-1]

    assert compare(old, mixed(Storage(str(tmp_path / "new")), rename)).counts == {}


def test_shards_that_both_hold_are_not_read(old: PairTable, tmp_path: Path) -> None:
    new = mixed(Storage(str(tmp_path / "new")), lambda shards: shards[2].pop())
    for name in ("shard-00000.parquet", "shard-00001.parquet"):
        (tmp_path / "new" / name).unlink()
    assert compare(old, new).rows == {("removed", "interactive"): ["scenes 6"]}


def test_settings_that_differ_are_named(old: PairTable, tmp_path: Path) -> None:
    settings = json.loads(NOTES["configuration"])
    settings["dataset"]["scale"] = 2.0
    new = write_pairs(Storage(str(tmp_path / "new")), [[]], configuration=json.dumps(settings))
    assert compare(old, new).settings == [("dataset.scale", "1.0", "2.0")]

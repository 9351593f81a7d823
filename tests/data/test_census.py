"""Counts of a table are what its rows say."""

import json
from pathlib import Path

from tests.data.tables import mixed, pair, write_pairs
from viral.data.census import Census, TaskCount, verdict_of
from viral.storage import Storage


def test_every_row_is_counted_once_under_its_task_and_verdict(tmp_path: Path) -> None:
    census = Census(mixed(Storage(str(tmp_path))))
    assert census.tasks == [
        TaskCount("depth", train=4, test=1, doubtful=1, alone=0, rejected=1, sources=6),
        TaskCount("interactive", train=3, test=1, doubtful=0, alone=0, rejected=1, sources=5),
    ]
    assert sum(verdict_of(row) != "rejected" for row in census) == 9 == sum(census.licences.values())
    assert [(found.task, found.reason, found.rows) for found in census.rejections] == [
        ("depth", "truncated or damaged PNG", 1),
        ("interactive", "interactive failed", 1),
    ]
    assert census.doubts == {("depth", "source and target hardly differ"): 1}


def test_pairs_that_no_other_may_meet_are_counted(tmp_path: Path) -> None:
    rows = [pair("detection", i, group=group) for i, group in enumerate(("cat", "cat", "dog"))]
    (count,) = Census(write_pairs(Storage(str(tmp_path)), [rows])).tasks
    assert count.alone == 1


def test_annotators_are_recorded_by_name(tmp_path: Path) -> None:
    said = json.dumps({"annotators": {"sam": {"model": "x", "sha256": "00"}}})
    rows = [pair("depth", 0, provenance=said), pair("depth", 1, provenance=None)]
    assert Census(write_pairs(Storage(str(tmp_path)), [rows])).annotators == {"sam": {"model": "x", "sha256": "00"}}


def test_a_table_from_before_there_were_doubts_is_counted(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = mixed(Storage(str(tmp_path)))
    for shard in table.manifest.shards:
        path = tmp_path / shard.name
        pq.write_table(pq.read_table(path).drop_columns(["doubts"]), path)
    assert [count.doubtful for count in Census(table).tasks] == [0, 0]

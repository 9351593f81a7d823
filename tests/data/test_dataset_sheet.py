"""The contact sheet shows some of everything, with examples that may be met."""

import base64
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.data.tables import mixed, pair, write_pairs
from viral.data.census import Census
from viral.data.dataset_sheet import SHOWN, choose, make_sheet
from viral.data.pair_table import PairTable
from viral.storage import Storage


@pytest.fixture
def table(tmp_path: Path) -> PairTable:
    return mixed(Storage(str(tmp_path)))


def _data(page: bytes) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.decode(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_task_split_and_verdict_is_on_the_sheet_with_its_reason(table: PairTable) -> None:
    lines = _data(make_sheet(table, Census(table)))["lines"]
    assert {(line["task"], line["verdict"]) for line in lines} == {
        (task, verdict) for task in ("depth", "interactive") for verdict in ("good", "rejected")
    } | {("depth", "doubtful")}
    assert {line["split"] for line in lines} == {"train", "test"}
    reasons = {line["verdict"]: line["why"] for line in lines if line["task"] == "depth"}
    assert reasons["doubtful"] == "source and target hardly differ" and reasons["rejected"].startswith("truncated")
    assert [line["verdict"] for line in lines if line["task"] == "depth"][:2] == ["rejected", "doubtful"]


def test_a_query_meets_another_pair_of_its_task_and_group_from_training(tmp_path: Path) -> None:
    groups = ["cat", "cat", "cat", "dog", "dog", "dog", "lone"]
    rows = [pair("detection", i, "test" if i in (2, 4) else "train", group=group) for i, group in enumerate(groups)]
    table = write_pairs(Storage(str(tmp_path)), [rows])
    for one in choose(Census(table)):
        if one.query["group"] == "lone":
            assert one.example is None
        else:
            assert one.example["group"] == one.query["group"] and one.example["pair_id"] != one.query["pair_id"]
            assert one.example["split"] == "train" or one.query["split"] == "test"


def test_pictures_lie_in_the_page_once_and_decode(table: PairTable) -> None:
    data = _data(make_sheet(table, Census(table)))
    shown = {line[key] for line in data["lines"] for key in ("shows", "example") if line[key]}
    assert set(data["pictures"]) == shown
    for sides in data["pictures"].values():
        assert [Image.open(io.BytesIO(base64.b64decode(side))).size for side in sides] == [(64, 64)] * 2


def test_a_long_table_is_shown_in_part_and_evenly(tmp_path: Path) -> None:
    row = pair("depth", 0)
    rows = [{**row, "pair_id": f"{i:032x}", "source_id": str(i)} for i in range(10 * SHOWN)]
    shown = [int(one.query["source_id"]) for one in choose(Census(write_pairs(Storage(str(tmp_path)), [rows])))]
    assert shown == list(range(0, 10 * SHOWN, 10))


def test_words_of_the_data_cannot_end_the_script(tmp_path: Path) -> None:
    rows = [pair("depth", i, instruction="</script><b>not a tag</b>") for i in range(2)]
    table = write_pairs(Storage(str(tmp_path)), [rows])
    page = make_sheet(table, Census(table))
    assert b"</script><b>" not in page and _data(page)["lines"][0]["instruction"] == "</script><b>not a tag</b>"

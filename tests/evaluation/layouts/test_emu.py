from pathlib import Path

import pyarrow.parquet as pq
import pytest

from viral.evaluation.layouts.emu import KINDS, read_emu, write_emu
from viral.scenes import read_instruction
from viral.storage import Storage

COUNT = 14


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    drawn = Storage(str(tmp_path_factory.mktemp("emu")))
    write_emu(drawn, COUNT, 48, seed=3)
    return drawn


def test_the_columns_are_those_that_emu_edit_published(place: Storage) -> None:
    (name,) = place.walk()
    columns = pq.ParquetFile(place.open(name)).schema_arrow.names
    assert {"idx", "image", "instruction", "input_caption", "output_caption", "task", "hash"} == set(columns)


def test_every_kind_of_task_changes_the_caption(place: Storage) -> None:
    cases = list(read_emu(place, 100, 0))
    assert len(cases) == COUNT and {case.labels["kind"] for case in cases} == set(KINDS)
    for case in cases:
        assert case.caption != case.labels["source_caption"] and case.truth is None and case.query.shape == (48, 48, 3)
        assert read_instruction(case.instruction)[0] in KINDS[case.labels["kind"]]


def test_fewer_edits_are_among_more_and_start_from_one_noise(place: Storage) -> None:
    few, more = ({case.case_id for case in read_emu(place, count, 5)} for count in (3, 6))
    assert len(few) == 3 and few < more and {case.seed for case in read_emu(place, 3, 5)} == {5}


def test_a_folder_without_a_test_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Parquet file with `test`"):
        list(read_emu(Storage(str(tmp_path)), 3, 0))

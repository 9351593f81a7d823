from pathlib import Path

import numpy as np
import pytest

from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.case_table import write_cases
from viral.storage import Storage


def _case(name: str, task: str = "depth", side: int = 8, **more) -> Case:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (side, side, 3), np.uint8)
    return Case(name, task, "photo", ((pixels, 255 - pixels),), pixels, 255 - pixels, 7, **more)


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    mask = np.eye(8, dtype=np.uint8) * 255
    other = np.full((4, 6, 3), 9, np.uint8)
    written = _case("one", mask=mask, instruction="Do it.", caption="Done.", labels={"fold": 2, "other truth": other})
    (read,) = write_cases(Storage(str(tmp_path)), [written], 4)
    for name in ("case_id", "task", "source_id", "seed", "instruction", "caption"):
        assert getattr(read, name) == getattr(written, name)
    assert read.truth is not None and read.mask is not None
    pairs = [(read.query, written.query), (read.truth, written.truth), (read.mask, mask)]
    pairs += list(zip(read.examples[0], written.examples[0], strict=True))
    assert all((one == other).all() for one, other in pairs)
    assert read.labels["fold"] == 2 and (read.labels["other truth"] == other).all()


def test_a_case_may_lack_truth_example_and_mask(tmp_path: Path) -> None:
    written = Case("told", "emu", "photo", (), np.zeros((8, 8, 3), np.uint8), None, 0, instruction="Add a hat.")
    (read,) = write_cases(Storage(str(tmp_path)), [written], 4)
    assert read.truth is None and read.mask is None and read.examples == ()


def test_a_shard_has_cases_of_one_task_and_size(tmp_path: Path) -> None:
    kinds = [(task, side) for task in ("depth", "edge") for side in (8, 16)]
    cases = [_case(f"{task}-{side}-{i}", task, side) for i in range(3) for task, side in kinds]
    table = write_cases(Storage(str(tmp_path)), cases, 2)
    for shard in table.manifest.shards:
        read = table.read(shard)
        assert len(read) <= 2 and len({(case.task, case.query.shape) for case in read}) == 1
    assert sorted(case.case_id for case in table) == sorted(case.case_id for case in cases)


def test_two_cases_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two cases are called 'one'"):
        write_cases(Storage(str(tmp_path)), [_case("one"), _case("one")], 4)


def test_no_case_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not one case"):
        write_cases(Storage(str(tmp_path)), [], 4)


def test_cases_of_a_former_run_go(tmp_path: Path) -> None:
    place = Storage(str(tmp_path))
    write_cases(place, [_case(f"{i}") for i in range(4)], 1)
    table = write_cases(place, [_case("9")], 1)
    assert [case.case_id for case in table] == ["9"] and len(place.list()) == 2

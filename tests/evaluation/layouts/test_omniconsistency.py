from pathlib import Path

import pytest

from viral.evaluation.layouts.omniconsistency import DRAWN, read_omniconsistency, write_omniconsistency
from viral.storage import Storage


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    drawn = Storage(str(tmp_path_factory.mktemp("omni")))
    write_omniconsistency(drawn, 20, 48, seed=3)
    return drawn


def test_twenty_styles_are_asked_for_each_by_another_pair_of_it(place: Storage) -> None:
    cases = list(read_omniconsistency(place, 20, 0))
    assert sorted(case.labels["style"] for case in cases) == sorted(DRAWN) and len(DRAWN) == 20
    for case in cases:
        ((before, after),) = case.examples
        assert (before != case.query).any() and (before != after).any() and (case.query != case.truth).any()


def test_fewer_questions_are_among_more(place: Storage) -> None:
    few, more = ([case.case_id for case in read_omniconsistency(place, count, 0)] for count in (7, 40))
    assert more[:7] == few and len(more) == 40


def test_a_folder_without_styles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no STYLE.jsonl"):
        list(read_omniconsistency(Storage(str(tmp_path)), 3, 0))

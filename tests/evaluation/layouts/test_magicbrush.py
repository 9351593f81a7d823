import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viral.evaluation.layouts.magicbrush import read_magicbrush, write_magicbrush
from viral.storage import Storage

SIZE = 48


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    drawn = Storage(str(tmp_path_factory.mktemp("magicbrush")))
    write_magicbrush(drawn, 4, SIZE, seed=3)
    return drawn


def test_a_turn_starts_from_the_result_of_the_one_before(place: Storage) -> None:
    cases = {case.case_id: case for case in read_magicbrush(place, 100, 0)}
    assert len(cases) >= 4 and {case.source_id for case in cases.values()} == {f"magicbrush/{i}" for i in range(4)}
    later = [(name, case) for name, case in cases.items() if not name.endswith("1")]
    assert later
    for name, case in later:
        before = cases[f"{name[:-1]}{int(name[-1]) - 1}"]
        assert (case.query == before.truth).all() and case.labels["source_caption"] == before.caption


def test_the_mask_covers_all_that_the_edit_changes(place: Storage) -> None:
    for case in read_magicbrush(place, 100, 0):
        changed = (case.query != case.truth).any(axis=2)
        assert changed.any() and ((case.mask > 0) == changed).all()
        assert case.instruction.endswith(".") and case.caption and not case.examples


def test_every_turn_is_painted_from_one_noise_and_fewer_are_among_more(place: Storage) -> None:
    few, more = ([case.case_id for case in read_magicbrush(place, count, 7)] for count in (2, 4))
    assert more[:2] == few and {case.seed for case in read_magicbrush(place, 4, 7)} == {7}


def test_files_as_annotators_left_them_are_read(tmp_path: Path) -> None:
    """An output of another size, a mask without transparency, a session without captions."""
    place = Storage(str(tmp_path))
    folder = place.join("images", "12")
    for name, size, mode in (
        ("12-input.png", (40, 30), "RGB"),
        ("12-output1.png", (20, 15), "RGB"),
        ("m.png", (40, 30), "L"),
    ):
        file = io.BytesIO()
        Image.new(mode, size, 90).save(file, "PNG")
        folder.write(name, file.getvalue())
    turn = {"input": "12-input.png", "mask": "m.png", "output": "12-output1.png", "instruction": "Make it dark."}
    place.write("edit_turns.json", json.dumps([turn]).encode())
    place.write("global_descriptions.json", b"{}")
    (case,) = read_magicbrush(place, 5, 0)
    assert case.truth.shape == case.query.shape == (30, 40, 3) and not np.any(case.mask) and case.caption is None

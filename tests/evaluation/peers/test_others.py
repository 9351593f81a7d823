"""All other methods: functions, folders of predictions, and how any of them is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.evaluation.peers.conftest import HEIGHT, WIDTH, differ, loaded, make_case, picture
from viral.config import RunConfig, resolve
from viral.evaluation.peers.analogy import Analogy
from viral.evaluation.peers.registry import build_peer

MINE = """\
import numpy as np

def negative(query):
    return 255 - query[::2, ::2]

def second_guess(case):
    return case.examples[0][1] if case.examples else None

def inpaint(grid, hole):
    filled = np.where(hole[..., None] > 0, np.roll(grid, grid.shape[1] // 2, axis=1), grid)
    return np.kron(filled, np.ones((2, 2, 1), np.uint8))

def wrong(query):
    return query / 255
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with functions, named as one names it beside it."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return "mine.py"


def test_a_function_of_yours_answers_at_the_querys_size(run_config: RunConfig, mine: str) -> None:
    case = make_case(0)
    (answer,) = loaded(run_config, kind="function", function=f"{mine}:negative").answer([case])
    assert answer is not None and answer.shape == (HEIGHT, WIDTH, 3) and differ(answer, 255 - case.query) < 64


def test_a_function_may_take_the_whole_case_and_say_nothing(run_config: RunConfig, mine: str) -> None:
    method = loaded(run_config, kind="function", function=f"{mine}:second_guess", takes="case")
    answer, none = method.answer([make_case(0), make_case(0, examples=0)])
    assert differ(answer, make_case(0).examples[0][1]) == 0 and none is None


def test_a_function_that_inpaints_is_shown_a_grid_of_its_own_size(run_config: RunConfig, mine: str) -> None:
    """This one fills the hole with B and gives the grid back twice as large."""
    case = make_case(0)
    method = loaded(run_config, kind="function", function=f"{mine}:inpaint", takes="grid", size=2 * HEIGHT)
    answer, none = method.answer([case, make_case(0, examples=0)])
    assert answer is not None and np.abs(answer.astype(int) - case.query).mean() < 12 and none is None


def test_what_is_no_picture_is_refused(run_config: RunConfig, mine: str) -> None:
    with pytest.raises(ValueError, match="gave float64 of shape .* expected uint8"):
        loaded(run_config, kind="function", function=f"{mine}:wrong").answer([make_case(0)])
    with pytest.raises(ValueError, match="has no function 'right'"):
        loaded(run_config, kind="function", function=f"{mine}:right")


def test_a_worker_elsewhere_finds_the_function_and_a_changed_one_is_another(
    run_config: RunConfig, mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = build_peer("it", kind="function", function=f"{mine}:negative", licence="mit")
    before = peer.record(run_config)
    monkeypatch.chdir("/")
    assert peer.load("it", run_config, "cpu").answer([make_case(0)])[0] is not None
    (tmp_path / "mine.py").write_text(MINE + "\n# better\n")
    assert peer.record(run_config) != before and peer.licences(run_config)[0].name == "mit"


def test_predictions_are_found_by_the_id_of_their_case(run_config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "negative").mkdir()
    Pillow.fromarray(picture(1, 2 * HEIGHT, 2 * WIDTH)).save(tmp_path / "negative" / "0.png")
    answer, none = loaded(run_config, kind="predictions", folder=str(tmp_path)).answer([make_case(0), make_case(1)])
    assert answer is not None and answer.shape == (HEIGHT, WIDTH, 3) and none is None
    record = build_peer("it", kind="predictions", folder=str(tmp_path)).record(run_config)
    Pillow.fromarray(picture(2)).save(tmp_path / "negative" / "0.png")
    assert build_peer("it", kind="predictions", folder=str(tmp_path)).record(run_config) != record


def test_a_folder_without_pictures_or_with_two_for_a_case_is_refused(run_config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no picture; put CASE_ID.png there"):
        loaded(run_config, kind="predictions", folder=str(tmp_path))
    for suffix in ("png", "jpg"):
        Pillow.fromarray(picture(1)).save(tmp_path / f"0.{suffix}")
    with pytest.raises(ValueError, match="two pictures for one case"):
        loaded(run_config, kind="predictions", folder=str(tmp_path))


def test_a_command_line_names_a_peer() -> None:
    words = ("adapter=plain", "kind=analogy", "steps=4", "filter.judge=cycle")
    config = resolve(None, [f"protocol.methods.theirs.{word}" for word in words])
    peer = build_peer("theirs", **config.protocol.methods["theirs"])
    assert isinstance(peer, Analogy) and peer.adapter == "plain" and peer.steps == 4
    assert peer.filter is not None and (peer.filter.judge, peer.filter.candidates) == ("cycle", 8)


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"kind": "segpt"}, "does not match any of the expected tags"),
        ({"kind": "seggpt", "modle": "x"}, r"protocol.methods.SegGPT.*modle"),
        ({"kind": "free", "answer": "guess"}, "copy_query"),
    ],
)
def test_a_wrong_description_names_key_and_value(described: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build_peer("SegGPT", **described)


def test_folders_are_named_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    peers = [build_peer("it", kind="seggpt", model=model) for model in ("weights", "a/b")]
    assert [vars(peer)["model"] for peer in peers] == [str(tmp_path / "weights"), "a/b"]

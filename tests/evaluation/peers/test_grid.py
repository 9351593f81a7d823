"""Inpainters as analogists: each from a small folder of its own classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.peers.conftest import HEIGHT, WIDTH, differ, loaded, make_case
from tests.evaluation.peers.folders import save_stable_diffusion
from viral.config import RunConfig
from viral.evaluation.peers.canvas import GREY, grid_of
from viral.evaluation.peers.registry import build_peer
from viral.pretrain.fill_folder import save_fill


def save_small_fill(folder: Path) -> None:
    save_fill(folder, ["invert the colours", "tint it red"] * 20, length=512)


@pytest.mark.parametrize("pairs", [1, 2])
def test_the_last_cell_is_a_hole_beside_the_query(pairs: int) -> None:
    case = make_case(0, examples=pairs, query=np.full((64, 32, 3), 200, np.uint8))
    width, height = cell = (32, 64)
    picture, hole = grid_of(case, cell)
    assert picture.size == hole.size == (2 * width, (pairs + 1) * height)
    pixels, mask = np.asarray(picture), np.asarray(hole)
    assert (pixels[-height:, :width] == 200).all() and (pixels[-height:, width:] == GREY).all()
    assert (mask[-height:, width:] == 255).all() and mask.sum() == 255 * width * height
    a, a2 = pixels[:height, :width].astype(int), pixels[:height, width:].astype(int)
    assert np.abs(a + a2 - 255).max() <= 1  # A' is the negative of A


@pytest.mark.parametrize("save", [save_small_fill, save_stable_diffusion])
def test_an_inpainter_fills_the_hole_from_the_cases_seed(
    run_config: RunConfig, tmp_path: Path, save: Callable[[Path], None]
) -> None:
    save(tmp_path)
    method = loaded(run_config, kind="grid", model=str(tmp_path), size=64)
    once, again, other, none = method.answer(
        [make_case(0), make_case(0), make_case(0, seed=99), make_case(0, examples=0)]
    )
    assert once is not None and once.shape == (HEIGHT, WIDTH, 3) and none is None
    assert differ(once, again) == 0 and differ(once, other) > 0


def test_it_is_told_the_task_unless_it_does_not_read(run_config: RunConfig, tmp_path: Path) -> None:
    save_small_fill(tmp_path)
    answers = [
        loaded(run_config, kind="grid", model=str(tmp_path), size=64, reads=reads).answer([make_case(0)])[0]
        for reads in (True, False)
    ]
    assert differ(*answers) > 0
    assert len(build_peer("it", kind="grid", model=str(tmp_path)).record(run_config)["sha256"]) == 64

"""What is wrong with a pair is named, and what is right is not."""

import numpy as np
import pytest

from tests.tasks.pictures import labelled
from viral.data.doubts import find_doubts
from viral.tasks import TASKS, Rendering

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
FLAT = np.full_like(NOISE, 9)
HALF = np.zeros((32, 32), np.uint8)
HALF[:16] = 255
PAINTED = NOISE.copy()
PAINTED[:16] = 255 - NOISE[:16]


@pytest.mark.parametrize(
    ("rendering", "doubts"),
    [
        (Rendering(NOISE, FLAT), ["target is of one colour"]),
        (Rendering(FLAT, NOISE), ["source is of one colour"]),
        (Rendering(NOISE, NOISE), ["source and target hardly differ"]),
        (Rendering(NOISE, PAINTED, HALF), []),
        (Rendering(NOISE, PAINTED, HALF * 0), ["mask is empty"]),
        (Rendering(NOISE, PAINTED, HALF[::-1].copy()), ["changes outside its mask"]),
    ],
)
def test_a_fault_is_named(rendering: Rendering, doubts: list[str]) -> None:
    assert find_doubts(rendering) == doubts


@pytest.mark.parametrize("task", ["depth", "edge", "entity", "interactive", "pose", "watermark", "deraining"])
def test_pairs_as_tasks_render_them_raise_no_doubt(task: str) -> None:
    assert find_doubts(TASKS[task].pair(labelled(), np.random.default_rng(0))) == []

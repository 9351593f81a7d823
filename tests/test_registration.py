"""Which scores make a champion."""

import numpy as np
import pyarrow as pa
import pytest

from viral.evaluation.summary import METHODS, EvaluationSummary, summarise
from viral.registration import judge
from viral.schema import SCORES


def scores(gains: dict[str, float]) -> EvaluationSummary:
    """The summary of an evaluation in which training moved each task's PSNR by so many dB."""
    noise = np.random.default_rng(0).normal(0, 0.1, 40)
    rows = [
        {"pair_id": f"{i}", "source_id": f"photo {i % 3}", "task": task, "metric": "psnr", "method": method,
         "value": 20 + noise[i] + (gain if method == "adapter" else 0)}
        for task, gain in gains.items() for i in range(40) for method in METHODS
    ]  # fmt: skip
    tasks = summarise(pa.Table.from_pylist(rows, schema=SCORES), samples=500, seed=0)
    return EvaluationSummary(tasks=tuple(tasks), fingerprint="0", steps=1)


@pytest.mark.parametrize(
    ("gains", "champion"),
    [({"edge": 3, "negative": 3, "rain": -3}, True), ({"edge": 3, "rain": -3}, False), ({"edge": 0}, False)],
)
def test_more_tasks_made_better_than_worse_make_a_champion(gains: dict[str, float], champion: bool) -> None:
    assert judge(scores(gains))[0] is champion


def test_the_reason_names_the_tasks_made_better_and_worse() -> None:
    assert (
        judge(scores({"edge": 3, "negative": 3, "rain": -3}))[1] == "training made edge, negative better and rain worse"
    )


def test_without_scores_there_is_no_champion() -> None:
    assert "not been evaluated" in judge(None)[1]

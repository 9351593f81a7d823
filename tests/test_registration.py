"""Which scores make a champion."""

import numpy as np
import pyarrow as pa
import pytest

from viral.config import RunConfig, TrackingConfig
from viral.evaluation.scorer import parquet
from viral.evaluation.summary import METHODS, EvaluationSummary, summarise
from viral.registration import challenge, judge
from viral.schema import SCORES


def table(gains: dict[str, float], rows: int = 40, metric: str = "psnr") -> pa.Table:
    """An evaluation in which training moved each task's score by so much."""
    noise = np.random.default_rng(0).normal(0, 0.1, rows)
    found = [
        {"pair_id": f"{i}", "source_id": f"photo {i % 3}", "task": task, "metric": metric, "method": method,
         "value": 20 + noise[i] + (gain if method == "adapter" else 0)}
        for task, gain in gains.items() for i in range(rows) for method in METHODS
    ]  # fmt: skip
    return pa.Table.from_pylist(found, schema=SCORES)


def scores(gains: dict[str, float]) -> EvaluationSummary:
    tasks = summarise(table(gains), samples=500, seed=0)
    return EvaluationSummary(tasks=tuple(tasks), fingerprint="0", steps=1)


def against(new: dict[str, float], old: dict[str, float], score: str = "all", **how: object) -> tuple[bool, str]:
    """The verdict on a new adapter beside a champion."""
    config = RunConfig(tracking=TrackingConfig(score=score))
    return challenge(config, parquet(table(new, **how)), parquet(table(old, **how)), "version 3")


@pytest.mark.parametrize(
    ("gains", "champion"),
    [({"edge": 3, "negative": 3, "rain": -3}, True), ({"edge": 3, "rain": -3}, False), ({"edge": 0}, False)],
)
def test_more_tasks_made_better_than_worse_make_a_first_champion(gains: dict[str, float], champion: bool) -> None:
    assert judge(scores(gains))[0] is champion


def test_the_reason_names_the_tasks_made_better_and_worse() -> None:
    assert (
        judge(scores({"edge": 3, "negative": 3, "rain": -3}))[1] == "training made edge, negative better and rain worse"
    )


def test_without_scores_there_is_no_champion() -> None:
    assert "not been evaluated" in judge(None)[1]
    assert "not been evaluated" in challenge(RunConfig(), None, parquet(table({"edge": 0})), "version 3")[1]
    assert "keeps no scores" in challenge(RunConfig(), parquet(table({"edge": 0})), None, "version 3")[1]


def test_a_champion_is_beaten_only_by_an_interval_above_zero() -> None:
    assert against({"edge": 2.0}, {"edge": 1.0}) == (
        True, "against version 3 by all tasks, in units of their spread: +1 [+1, +1] on 40 rows",
    )  # fmt: skip
    assert not against({"edge": 1.0}, {"edge": 1.0})[0]
    assert not against({"edge": 1.0}, {"edge": 2.0})[0]


def test_a_score_that_is_an_error_has_to_fall() -> None:
    assert against({"edge": -1.0}, {"edge": 0.0}, metric="ab_error")[0]
    assert not against({"edge": 1.0}, {"edge": 0.0}, metric="ab_error")[0]


def test_the_named_score_decides_alone() -> None:
    new, old = {"edge": 2.0, "negative": -9.0}, {"edge": 1.0, "negative": 0.0}
    assert against(new, old, "edge")[0] and not against(new, old, "negative")[0] and not against(new, old)[0]
    with pytest.raises(ValueError, match=r"tracking\.score is 'depth'.*edge, negative"):
        against(new, old, "depth")


def test_scores_on_other_rows_are_not_compared() -> None:
    champion, reason = challenge(
        RunConfig(), parquet(table({"edge": 9.0}, rows=30)), parquet(table({"edge": 0.0})), "version 3"
    )
    assert not champion and "other rows (10 of 40" in reason

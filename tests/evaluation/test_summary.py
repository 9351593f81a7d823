import io

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from viral.evaluation.summary import METHODS, TaskSummary, score_table, summarise
from viral.schema import SCORES


def _summary(metric: str, values: dict[str, float], crops: int = 40) -> TaskSummary:
    noise = np.random.default_rng(0).normal(0, 0.1, crops)
    rows = [
        {"pair_id": f"{i}", "source_id": f"photo {i % 3}", "task": "task", "metric": metric, "method": method,
         "value": values.get(method, 5.0) + noise[i]}
        for i in range(crops) for method in METHODS
    ]  # fmt: skip
    (summary,) = summarise(pa.Table.from_pylist(rows, schema=SCORES), samples=500, seed=0)
    return summary


@pytest.mark.parametrize(("metric", "better", "worse"), [("psnr", 9.0, 1.0), ("ab_error", 1.0, 9.0)])
def test_a_positive_difference_means_better_whichever_way_the_metric_points(
    metric: str, better: float, worse: float
) -> None:
    ahead, behind = _summary(metric, {"adapter": better}), _summary(metric, {"adapter": worse})
    assert ahead.improved and ahead.beats_free and ahead.against("before").difference == pytest.approx(4)
    assert not behind.improved and not behind.beats_free and behind.against("before").difference == pytest.approx(-4)


def test_losing_to_one_free_answer_is_not_beating_them() -> None:
    summary = _summary("psnr", {"adapter": 9.0, "mean_vae": 9.5})
    assert summary.against("copy_query_vae").better and not summary.beats_free
    assert summary.best_free == "mean_vae"


def test_the_best_free_answer_of_an_error_is_the_lowest() -> None:
    assert _summary("ab_error", {"copy_query_vae": 2.0}).best_free == "copy_query_vae"


def test_photographs_on_which_the_adapter_is_ahead_are_counted() -> None:
    assert _summary("psnr", {"adapter": 9.0}).against("before").sources_better == 3
    assert _summary("psnr", {"adapter": 1.0}).against("before").sources_better == 0


def test_forty_crops_are_enough_and_fewer_are_not() -> None:
    assert _summary("psnr", {}).enough and not _summary("psnr", {}, crops=39).enough


def test_the_printed_table_marks_what_is_certain_and_what_is_few() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(score_table([_summary("psnr", {"adapter": 9.0}, crops=12)]))
    text = console.export_text()
    assert "12 (few)" in text and "]*" in text

import numpy as np
import pytest
from scipy.linalg import sqrtm

from viral.evaluation.protocols.cells import Bootstrap, cells, scores
from viral.evaluation.protocols.protocol import Column

HOW = Bootstrap(400, 0)
PSNR, FID = Column("depth", "psnr"), Column("depth", "fid")


def _measured(values: list[float | None], column: Column = PSNR, per_source: int = 1, draws: int = 1) -> list[dict]:
    return [
        {
            "case_id": str(i),
            "source_id": str(i // per_source),
            "column": column.key,
            "draw": str(i % draws),
            "values": None if value is None else [value],
            "absent": None,
        }
        for i, value in enumerate(values)
    ]


def test_a_cell_is_the_mean_of_the_answered_cases() -> None:
    cell = cells([PSNR], _measured([1.0, 2.0, None, 6.0]), None, HOW)["depth/psnr"]
    assert cell.value == pytest.approx(3.0) and (cell.cases, cell.asked) == (3, 4)
    assert cell.low is not None and cell.high is not None and cell.low <= 3 <= cell.high


def test_a_method_that_had_nothing_to_say_has_an_empty_cell() -> None:
    cell = cells([PSNR], _measured([None, None]), None, HOW)["depth/psnr"]
    assert cell.value is None and (cell.cases, cell.asked) == (0, 2)


def test_cases_of_one_image_make_the_interval_no_narrower() -> None:
    values = list(np.repeat(np.random.default_rng(0).normal(size=12), 8))
    width = []
    for per_source in (1, 8):
        cell = cells([PSNR], _measured(values, per_source=per_source), None, HOW)["depth/psnr"]
        assert cell.low is not None and cell.high is not None
        width.append(cell.high - cell.low)
    assert width[1] > 2 * width[0]


def test_ours_is_compared_case_by_case_and_better_is_positive() -> None:
    theirs, ours = _measured([1.0, 5.0, 9.0]), _measured([2.0, 6.0, 10.0])
    behind = cells([PSNR], theirs, ours, HOW)["depth/psnr"].behind
    assert behind is not None and (behind.mean, behind.low, behind.high) == pytest.approx((1, 1, 1))
    error = Column("depth", "rmse")
    turned = [[{**row, "column": error.key} for row in rows] for rows in (theirs, ours)]
    behind = cells([error], turned[0], turned[1], HOW)["depth/rmse"].behind
    assert behind is not None and behind.mean == pytest.approx(-1)


def test_spread_is_the_deviation_of_the_means_of_the_draws() -> None:
    values = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]
    cell = cells([PSNR], _measured(list(values), draws=3), None, HOW)["depth/psnr"]
    assert cell.deviation == pytest.approx(np.std([3.0, 4.0, 5.0], ddof=1))


def test_a_distance_between_sets_is_frechets_and_has_no_figure_of_one_case() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(40, 3)), rng.normal(0.5, 2, size=(40, 3))], axis=1)
    measured = [
        {**row, "values": vector.tolist()} for row, vector in zip(_measured([0.0] * 40, FID), vectors, strict=True)
    ]
    one, other = np.split(vectors, 2, axis=1)
    apart, covariances = one.mean(0) - other.mean(0), [np.cov(side.T) for side in (one, other)]
    expected = apart @ apart + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    cell = cells([FID], measured, measured, HOW)["depth/fid"]
    assert cell.value == pytest.approx(expected) and cell.behind is None
    assert all(score.value is None for score in scores("ours", measured))

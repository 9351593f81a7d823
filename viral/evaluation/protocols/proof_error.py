"""The relative error: 0 is what the VAE itself loses, 1 what the best answer that costs nothing gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from viral.evaluation.intervals import CONFIDENCE, Interval
from viral.evaluation.metrics import HIGHER_IS_BETTER
from viral.evaluation.protocols.protocol import Score

OURS, CEILING = "ours", "vae"
FREE = ("copy_query", "copy_example", "mean", "base")
"""The query, the example's target, the task's mean target, and the frozen base that is shown the query alone."""
SAMPLES = 2000
"""Bootstrap resamples."""


@dataclass(frozen=True)
class RelativeError:
    """How much of the way from the best free answer to the VAE's own loss a method leaves, on one column."""

    column: str
    free: str
    """The best free answer."""
    error: Interval
    """(method - VAE) / (best free answer - VAE), of the means of the column's metric."""
    cases: int

    @property
    def sentence(self) -> str:
        """The figure as it is told."""
        low, high = (f"{end:.2f}" if np.isfinite(end) else "∞" for end in (self.error.low, self.error.high))
        return f"{self.column}: error {self.error.mean:.2f} [{low}, {high}] of {self.free}'s, {self.cases} cases"


@dataclass(frozen=True)
class CaseError:
    """The relative error of one case."""

    source_id: str
    column: str
    error: float


def relative_errors(scores: Sequence[Score], method: str = OURS, samples: int = SAMPLES) -> list[RelativeError]:
    """The relative error of a method on every column that it, the VAE and a free answer were scored on.

    Intervals resample sources whole. A column whose best free answer is no worse than the VAE's loss is left out:
    nothing can be told apart there.
    """
    columns = dict.fromkeys(score.column for score in scores)
    found = (_relative_error(column, _table(scores, column), method, samples) for column in columns)
    return [error for error in found if error is not None]


def told_errors(scores: Sequence[Score], limit: float, wanted: str) -> list[str]:
    """One sentence on how many tasks are within the limit, then one for each; nothing where ours was not run."""
    errors = sorted(relative_errors(scores), key=lambda error: error.error.mean)
    within = [error for error in errors if error.error.mean <= limit]
    certain = [error for error in errors if error.error.high <= limit]
    first = (
        f"At most {limit:g} of the best free answer's error on {len(within)} of {len(errors)} tasks, on {len(certain)} "
        f"with the whole interval; asked for: {wanted}."
    )
    return [first, *(f"{error.sentence}." for error in errors)] if errors else []


def case_errors(scores: Sequence[Score], method: str = OURS) -> dict[str, CaseError]:
    """The relative error of every case by its id, on all columns: the case's distance from the VAE's value over the
    mean distance of the column's best free answer, so that their mean over a column is its relative error."""
    found = {}
    for column in dict.fromkeys(score.column for score in scores):
        table = _table(scores, column)
        parts = _parts(column, table, method)
        if parts is not None:
            errors = parts.above / parts.below.mean()
            rows = zip(table.cases, table.sources, errors, strict=True)
            found |= {case: CaseError(source, column, float(error)) for case, source, error in rows}
    return found


@dataclass(frozen=True)
class _Parts:
    """How far a method and the best free answer are from the VAE's own values, larger is worse."""

    free: str
    above: Float[np.ndarray, " n"]
    below: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class _Table:
    """Values of one column on the cases that every method answered."""

    values: dict[str, Float[np.ndarray, " n"]]
    cases: tuple[str, ...]
    sources: tuple[str, ...]


def _table(scores: Iterable[Score], column: str) -> _Table:
    by_method: dict[str, dict[str, float]] = {}
    sources: dict[str, str] = {}
    for score in scores:
        if score.column == column and score.value is not None:
            by_method.setdefault(score.method, {})[score.case_id] = score.value
            sources[score.case_id] = score.source_id
    shared = sorted(set.intersection(*map(set, by_method.values()))) if by_method else []
    values = {method: np.array([own[case] for case in shared]) for method, own in by_method.items()}
    return _Table(values, tuple(shared), tuple(sources[case] for case in shared))


def _parts(column: str, table: _Table, method: str) -> _Parts | None:
    """None where something is missing, or where the best free answer loses no more than the VAE."""
    sign = -1 if column.rpartition("/")[2] in HIGHER_IS_BETTER else 1
    free = [name for name in FREE if name in table.values]
    if not free or not {method, CEILING} <= table.values.keys() or not table.cases:
        return None
    best = min(free, key=lambda name: sign * table.values[name].mean())
    ceiling = sign * table.values[CEILING]
    parts = _Parts(best, sign * table.values[method] - ceiling, sign * table.values[best] - ceiling)
    return parts if parts.below.mean() > 0 else None


def _relative_error(column: str, table: _Table, method: str, samples: int) -> RelativeError | None:
    parts = _parts(column, table, method)
    if parts is None:
        return None
    error = ratio_interval(parts.above, parts.below, table.sources, samples)
    return RelativeError(column, parts.free, error, len(table.cases))


def ratio_interval(
    above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"], groups: Sequence[str], samples: int, seed: int = 0
) -> Interval:
    """Percentile bootstrap of mean(above) / mean(below) over groups that are resampled whole.

    Infinite where so many resamples have nothing below that the ratio has no such percentile.
    """
    names, which = np.unique(np.array(groups), return_inverse=True)
    tops, bottoms = np.bincount(which, above), np.bincount(which, below)
    drawn = np.random.default_rng(seed).integers(len(names), size=(samples, len(names)))
    top, bottom = tops[drawn].sum(axis=1), bottoms[drawn].sum(axis=1)
    ratios = np.divide(top, bottom, out=np.full(samples, np.inf), where=bottom > 0)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="inverted_cdf")
    return Interval(float(above.mean() / below.mean()), float(low), float(high))

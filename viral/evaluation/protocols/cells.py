"""From what was measured of every case to the cells of a table, with intervals over images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from viral.evaluation.intervals import CONFIDENCE, Interval, grouped_interval
from viral.evaluation.perceptual import PERCEPTUAL
from viral.evaluation.perceptual.frechet import frechet_distance
from viral.evaluation.protocols.protocol import Column, Score
from viral.evaluation.protocols.scorer import Measured, higher_is_better, is_perceptual
from viral.evaluation.protocols.table import Cell, Difference

SET_SAMPLES = 200
"""Bootstrap samples of a distance between sets, each of which takes a decomposition."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    samples: int
    seed: int


def cells(columns: Sequence[Column], measured: Measured, ours: Measured | None, how: Bootstrap) -> dict[str, Cell]:
    """The cells of one method; `ours` is what it is compared with, none for ours itself."""
    theirs, own = _by_column(measured), _by_column(ours or [])
    return {
        column.key: _cell(column, theirs[column.key], own.get(column.key, []), how)
        for column in columns
        if column.key in theirs
    }


def scores(method: str, measured: Measured) -> list[Score]:
    """The figure of every case, as `Protocol.conclude` takes them; none where there is none of a single case."""
    return [Score(method, row["case_id"], row["source_id"], row["column"], _single(row)) for row in measured]


def _cell(column: Column, rows: Measured, ours: Measured, how: Bootstrap) -> Cell:
    known = [row for row in rows if row["values"] is not None and not np.isnan(row["values"]).any()]
    about = {"cases": len(known), "asked": len(rows), "absent": rows[0]["absent"]}
    if not known:
        return Cell(**about)
    if _is_of_sets(column):
        interval = _set_interval(known, how)
        return Cell(value=interval.mean, low=interval.low, high=interval.high, **about)
    interval = grouped_interval(_values(known), _sources(known), how.samples, how.seed)
    return Cell(
        value=interval.mean, low=interval.low, high=interval.high, deviation=_deviation(known),
        behind=_behind(column, known, ours, how), **about,
    )  # fmt: skip


def _behind(column: Column, known: Measured, ours: Measured, how: Bootstrap) -> Difference | None:
    """The paired comparison with ours on the cases that both answered."""
    own = {row["case_id"]: row for row in ours if _single(row) is not None}
    pairs = [(own[row["case_id"]], row) for row in known if row["case_id"] in own]
    if not pairs:
        return None
    first, second = (_values(list(side)) for side in zip(*pairs, strict=True))
    better = (first - second) if higher_is_better(column) else (second - first)
    interval = grouped_interval(better, _sources([row for row, _ in pairs]), how.samples, how.seed)
    return Difference(mean=interval.mean, low=interval.low, high=interval.high)


def _deviation(known: Measured) -> float | None:
    """Of the means of single draws, over n - 1; none where there is one draw or none."""
    draws = {row["draw"] for row in known}
    means = [_values([row for row in known if row["draw"] == draw]).mean() for draw in draws]
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def _set_interval(known: Measured, how: Bootstrap) -> Interval:
    """The Fréchet distance of the vectors of outputs and truths, images resampled; NaN below two cases."""
    vectors = np.array([row["values"] for row in known])
    names, which = np.unique(_sources(known), return_inverse=True)
    members = [np.flatnonzero(which == i) for i in range(len(names))]
    rng, drawn = np.random.default_rng(how.seed), []
    for _ in range(min(how.samples, SET_SAMPLES)):
        chosen = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        drawn.append(_distance(vectors[chosen]))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(_distance(vectors), float(low), float(high))


def _distance(vectors: Float[np.ndarray, "n k"]) -> float:
    outputs, truths = np.split(vectors, 2, axis=1)
    return frechet_distance(outputs, truths) if len(vectors) > 1 else float("nan")


def _is_of_sets(column: Column) -> bool:
    return is_perceptual(column) and PERCEPTUAL[column.metric].of_sets


def _by_column(measured: Measured) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    for row in measured:
        found.setdefault(row["column"], []).append(row)
    return found


def _single(row: dict[str, Any]) -> float | None:
    values = row["values"]
    return None if values is None or len(values) != 1 or np.isnan(values[0]) else values[0]


def _values(rows: Measured) -> Float[np.ndarray, " n"]:
    return np.array([row["values"][0] for row in rows])


def _sources(rows: Measured) -> list[str]:
    return [row["source_id"] for row in rows]

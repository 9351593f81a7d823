"""What the evaluation found: means, paired comparisons and their table."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from viral.evaluation.gallery import PANELS
from viral.evaluation.intervals import paired_interval
from viral.evaluation.metrics import HIGHER_IS_BETTER
from viral.tasks import describe_task

ENOUGH_CROPS = 40
ADAPTER, BEFORE, CEILING = "adapter", "before", "vae"
FREE = ("copy_query", "copy_example", "mean")
THROUGH_VAE = tuple(f"{name}_vae" for name in FREE)
METHODS = (ADAPTER, BEFORE, *THROUGH_VAE, *FREE, CEILING)
LABELS = {
    ADAPTER: "after training",
    BEFORE: "before training",
    "copy_query": "copy the query",
    "copy_example": "copy the example's target",
    "mean": "mean target",
    "copy_query_vae": "copy the query",
    "copy_example_vae": "copy the example's target",
    "mean_vae": "mean target",
    CEILING: "the truth itself",
}


class Comparison(BaseModel):
    """The adapter against another answer on the same crops; a positive difference means the adapter is better."""

    model_config = ConfigDict(frozen=True)
    against: str
    difference: float
    low: float
    high: float
    sources_better: int
    """Photographs on whose crops the adapter is better on average."""

    @property
    def better(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0


class Picture(BaseModel):
    """One strip of the gallery: the crop whose score has this rank."""

    model_config = ConfigDict(frozen=True)
    rank: str
    pair_id: str
    source_id: str
    score: float
    file: str
    panels: tuple[str, ...] = PANELS
    """What the strip shows, from left to right."""
    instruction: str | None = None
    """What was asked for in words."""


class TaskSummary(BaseModel):
    """All figures of one task. `scores` maps a method to its mean over the crops."""

    model_config = ConfigDict(frozen=True)
    task: str
    title: str
    metric: str
    higher_is_better: bool
    crops: int
    sources: int
    scores: dict[str, float]
    comparisons: tuple[Comparison, ...]
    pictures: tuple[Picture, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether at least 40 crops were scored; with fewer the figures are shown but say little."""
        return self.crops >= ENOUGH_CROPS

    def against(self, method: str) -> Comparison:
        """The comparison of the adapter with `method`."""
        return next(item for item in self.comparisons if item.against == method)

    @property
    def best_free(self) -> str:
        """The free answer through the VAE with the best mean."""
        sign = -1 if self.higher_is_better else 1
        return min((name for name in THROUGH_VAE if name in self.scores), key=lambda name: sign * self.scores[name])

    @property
    def beats_free(self) -> bool:
        """Whether the adapter beats every free answer through the VAE, intervals above zero."""
        return all(item.better for item in self.comparisons if item.against in THROUGH_VAE)

    @property
    def improved(self) -> bool:
        """Whether training made the score better, interval above zero."""
        return self.against(BEFORE).better


class EvaluationSummary(BaseModel):
    """The result of one evaluation; `skipped` when an earlier one of the same inputs was found."""

    model_config = ConfigDict(frozen=True)
    fingerprint: str
    steps: int
    tasks: tuple[TaskSummary, ...]
    skipped: bool = Field(False, exclude=True)

    @property
    def beaten(self) -> tuple[str, ...]:
        """Tasks on which every free answer is beaten."""
        return tuple(task.task for task in self.tasks if task.beats_free)

    def headline(self) -> dict[str, float]:
        """The adapter's own score by `score/task`, for the page of the run that trained it."""
        return {f"score/{task.task}": task.scores[ADAPTER] for task in self.tasks}

    def figures(self) -> dict[str, float]:
        """Flat scores by `evaluation/task/method`, as a tracker logs them."""
        return {
            f"evaluation/{task.task}/{method}": value for task in self.tasks for method, value in task.scores.items()
        }


def summarise(scores: pa.Table, samples: int, seed: int) -> list[TaskSummary]:
    """One summary per task of `scores` (schema.SCORES), in its order.

    Every method that scored one crop of a task must have scored all of them.
    """
    rows = scores.to_pylist()
    tasks = dict.fromkeys(row["task"] for row in rows)
    return [_summarise([row for row in rows if row["task"] == task], samples, seed) for task in tasks]


def _summarise(rows: list[dict], samples: int, seed: int) -> TaskSummary:
    task, metric = rows[0]["task"], rows[0]["metric"]
    higher = metric in HIGHER_IS_BETTER
    sources = {row["pair_id"]: row["source_id"] for row in rows}
    used = {row["method"] for row in rows}
    values = {m: {r["pair_id"]: r["value"] for r in rows if r["method"] == m} for m in METHODS if m in used}
    table = {method: np.array([found[pair] for pair in sources]) for method, found in values.items()}
    groups = np.array(list(sources.values()))
    sign = 1 if higher else -1
    return TaskSummary(
        task=task,
        title=describe_task(task).title,
        metric=metric,
        higher_is_better=higher,
        crops=len(sources),
        sources=len(set(groups)),
        scores={method: float(found.mean()) for method, found in table.items()},
        comparisons=tuple(
            _compare(against, sign * (table[ADAPTER] - table[against]), groups, samples, seed)
            for against in (BEFORE, *THROUGH_VAE, *FREE)
            if against in table
        ),
    )


def _compare(against: str, differences: np.ndarray, groups: np.ndarray, samples: int, seed: int) -> Comparison:
    interval = paired_interval(differences, samples, seed)
    better = sum(differences[groups == source].mean() > 0 for source in np.unique(groups))
    return Comparison(
        against=against, difference=interval.mean, low=interval.low, high=interval.high, sources_better=int(better)
    )


def score_table(tasks: Iterable[TaskSummary]) -> Table:
    """A table for the terminal: the adapter, what it is compared with, and the paired differences."""
    table = Table(
        title="Scores on photographs kept apart",
        caption="better by: paired difference with its 95 % interval; * where all of it is above zero. "
        "Free answers and the VAE's own error are seen through the VAE.",
    )
    for name in ("task", "metric", "crops", "after", "before", "better by", "best free answer", "better by", "VAE"):
        table.add_column(name, no_wrap=True)
    for task in tasks:
        best = task.best_free
        table.add_row(
            task.task,
            f"{task.metric} {'↑' if task.higher_is_better else '↓'}",
            f"{task.crops}" if task.enough else f"{task.crops} (few)",
            _figure(task.scores[ADAPTER]),
            _figure(task.scores[BEFORE]),
            _difference(task.against(BEFORE)),
            f"{_figure(task.scores[best])} {LABELS[best].removeprefix('copy the ')}",
            _difference(task.against(best)),
            _figure(task.scores[CEILING]),
        )
    return table


def _difference(item: Comparison) -> str:
    interval = f"[{_figure(item.low)}, {_figure(item.high)}]"
    return f"{'+' if item.difference > 0 else ''}{_figure(item.difference)} {interval}{'*' if item.better else ''}"


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}"

"""Scoring answers by every column that asks about their cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from viral.config import PerceptualConfig, RunConfig, fingerprint
from viral.data.shards import MadeShard, Pool, ShardWork, make_shards
from viral.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from viral.evaluation.perceptual import PERCEPTUAL, Loaded, load_measures
from viral.evaluation.protocols.answer_table import AnswerTable, read_answers
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.case_table import CaseTable, parquet
from viral.evaluation.protocols.protocol import Column
from viral.schema import MEASURES
from viral.storage import Manifest, Shard, Storage

RECIPE = 1
"""Raised when the same answers shall give other figures."""

Measured = list[dict[str, Any]]
"""Rows of `schema.MEASURES`."""


def score_answers(
    config: RunConfig, columns: Sequence[Column], cases: CaseTable, answers: AnswerTable, storage: Storage, pool: Pool
) -> dict[str, Measured]:
    """What every column measured of every answer, by method; what is there already stays. Needs Ray."""
    key = fingerprint("scores", RECIPE, [(column.key, column.spread) for column in columns], config.perceptual)
    shards, plan = {shard.name: shard for shard in cases.manifest.shards}, {}
    for (method, name), answered in answers.shards.items():
        made = fingerprint(shards[name].sha256, answered.sha256)
        plan[method, name] = ShardWork(
            f"shard-{method}-{made}.parquet", answered.rows, Answered(shards[name], answered)
        )
    device = "cuda" if config.train.gpus else "cpu"
    maker = partial(Scorer, cases, answers.storage, columns, config.perceptual, device)
    manifest = make_shards("scoring", storage, Manifest(fingerprint=key), list(plan.values()), maker, pool)
    found = {shard.name: shard for shard in manifest.shards}
    measured: dict[str, Measured] = {}
    for (method, _), work in plan.items():
        shard = found[work.name]
        rows = pq.read_table(storage.local(shard.name, shard.sha256), schema=MEASURES).to_pylist()
        measured.setdefault(method, []).extend(rows)
    return measured


@dataclass(frozen=True)
class Answered:
    """A shard of cases and the shard of answers to it."""

    cases: Shard
    answers: Shard


class Scorer:
    """Makes the shard of measures of an `Answered`; networks of perceptual metrics are loaded when first needed."""

    def __init__(
        self, cases: CaseTable, answers: Storage, columns: Sequence[Column], perceptual: PerceptualConfig, device: str
    ) -> None:
        self._cases, self._answers, self._columns = cases, answers, columns
        self._perceptual, self._device = perceptual, device

    def __call__(self, work: Answered) -> MadeShard:
        answers = read_answers(self._answers, work.answers)
        cases = self._cases.read(work.cases)
        outputs = [answers[case.case_id] for case in cases]
        asked = [column for column in self._columns if column.task == cases[0].task]
        rows = [row for column in asked for row in self._rows(column, cases, outputs)]
        return MadeShard(parquet(rows, MEASURES), len(cases), {})

    def _rows(self, column: Column, cases: list[Case], outputs: list[Image | None]) -> list[dict[str, Any]]:
        there = [(case, output) for case, output in zip(cases, outputs, strict=True) if output is not None]
        found = dict(zip([case.case_id for case, _ in there], self._measured(column, there), strict=True))
        loaded = self._measures.get(column.metric)
        return [
            {
                "case_id": case.case_id,
                "source_id": case.source_id,
                "column": column.key,
                "draw": None if column.spread is None else str(case.labels[column.spread]),
                "values": None if case.case_id not in found else list(map(float, found[case.case_id])),
                "absent": None if loaded is None else loaded.absent,
            }
            for case in cases
        ]

    def _measured(self, column: Column, there: list[tuple[Case, Image]]) -> Float[np.ndarray, "n k"]:
        """What is kept of each answer."""
        if not there:
            return np.empty((0, 1))
        if column.score is not None:
            return np.array([[column.score(output, case)] for case, output in there], float)
        if column.metric in METRICS:
            metric = METRICS[column.metric]
            return np.array([[metric(output, _truth(case), case.mask)] for case, output in there], float)
        cases, outputs = zip(*there, strict=True)
        return self._measures[column.metric].measure(cases, outputs)

    @cached_property
    def _measures(self) -> dict[str, Loaded]:
        names = {column.metric for column in self._columns if is_perceptual(column)}
        return load_measures(names, self._perceptual, self._device)


def is_perceptual(column: Column) -> bool:
    """Whether a network measures it."""
    return column.score is None and column.metric not in METRICS


def higher_is_better(column: Column) -> bool:
    """Which way its figures are better; `ValueError` for a metric that nobody knows."""
    if column.higher_is_better is not None:
        return column.higher_is_better
    if column.metric in METRICS:
        return column.metric in HIGHER_IS_BETTER
    if column.metric not in PERCEPTUAL:
        raise ValueError(f"there is no metric {column.metric!r}; choose from {', '.join((*METRICS, *PERCEPTUAL))}")
    return PERCEPTUAL[column.metric].higher_is_better


def _truth(case: Case) -> Image:
    if case.truth is None:
        raise ValueError(f"case {case.case_id} has no truth, which its columns compare with")
    if case.truth.shape != case.query.shape:
        raise ValueError(f"case {case.case_id}: its truth is {case.truth.shape}, its query {case.query.shape}")
    return case.truth

"""Each task's best, median and worst case, to be looked at: what was shown, what was painted, the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from viral.data.images import encode_png
from viral.evaluation.gallery import pick
from viral.evaluation.protocols.answer_table import AnswerTable
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.case_table import CaseTable
from viral.evaluation.protocols.protocol import Score
from viral.evaluation.protocols.table import Heading, ProtocolTable, TableRow

MOST_SIDE = 256
"""Pixels of a panel's longer side."""
GAP = 4


@dataclass(frozen=True)
class Panel:
    """One picture of a strip."""

    caption: str
    picture: Image


@dataclass(frozen=True)
class Strip:
    """One case as a row of pictures."""

    title: str
    """Of its task."""
    rank: str
    case: Case
    panels: tuple[Panel, ...]
    told: str
    """The figure by which it has its rank."""

    @property
    def file(self) -> str:
        """Its name in the gallery."""
        return f"{self.case.task}-{self.rank}.png".replace(" ", "-")

    def png(self) -> bytes:
        """The pictures from left to right, as high as the highest, white between and below them."""
        high = max(len(panel.picture) for panel in self.panels)
        return encode_png(np.concatenate([_framed(panel.picture, high) for panel in self.panels], axis=1))


@dataclass(frozen=True)
class _Ranked:
    """Which case of a task has which rank, by one column of one method."""

    heading: Heading
    method: str
    cases: dict[str, tuple[str, float]]
    """Case and figure by rank."""


def strips(table: ProtocolTable, scores: Sequence[Score], cases: CaseTable, answers: AnswerTable) -> list[Strip]:
    """For each task its best, median and worst case by ours; by the first method that paints where ours was not run."""
    tasks = dict.fromkeys(heading.task for heading in table.headings)
    ranked = [found for task in tasks if (found := _ranked(table, task, scores)) is not None]
    painted = [row for row in table.rows if row.paints and row.cells]
    wanted = {case_id for item in ranked for case_id, _ in item.cases.values()}
    shown = dict(_shown(wanted, painted, cases, answers))
    return [
        Strip(item.heading.title, rank, *shown[case_id], f"{item.heading.metric} {value:.3g}")
        for item in ranked
        for rank, (case_id, value) in item.cases.items()
    ]


def _ranked(table: ProtocolTable, task: str, scores: Sequence[Score]) -> _Ranked | None:
    """By the first column of the task that gives single cases a figure."""
    rows = sorted(table.rows, key=lambda row: not row.paints)
    for method in (row.method for row in rows if row.cells):
        for heading in (heading for heading in table.headings if heading.task == task):
            own = [s for s in scores if (s.method, s.column) == (method, heading.key) and s.value is not None]
            if own:
                ranks = pick([s.value for s in own if s.value is not None], heading.higher_is_better)
                return _Ranked(heading, method, {r: (own[i].case_id, own[i].value or 0.0) for r, i in ranks.items()})
    return None


def _shown(
    wanted: set[str], painted: Sequence[TableRow], cases: CaseTable, answers: AnswerTable
) -> Iterator[tuple[str, tuple[Case, tuple[Panel, ...]]]]:
    for shard in cases.manifest.shards:
        if found := [case for case in cases.read(shard) if case.case_id in wanted]:
            said = {row.title: answers.read(row.method, shard) for row in painted}
            for case in found:
                yield case.case_id, (case, _panels(case, {title: own[case.case_id] for title, own in said.items()}))


def _panels(case: Case, painted: dict[str, Image | None]) -> tuple[Panel, ...]:
    """The first example, the query, what was painted, the truth."""
    example = case.examples[0] if case.examples else (None, None)
    named = {"A": example[0], "A\u2032": example[1], "B": case.query, **painted, "truth": case.truth}
    return tuple(Panel(name, _small(picture)) for name, picture in named.items() if picture is not None)


def _small(picture: Image) -> Image:
    image = Pillow.fromarray(picture)
    image.thumbnail((MOST_SIDE, MOST_SIDE))
    return np.asarray(image)


def _framed(picture: Image, high: int) -> Image:
    return np.pad(picture, ((0, high - len(picture)), (0, GAP), (0, 0)), constant_values=255)

"""What a protocol is: cases, the columns that score the answers, and the rows that its paper published."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from viral.config import RunConfig
from viral.evaluation.protocols.case import Case, Image

CaseScore = Callable[[Image, Case], float]
"""Scores one answer of one case; a function of a module, as workers import it."""


@dataclass(frozen=True)
class Column:
    """One figure of a table: the mean of a metric over the cases of a task.

    `metric` names one of `viral.evaluation.metrics.METRICS` or `viral.evaluation.perceptual.PERCEPTUAL`; with `score`
    it is the heading of a figure of the protocol's own, whose direction `higher_is_better` says.
    """

    task: str
    metric: str
    title: str | None = None
    """Heading of the task's group of columns; none is the task's own title."""
    spread: str | None = None
    """A label of the cases by whose values they are drawn anew: the cell is the mean over draws ± their deviation."""
    score: CaseScore | None = None
    higher_is_better: bool | None = None

    @property
    def key(self) -> str:
        """What it is called in tables of scores."""
        return f"{self.task}/{self.metric}"


@dataclass(frozen=True)
class PublishedRow:
    """A row as a paper printed it; `figures` go by `Column.key`, those it left out are missing."""

    method: str
    figures: dict[str, float | str]


@dataclass(frozen=True)
class Score:
    """What one column gave one answer; `value` is none where the method had nothing to say."""

    method: str
    case_id: str
    source_id: str
    column: str
    value: float | None


@dataclass(frozen=True)
class Protocol:
    """A table of a paper as a command: `jobs/evaluate_adapter.py --protocol NAME`."""

    name: str
    title: str
    table: str
    """Of which paper, e.g. `VIRAL, Table 1`."""
    cases: Callable[[RunConfig], Iterable[Case]]
    """The questions; the same configuration gives the same, in the same order."""
    columns: tuple[Column, ...]
    methods: tuple[str, ...]
    """Names of the rows, ours first; those of `protocol.methods` in the configuration follow them."""
    peers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Descriptions of rows, by name, that this protocol alone has, with a `title` of theirs;
    `viral.evaluation.protocols.rows` knows the rest."""
    published: tuple[PublishedRow, ...] = ()
    notes: tuple[str, ...] = ()
    """What the paper leaves open and what was chosen: one sentence each, shown under the table."""
    conclude: Callable[[Sequence[Score]], Sequence[str]] | None = None
    """Sentences drawn from all scores, shown above the table."""

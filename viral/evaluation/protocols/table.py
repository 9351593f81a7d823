"""The table of a protocol as data: what its report shows and its JSON keeps."""

from pydantic import BaseModel, ConfigDict

from viral.evaluation.metrics import METRICS, NAMES
from viral.evaluation.perceptual import PERCEPTUAL, STAND_IN
from viral.evaluation.protocols.protocol import Column, Protocol
from viral.evaluation.protocols.scorer import higher_is_better
from viral.tasks import describe_task

SHORT = {
    "iou": "IoU", "box_iou": "box IoU", "entity_iou": "mean IoU", "rmse": "RMSE", "psnr": "PSNR", "ssim": "SSIM",
    "abs_rel": "AbsRel", "delta1": "δ1", "normal_median": "Med", "normal_error": "Mean", "pck": "PCK",
    "ab_error": "ab error", "edge_f1": "F-score", "masked_error": "masked error", "depth_error": "depth error",
}  # fmt: skip
"""Metrics as the papers' headings call them."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(Frozen):
    """By how much ours is better on the same cases, with its 95 % interval."""

    mean: float
    low: float
    high: float


class Cell(Frozen):
    """One figure of one method; `value` is none where the method answered no case."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    """Sample deviation of the figures of single draws, in a column that spreads over them."""
    cases: int = 0
    """Answered ones with a figure."""
    asked: int = 0
    absent: str | None = None
    """Why the metric's own weights are not there; the figure is then the embedded embedder's."""
    behind: Difference | None = None
    """None for ours, and for distances between sets."""


class Heading(Frozen):
    """A column as a table shows it."""

    key: str
    task: str
    title: str
    """Of the group of columns that share a task."""
    metric: str
    explained: str
    higher_is_better: bool


class TableRow(Frozen):
    """A method with its figures by `Column.key`, or why it was not run."""

    method: str
    title: str
    paints: bool = True
    """Whether it is more than an answer that costs nothing."""
    bound: bool = False
    """Whether it knows the truth, so that no method can be asked to reach it."""
    licence: str | None = None
    missing: str | None = None
    cells: dict[str, Cell] = {}


class Printed(Frozen):
    """A row that a paper printed, measured on other data."""

    method: str
    figures: dict[str, float | str]


class ProtocolTable(Frozen):
    """Everything that the report of a protocol says."""

    name: str
    title: str
    table: str
    settings: dict[str, str]
    """What a reader needs to know of the run: base, size, steps, seed, where the cases are from."""
    headings: tuple[Heading, ...]
    rows: tuple[TableRow, ...]
    published: tuple[Printed, ...] = ()
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, float]:
        """Flat figures by `protocol/method/task/metric`, as a tracker logs them."""
        return {
            f"{self.name}/{row.method}/{key}": cell.value
            for row in self.rows
            for key, cell in row.cells.items()
            if cell.value is not None
        }


def headings(protocol: Protocol) -> tuple[Heading, ...]:
    """The columns with their names and directions; `ValueError` for a metric that nobody knows."""
    return tuple(map(_heading, protocol.columns))


def _heading(column: Column) -> Heading:
    higher = higher_is_better(column)
    title = column.title or describe_task(column.task).title
    return Heading(
        key=column.key, task=column.task, title=title, metric=_short(column), explained=_explained(column),
        higher_is_better=higher,
    )  # fmt: skip


def _short(column: Column) -> str:
    if column.score is None and column.metric in PERCEPTUAL:
        return PERCEPTUAL[column.metric].title
    return SHORT.get(column.metric, column.metric)


def _explained(column: Column) -> str:
    if column.score is not None:
        return column.metric
    if column.metric in METRICS:
        return NAMES[column.metric]
    metric = PERCEPTUAL[column.metric]
    return f"{metric.title} against the {metric.against}; in its place the {STAND_IN}: {metric.stand_in}"

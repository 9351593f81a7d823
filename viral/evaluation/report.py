"""The page that says what a run made: one self-contained HTML file, and the same figures as JSON."""

import base64
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from viral.config import RunConfig
from viral.data.images import encode_png
from viral.data.pairs import load_pairs
from viral.evaluation import summary as s
from viral.evaluation.curve import loss_curve
from viral.evaluation.gallery import PANELS, TOLD, cut
from viral.evaluation.metrics import NAMES
from viral.model.backbone import base_path
from viral.storage import Storage
from viral.train.journal import read_journal

TITLES = dict(zip(PANELS, ("A", "A′", "B", "before training", "output B′", "truth"), strict=True))
TOLD_TITLES = dict(zip(TOLD, ("picture", "before training", "output", "truth"), strict=True))
HERO = ("example source", "example target", "query", "output")


class ReportFacts(BaseModel):
    """What only the caller knows about a run; everything may be absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str | None = None
    mlflow_uri: str | None = None
    model_name: str | None = None
    version: str | None = None
    alias: str | None = None
    seconds: dict[str, float] = {}
    """Wall time of each step, in the order they ran."""
    answers: dict[str, Path] = {}
    """Images of the answered analogy by what they show: A, A′, B, answer."""
    commands: dict[str, str] = {}
    """Commands to look further, by what they do."""


class Training(BaseModel):
    """The training in four figures; the losses are means over the first and the last tenth of the logged steps."""

    model_config = ConfigDict(frozen=True)
    steps: int
    first_loss: float
    last_loss: float
    seconds: float | None = None


class Report(BaseModel):
    """Everything the page states; `summary.json` is this."""

    model_config = ConfigDict(frozen=True)
    storage: str
    base: str
    evaluation: s.EvaluationSummary
    training: Training | None
    licences: dict[str, str]
    """Licence of each photograph, and of the base where its card names one."""
    facts: ReportFacts


@dataclass(frozen=True)
class Figure:
    """One picture with its caption and what a reader who cannot see it is told."""

    caption: str
    uri: str
    alt: str


@dataclass(frozen=True)
class Row:
    """One scored analogy as the page shows it."""

    picture: s.Picture
    figures: tuple[Figure, ...]


def write_report(config: RunConfig, facts: ReportFacts) -> str:
    """Write `report.html` and `summary.json` under the storage from what the steps left; return the page's place.

    `ValueError` when the evaluation has not run.
    """
    storage = Storage(config.storage)
    evaluation = _evaluation(storage.join("evaluation"))
    lines = [(line["step"], line["loss"]) for line in read_journal(storage.join("train"))]
    report = Report(
        storage=config.storage,
        base=config.base,
        evaluation=evaluation,
        training=_training(lines, facts),
        licences=_licences(config),
        facts=facts,
    )
    tasks = [(task, _rows(storage.join("evaluation", "gallery"), task)) for task in evaluation.tasks]
    storage.write("report.html", _render(report, tasks, lines).encode())
    storage.write("summary.json", report.model_dump_json(indent=2).encode())
    return f"{config.storage.rstrip('/')}/report.html"


def _render(report: Report, tasks: list[tuple[s.TaskSummary, list[Row]]], lines: list[tuple[int, float]]) -> str:
    hero_task, hero = _hero(tasks)
    return _template().render(
        report=report,
        facts=report.facts,
        tasks=tasks,
        hero=hero,
        hero_task=hero_task,
        told=bool(tasks) and all(row.picture.panels == TOLD for _, rows in tasks for row in rows),
        curve=loss_curve(*zip(*lines, strict=True)) if lines else None,
        answer=[_file_figure(name, path) for name, path in report.facts.answers.items()],
        labels=s.LABELS,
        free=s.FREE,
        names=NAMES,
    )


def _hero(tasks: list[tuple[s.TaskSummary, list[Row]]]) -> tuple[s.TaskSummary | None, list[Figure]]:
    """The analogy that opens the page: the median crop of the first task that beats every free answer."""
    shown = [(task, row) for task, rows in tasks for row in rows if row.picture.rank == "median"]
    if not shown:
        return None, []
    task, row = next(((task, row) for task, row in shown if task.beats_free), shown[0])
    return task, [figure for name, figure in zip(row.picture.panels, row.figures, strict=True) if name in HERO]


def _evaluation(storage: Storage) -> s.EvaluationSummary:
    if not storage.exists("summary.json"):
        raise ValueError(
            "there is no evaluation to report on; run jobs/evaluate_adapter.py with the same configuration"
        )
    return s.EvaluationSummary.model_validate_json(storage.read("summary.json"))


def _licences(config: RunConfig) -> dict[str, str]:
    """Licences by what they cover: the base by its model card, the photographs by the table of pairs."""
    card = base_path(config.base_folder(), config.model) / "README.md"
    base = ModelCard.load(card).data.get("license") if card.is_file() else None
    pairs = load_pairs(config)
    found: dict[str, str] = {}
    for shard in pairs.manifest.shards:
        for row in pairs.read(shard).select(["source_id", "licence"]).to_pylist():
            found[row["source_id"]] = row["licence"]
    return {**({f"base model {config.base}": base} if base else {}), **dict(sorted(found.items()))}


def _training(lines: list[tuple[int, float]], facts: ReportFacts) -> Training | None:
    if not lines:
        return None
    losses = [loss for _, loss in lines]
    tenth = max(1, len(losses) // 10)
    return Training(
        steps=int(lines[-1][0]),
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
        seconds=facts.seconds.get("training"),
    )


def _rows(gallery: Storage, task: s.TaskSummary) -> list[Row]:
    rows = []
    for picture in task.pictures:
        panels = cut(gallery.read(picture.file), len(picture.panels))
        titles = TITLES if picture.panels == PANELS else TOLD_TITLES
        figures = tuple(
            Figure(titles[name], _data_uri(encode_png(panel)), f"{task.title}, {picture.rank} crop: {name}")
            for name, panel in zip(picture.panels, panels, strict=True)
        )
        rows.append(Row(picture, figures))
    return rows


def _file_figure(name: str, path: Path) -> Figure:
    return Figure(name, _data_uri(path.read_bytes()), f"{name} of the analogy answered over HTTP")


def _data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _template():
    environment = Environment(
        loader=PackageLoader("viral.evaluation", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    environment.filters["duration"] = _duration
    return environment.get_template("report.html.jinja")


def _number(value: float, metric: str = "") -> Markup:
    text = f"{value:.2f}" if metric == "edge_f1" else f"{value:.1f}"
    return Markup(text.replace("-", "−"))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

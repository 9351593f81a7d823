"""Validation at a checkpoint: test rows as the adapter paints them, a grid of pictures and a score for each task.

Ray Train runs it as a task of its own (`ValidationConfig`), with its own copy of the model and the VAE, while training
goes on.
"""

import io
import json

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from ray.train import Checkpoint as RayCheckpoint

from viral.config import RunConfig
from viral.data.latents import LatentTable
from viral.evaluation.metrics import METRICS
from viral.evaluation.painter import Painter, Picture, Row, load_base, painter_of
from viral.model.adapter import add_adapter, load_adapter_state
from viral.model.architecture import is_fill
from viral.model.roles import trained_roles
from viral.storage import Storage
from viral.tasks import describe_task
from viral.train.checkpoint import Checkpoint, Checkpoints

PLACE = "validation"
ROWS = 2
"""Test rows of each task that are painted; the first is shown."""
STEPS = 8
"""Denoising steps of a picture; enough to see what is learnt, cheap beside the training."""
MARGIN, CAPTION = 96, 14
MASKED = "masked_error"
"""The metric that needs masks, which latents lack; PSNR stands in for it."""


def validate(checkpoint: RayCheckpoint, config: RunConfig, fingerprint: str, step: int) -> dict[str, float]:
    """Paint and score the checkpoint of `step` (Ray's `checkpoint` only points to it); scores by name.

    The rows and their noise are the same at every step. Nothing is done where the checkpoint was dropped meanwhile or
    no task has test rows.
    """
    train, table = Storage(config.storage).join("train"), LatentTable(Storage(config.storage).join(config.latents))
    checkpoints, fill = Checkpoints(train.join("checkpoints"), fingerprint), is_fill(config.base_folder(), config.model)
    rows = choose_rows(table, config.seed, alone=fill)
    if step not in checkpoints.steps() or not rows:
        return {}
    painter = _painter(config, table, checkpoints.load(step))
    tasks, painted = [task for task, _ in rows], _paint(painter, [row for _, row in rows], config.evaluate.batch_size)
    scores = _scores(config, tasks, painted)
    shown = {task: pictures for task, pictures in reversed(list(zip(tasks, painted, strict=True)))}
    place = train.join(PLACE)
    place.write(f"{_name(step)}.json", json.dumps(scores, indent=1).encode())
    place.write(f"{_name(step)}.png", _png(draw_grid(dict(sorted(shown.items())), painter.COLUMNS)))
    return scores


def _painter(config: RunConfig, table: LatentTable, checkpoint: Checkpoint) -> Painter:
    """The base with the adapter of a checkpoint."""
    backbone = load_base(config.base_folder(), "cuda" if config.train.gpus else "cpu", config.model)
    assert backbone.transformer is not None
    add_adapter(backbone.transformer, config.adapter, config.seed)
    load_adapter_state(backbone.transformer, checkpoint.tensors.result)
    return painter_of(backbone, table.text, config.train.context, trained_roles(config.train.roles))


def _paint(painter: Painter, rows: list[Row], batch: int) -> list[tuple[Picture, ...]]:
    """The columns of each row."""
    starts, seeds = range(0, len(rows), batch), list(range(len(rows)))
    outputs = [p for i in starts for p in painter(rows[i : i + batch], seeds[i : i + batch], STEPS)]
    return [painter.show(row, output) for row, output in zip(rows, outputs, strict=True)]


def choose_rows(table: LatentTable, seed: int, alone: bool = False) -> list[tuple[str, Row]]:
    """The fixed rows of every task, from pictures kept apart, each with an example that it may meet; or `alone`."""
    chosen = []
    for task in table.tasks:
        rows, rng = table.rows(task, "test"), np.random.default_rng(seed)
        for query in rng.permutation(rows)[:ROWS]:
            others = [row for row in rows if row != query and table.groups[row] == table.groups[query]]
            others = [query] if alone else others
            if others:
                chosen.append((task, (table[int(rng.choice(others))], table[int(query)])))
    return chosen


def _scores(config: RunConfig, tasks: list[str], painted: list[tuple[Picture, ...]]) -> dict[str, float]:
    """Mean of each task's metric, against the truth as the VAE shows it."""
    found: dict[str, list[float]] = {}
    for task, (*_, output, truth) in zip(tasks, painted, strict=True):
        metric = describe_task(task, config.tasks).metric
        metric = "psnr" if metric == MASKED else metric
        found.setdefault(f"validation/{task}/{metric}", []).append(METRICS[metric](output, truth, None))
    return {name: float(np.mean(values)) for name, values in found.items()}


def draw_grid(rows: dict[str, tuple[Picture, ...]], columns: tuple[str, ...]) -> UInt8[np.ndarray, "y x 3"]:
    """A row of pictures per task, with its name beside it and what the columns are above."""
    height, width = (max(pictures[0].shape[i] for pictures in rows.values()) for i in (0, 1))
    sheet = Image.new("RGB", (MARGIN + width * len(columns), CAPTION + height * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (task, pictures) in enumerate(rows.items()):
        for j, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (MARGIN + j * width, CAPTION + i * height))
        pen.text((4, CAPTION + i * height + height // 2 - 6), task, fill="black")
    for j, name in enumerate(columns):
        pen.text((MARGIN + j * width + 4, 1), name, fill="black")
    return np.asarray(sheet)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _png(pixels: UInt8[np.ndarray, "y x 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()

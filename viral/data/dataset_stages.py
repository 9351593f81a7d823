"""What the actors of the dataset's stages do: read pictures, label them, render pairs of them."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image as Pillow

from viral.data.annotators import Annotator, annotated
from viral.data.degradations import Templates
from viral.data.labelled_table import labelled_parquet, labelled_row, read_row, rejected_row, with_labels
from viral.data.pair_table import count_errors, failed_row, good_row, pairs_parquet
from viral.data.shards import MadeShard
from viral.data.sources import Item, Source
from viral.data_config import TaskConfig
from viral.schema import LABELLED
from viral.storage import Shard, Storage
from viral.tasks import Labelled, Task, all_tasks, fit
from viral.tasks.restoration import render_watermark

RECIPE = 1
LEAST_SIDE = 0.25
"""Share of `data.size` that the shorter side of a picture has at least."""
_LABELS = ("target", "changed", "depth", "normals", "entities", "instances", "instruction", "caption")


@dataclass(frozen=True)
class Placed:
    """An item with its place in the dataset."""

    source: str
    """The source's name in the configuration."""
    item: Item
    image_id: str
    split: str
    licence: str

    @property
    def row(self) -> dict[str, Any]:
        """The columns that every row of it starts with."""
        about = {"image_id": self.image_id, "split": self.split, "licence": self.licence}
        return {**about, "source_id": self.item.source_id}

    @property
    def origin(self) -> dict[str, str]:
        """Which picture of which source it is."""
        return {"source": self.source, "item": self.item.id}


@dataclass(frozen=True)
class ImageWork:
    """One shard of pictures."""

    placed: list[Placed]
    size: int


@dataclass(frozen=True)
class PairWork:
    """One shard of pairs: the tasks, a shard of pictures, and one of labels where there are annotators."""

    tasks: tuple[str, ...]
    images: Storage
    shard: Shard
    labelled: Storage
    labels: Shard | None


class ImageMaker:
    """Reads the pictures of a shard and fits them, labels with them."""

    def __init__(self, source: Source, device: str) -> None:
        self._read = source.reader(device)

    def __call__(self, work: ImageWork) -> MadeShard:
        rows = [self._row(placed, work.size) for placed in work.placed]
        return MadeShard(labelled_parquet(rows), len(rows), count_errors(rows))

    def _row(self, placed: Placed, size: int) -> dict[str, Any]:
        try:
            read = self._read(placed.item, size)
            _check_side(min(read.image.shape[:2]), size)
            labelled = fit(read, size)
            return labelled_row(placed.row, replace(labelled, about={**labelled.about, **placed.origin}))
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            return rejected_row({**placed.row, "about": json.dumps(placed.origin)}, _without_name(error, placed.item))


class LabelMaker:
    """Lets the annotators of a part label the pictures of a shard, one after the other."""

    def __init__(
        self, images: Storage, annotators: Mapping[str, Annotator], records: Mapping[str, Any], device: str
    ) -> None:
        self._images, self._records = images, records
        self._labellers = {name: annotator.labeller(device) for name, annotator in annotators.items()}

    def __call__(self, work: Shard) -> MadeShard:
        rows = [self._row(row) for row in read_shard(self._images, work)]
        return MadeShard(labelled_parquet(rows), len(rows), count_errors(rows))

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        head = {name: row[name] for name in ("image_id", "split", "source_id", "licence")}
        if row["error"] is not None:
            return rejected_row(head, row["error"])
        labelled = before = read_row(row)
        for name, label in self._labellers.items():
            try:
                labelled = annotated(label(labelled), name, self._records[name])
            except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
                return rejected_row(head, f"{name} failed: {reason(error)}")
        return labelled_row(head, _added(before, labelled), with_image=False)


class PartPairMaker:
    """Renders every task on every picture of a shard; what fails stays as a row with its error.

    Pictures of the sources in `moved` go to the test side.
    """

    def __init__(
        self,
        seed: int,
        own: Mapping[str, TaskConfig],
        watermarks: str | None,
        moved: frozenset[str] = frozenset(),
    ) -> None:
        self._seed, self._tasks, self._moved = seed, all_tasks(own), moved
        if watermarks is not None:
            render = partial(render_watermark, templates=read_templates(Storage(watermarks)))
            self._tasks["watermark"] = replace(self._tasks["watermark"], render=render)

    def __call__(self, work: PairWork) -> MadeShard:
        pictures = read_shard(work.images, work.shard)
        labels = read_shard(work.labelled, work.labels) if work.labels else [None] * len(pictures)
        rows = []
        for picture, label in zip(pictures, labels, strict=True):
            rows += self._rows(with_labels(picture, label), [self._tasks[name] for name in work.tasks])
        return MadeShard(pairs_parquet(rows), len(rows), count_errors(rows))

    def _rows(self, row: dict[str, Any], tasks: list[Task]) -> list[dict[str, Any]]:
        labelled = read_row(row) if row["error"] is None else None
        return [self._row(row, labelled, task) for task in tasks]

    def _row(self, row: dict[str, Any], labelled: Labelled | None, task: Task) -> dict[str, Any]:
        pair_id = hashlib.sha256(json.dumps([RECIPE, row["image_id"], task.name, self._seed]).encode()).hexdigest()[:32]
        head = {name: row[name] for name in ("split", "source_id", "licence", "instruction")}
        head |= {"split": "test"} if row["source_id"] in self._moved else {}
        about = {"pair_id": pair_id, "task": task.name, **head, "provenance": row["about"]}
        if labelled is None:
            return failed_row(about, {}, row["error"])
        about["instruction"] = labelled.instruction or task.instruction
        try:
            rendering = task.pair(labelled, np.random.default_rng(int(pair_id, 16)))
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            return failed_row(about, {}, f"{task.name} failed: {reason(error)}")
        return good_row(about, rendering.params, rendering)


def read_shard(storage: Storage, shard: Shard) -> list[dict[str, Any]]:
    """The rows of a shard of labelled pictures, verified by its sha256."""
    return pq.read_table(storage.local(shard.name, shard.sha256), schema=LABELLED).to_pylist()


def read_templates(folder: Storage) -> Templates:
    """The logos in a folder, at most 512 pixels a side; `ValueError` where one has no transparency."""
    logos = []
    for name in (name for name in folder.walk() if name.lower().endswith((".png", ".webp"))):
        with Pillow.open(io.BytesIO(folder.read(name)), formats=("PNG", "WEBP")) as image:
            if not image.has_transparency_data:
                raise ValueError(f"{folder}/{name} is not transparent anywhere, so it is no logo; take it away")
            image = image.convert("RGBA")
            image.thumbnail((512, 512))
            logos.append(np.array(image))
    if not logos:
        raise ValueError(f"{folder} holds no RGBA logo (*.png, *.webp)")
    return tuple(logos)


def reason(error: Exception) -> str:
    """What a row's error says: our own messages as they are, others with their kind."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _check_side(side: int, size: int) -> None:
    """`ValueError` for a picture that would be little but interpolation."""
    if LEAST_SIDE * size > side:
        raise ValueError(f"too small: {side} pixels, at least {LEAST_SIDE:g} of data.size, {size}, are needed")


def _without_name(error: Exception, item: Item) -> str:
    """The reason without the file's name in front, which would make every reason another kind."""
    message = reason(error)
    for name in (item.id, *(value for value in item.data.values() if isinstance(value, str))):
        message = message.removeprefix(f"{name}: ")
    return message


def _added(before: Labelled, after: Labelled) -> Labelled:
    """What annotators added: labels that were there before are not repeated."""
    kept = {name: None for name in _LABELS if getattr(after, name) is getattr(before, name)}
    maps = {task: image for task, image in after.maps.items() if task not in before.maps}
    return replace(after, **kept, maps=maps)

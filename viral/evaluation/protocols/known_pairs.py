"""Pairs whose truth is known, which protocols ask about: unseen scenes, or real pictures where they are named."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from viral.config import RunConfig
from viral.data.images import pixels_of
from viral.data.own_pairs import import_pairs, own_folder
from viral.data.pair_table import PairTable
from viral.data.sources import Source, build_sources
from viral.data.sources.scenes import Scenes
from viral.tasks import Rendering, Task, describe_task, fit

UNSEEN = 1_000_003
"""Added to the run's seed where scenes are numbered, so that none was trained on."""
MOST = 8
"""Pictures that are looked at for each pair that is wanted, at most: on some a task has nothing to show."""
EDITED = ("edit", "style")
"""Tasks whose pairs come from edits of scenes."""


@dataclass(frozen=True)
class KnownPair:
    """A pair of a task."""

    pair_id: str
    source_id: str
    rendering: Rendering
    instruction: str | None = None
    asked: bool = True
    """Whether its source may be a query; pairs that were trained on may only be examples."""


def known_pairs(config: RunConfig, task: str, count: int, kinds: tuple[str, ...] = ("all",)) -> Iterator[KnownPair]:
    """At most `count` pairs of a task, always the same; of a folder of your own, all.

    They come from `pairs` where it names a folder of your own, else from the source that `protocol.sources` names for
    the task, else from unseen scenes; those of edits are of these `kinds`. `ValueError` where there is none.
    """
    folder = own_folder(config)
    if folder is not None:
        return _imported(import_pairs(config, folder), task)
    if (described := config.protocol.sources.get(task)) is not None:
        source = build_sources({task: described})[task]
    else:
        source = Scenes(kind="scenes", edits=kinds if task in EDITED else ())
    return _rendered(config, describe_task(task, config.tasks), source, count)


def number_of(*parts: object) -> int:
    """A seed of 31 bits that depends on all of the parts and nothing else."""
    return int.from_bytes(hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()[:4]) >> 1


def _imported(table: PairTable, task: str) -> Iterator[KnownPair]:
    """The rows of a table, those kept apart first; those of its training side are examples alone."""
    for split in ("test", "train"):
        for row in table.rows(split, task):
            mask = None if row["mask"] is None else pixels_of(row["mask"]["bytes"])[..., 0]
            source, target = (pixels_of(row[name]["bytes"]) for name in ("source", "target"))
            rendering = Rendering(source, target, mask, json.loads(row["params"]), row["group"])
            yield KnownPair(row["pair_id"], row["source_id"], rendering, row["instruction"], split == "test")


def _rendered(config: RunConfig, task: Task, source: Source, count: int) -> Iterator[KnownPair]:
    """Pairs of the pictures on which the task has something to show."""
    read, size, made, reason = source.reader("cpu"), config.data.size, 0, "there is no picture"
    for item in source.items(MOST * count, UNSEEN + config.seed, frozenset(task.needs)):
        try:
            labelled = fit(read(item, size), size)
            rendering = task.pair(labelled, np.random.default_rng(number_of("pair", task.name, item.id)))
        except ValueError as error:
            reason = str(error)
            continue
        yield KnownPair(item.id, item.source_id, rendering, labelled.instruction or task.instruction)
        made += 1
        if made == count:
            return
    if not made:
        raise ValueError(f"no pair of the task {task.name}: {reason}")

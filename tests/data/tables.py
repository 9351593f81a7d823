"""Small tables of pairs, written as a stage writes them but without Ray."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.tasks.pictures import labelled
from viral.data.pair_table import PairTable, count_errors, failed_row, good_row, pairs_parquet
from viral.storage import Manifest, Storage, describe_shard, write_manifest
from viral.tasks import TASKS

Row = dict[str, Any]
NOTES = {"configuration": json.dumps({"seed": 0, "data": {"size": 64}, "dataset": {"scale": 1.0, "test_share": 0.3}})}


def pair(task: str, number: int, split: str = "train", **changes: Any) -> Row:
    """A good row: one task rendered on a drawn picture."""
    picture = labelled()
    image = np.roll(picture.image, 7 * number, axis=1)
    rendering = TASKS[task].pair(picture, np.random.default_rng(number))
    rendering = type(rendering)(image, rendering.target, rendering.mask, rendering.params, rendering.group)
    return {**good_row(_about(task, number, split), rendering.params, rendering), **changes}


def rejected(task: str, number: int, error: str) -> Row:
    """A row without a pair."""
    return failed_row(_about(task, number, "train"), {}, error)


def write_pairs(place: Storage, shards: list[list[Row]], **notes: str) -> PairTable:
    """A finished table of these shards."""
    described = []
    for number, rows in enumerate(shards):
        name, data = f"shard-{number:05d}.parquet", pairs_parquet(rows)
        place.write(name, data)
        described.append(describe_shard(name, len(rows), data, count_errors(rows)))
    good = sum(row["error"] is None for rows in shards for row in rows)
    counts = {"rows": sum(map(len, shards)), "good": good}
    manifest = Manifest(
        fingerprint="f", complete=True, shards=tuple(described), counts_out=counts, notes={**NOTES, **notes}
    )
    write_manifest(place, manifest)
    return PairTable(place, manifest)


def mixed(place: Storage, change: Callable[[list[list[Row]]], None] = lambda shards: None) -> PairTable:
    """Two tasks on both sides of the split, a doubtful pair and two rejected rows, in three shards."""
    shards = [
        [pair("depth", i, "test" if i == 3 else "train") for i in range(4)],
        [pair("interactive", i, "test" if i == 3 else "train") for i in range(4)],
        [
            pair("depth", 4, doubts="source and target hardly differ"),
            rejected("depth", 5, "truncated or damaged PNG (image file is truncated)"),
            rejected("interactive", 6, "interactive failed: no object with a mask is large enough"),
        ],
    ]
    change(shards)
    return write_pairs(place, shards)


def _about(task: str, number: int, split: str) -> Row:
    return {
        "pair_id": hashlib.sha256(f"{task} {number}".encode()).hexdigest()[:32],
        "task": task,
        "split": split,
        "source_id": f"scene/{number}",
        "licence": "CC0-1.0 (made by this program)" if number % 2 else "CC BY-NC 2.0",
        "instruction": TASKS[task].instruction,
        "provenance": json.dumps({"source": "scenes", "item": str(number), "annotators": {}}),
    }

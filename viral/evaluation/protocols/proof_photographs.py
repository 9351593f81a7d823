"""Questions from photographs of the proof part: pairs that were captured or drawn by people, and our degradations.

`protocol.layout` is the folder of the collection that `viral.data.proof_split` lists.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from viral.config import RunConfig
from viral.data.proof_split import files_of
from viral.evaluation.metrics import METRICS
from viral.evaluation.protocols.analogies import question
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.known_pairs import KnownPair, known_pairs, number_of
from viral.tasks import TASKS

MADE = ("edge", "colorization", "watermark", "deraining", "low_light", "negative")
"""Tasks that are rendered on any photograph."""
MOST = 10_000
"""Rows of the manifest that are looked at: not all of them are of the proof part."""
ENLARGED = 30
"""Real pairs of a task below which rendered ones are added, where it can be rendered."""
REAL: dict[str, dict[str, Any]] = {
    "deraining": {"task": "deraining"},
    "low_light": {"task": "low_light"},
    "watermark": {"task": "watermark_removal"},
    "colorization": {"task": "colorization"},
    "depth": {"task": "depth"},
    "normal": {"task": "normals"},
    "pose": {"task": "keypoints"},
    "interactive": {"task": "interactive_segmentation"},
}
"""Tasks with real pairs, by the rows of the collection's manifest that hold them."""
PHOTOGRAPH_TASKS = tuple(dict.fromkeys((*MADE, *REAL, "entity")))
SPARSE = "depth/kitti/"
"""Depth at single points, which is no picture of depth any more at a small size."""


def photograph_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` questions of every task; the examples are other pairs of the same kind, real or made."""
    for task in PHOTOGRAPH_TASKS:
        real = _real(config, task)
        made = _made(config, task) if task in MADE and len(real) < ENLARGED else []
        yield from _questions(config, task, [real, made])


def _questions(config: RunConfig, task: str, pools: list[list[KnownPair]]) -> Iterator[Case]:
    """Every pair asked for by another one of its pool, until there are enough."""
    asked = [(pair, pool) for pool in pools for pair in pool][: config.protocol.cases]
    for pair, pool in asked:
        others = [other for other in pool if other.source_id != pair.source_id]
        if others:
            rng = np.random.default_rng(number_of("example", config.seed, task, pair.pair_id))
            yield question(config, task, pair, others[rng.integers(len(others))])


def _made(config: RunConfig, task: str) -> list[KnownPair]:
    """Pairs rendered on squares of photographs, one of each photograph before a second of any."""
    source = {"kind": "split", "path": _folder(config), "part": "proof", "licences": ["research-nc", "unknown"]}
    return list(known_pairs(_reading(config, task, source), task, config.protocol.cases))


def _real(config: RunConfig, task: str) -> list[KnownPair]:
    """Pairs of the collection whose pictures are of the proof part."""
    folder = _folder(config)
    if task == "entity":
        source = {"images": f"{folder}/photos/bsds", "masks": f"{folder}/segmentation/bsds_human"}
        described = {"kind": "entities", "suffix": "__target", **source}
    elif task in REAL:
        described = {"kind": "jsonl", "path": folder, "where": REAL[task]}
    else:
        return []
    proof = {one.file for one in files_of("proof") if not one.file.startswith(SPARSE)}
    pairs = known_pairs(_reading(config, task, described), task, MOST)
    kept = (pair for pair in pairs if pair.source_id.removeprefix(f"{folder}/") in proof and _measurable(task, pair))
    return list(islice(kept, config.protocol.cases))


def _measurable(task: str, pair: KnownPair) -> bool:
    """Whether the truth still shows something at this size: drawn joints may fade away."""
    truth = pair.rendering.target
    try:
        METRICS[TASKS[task].metric](truth, truth, pair.rendering.mask)
    except ValueError:
        return False
    return True


def _reading(config: RunConfig, task: str, source: dict[str, Any]) -> RunConfig:
    """The configuration with the task's pairs from a source."""
    protocol = config.protocol.model_copy(update={"sources": {task: source}})
    return config.model_copy(update={"protocol": protocol})


def _folder(config: RunConfig) -> str:
    if config.protocol.layout is None:
        raise ValueError(
            "the photographs of the proof part lie in the collection that viral/data/proof_split.csv lists; name its "
            "folder with protocol.layout=FOLDER"
        )
    return config.protocol.layout

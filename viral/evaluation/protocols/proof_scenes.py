"""Questions from unseen scenes: every task that the embedded adapter was trained on, and kinds of edit it never met."""

from collections.abc import Iterator
from dataclasses import replace

from viral.config import RunConfig
from viral.data.sources.combinations import KEPT_OUT
from viral.evaluation.protocols.analogies import analogies
from viral.evaluation.protocols.case import Case

PAPER_TASKS = (
    "depth", "normal", "edge", "colorization", "watermark", "interactive", "entity", "detection", "pose", "deraining",
    "low_light", "style", "edit",
)  # fmt: skip
"""VIRAL's own."""
EDITS = (
    "recolour", "recolour_all", "walls", "remove", "add", "move", "zoom", "pan", "tone", "time", "weather", "ground",
)  # fmt: skip
"""Kinds that stand for the task edit."""
KINDS = {"edit": EDITS, "style": ("style",)}


def scene_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` questions of each of `PAPER_TASKS`, and of the negative."""
    for task in (*PAPER_TASKS, "negative"):
        yield from analogies(config, task, KINDS.get(task, ("all",)))


def kept_out_cases(config: RunConfig) -> Iterator[Case]:
    """`protocol.cases` questions of every kind of edit that was kept from training, each a task of its own."""
    for kind in KEPT_OUT:
        for case in analogies(config, "edit", (kind,)):
            yield replace(case, case_id=f"{kind}/{case.case_id}", task=kind)

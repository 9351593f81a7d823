"""What a task is: how a labelled picture becomes a pair, which pairs may meet, and what judges the answer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from viral.tasks.labelled import Image, Labelled

Meeting = Literal["any", "category", "mined"]
"""Which two pairs make an analogy: any two of the task, two of one group (a category), or quadruplets that were mined
or synthesised."""


@dataclass(frozen=True)
class Rendering:
    """One pair, pixel on pixel, with the mask (0 or 255) of where they differ for tasks that know it."""

    source: Image
    target: Image
    mask: UInt8[np.ndarray, "y x"] | None = None
    params: dict = field(default_factory=dict)
    group: str | None = None
    """Pairs with a group meet only pairs of the same group."""


@dataclass(frozen=True)
class Task:
    """A task's name, how a picture becomes a pair of it, and the figure in `viral.evaluation` that scores it."""

    name: str
    title: str
    render: Callable[[Labelled, np.random.Generator], Rendering]
    metric: str
    higher_is_better: bool
    weight: float = 1.0
    """How often training draws it, relative to the others; more where only the example tells what to do with B."""
    trains: bool = True
    """Whether the adapter trains on it; if not, it is only evaluated."""
    needs: tuple[str, ...] = ()
    """The labels (`viral.tasks.labelled.LABELS`) that `render` reads."""
    meets: Meeting = "any"
    instruction: str | None = None
    """What it does in words, for models that read."""
    inverse: bool = False
    """Whether source and target change places after rendering."""

    def pair(self, labelled: Labelled, rng: np.random.Generator) -> Rendering:
        """The pair of a picture: the given one where there is one, else rendered; `ValueError` names missing labels."""
        given = labelled.target is not None
        needs = {"instruction"} & set(self.needs) if given else set(self.needs)
        if missing := sorted(needs - labelled.labels):
            there = ", ".join(sorted(labelled.labels)) or "no label"
            raise ValueError(f"{self.name} needs {', '.join(missing)}; the picture has {there}: add an annotator")
        rendering = _as_given(labelled) if given else self.render(labelled, rng)
        return _swapped(rendering) if self.inverse else rendering


def inverse(task: Task) -> Task:
    """The task backwards, judged by how near the picture comes to the true one."""
    return replace(
        task,
        name=f"{task.name}_inverse",
        title=f"{task.title}, inverse",
        metric="psnr",
        higher_is_better=True,
        weight=task.weight / 2,
        instruction=None,
        inverse=True,
    )


def given(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """The render of tasks whose pairs only a source can give."""
    raise ValueError("this task's pairs are given, not rendered; take a source that gives both pictures")


def _as_given(labelled: Labelled) -> Rendering:
    assert labelled.target is not None
    mask = None if labelled.changed is None else labelled.changed.astype(np.uint8) * 255
    return Rendering(labelled.image, labelled.target, mask, {}, labelled.about.get("group"))


def _swapped(rendering: Rendering) -> Rendering:
    return replace(rendering, source=rendering.target, target=rendering.source)

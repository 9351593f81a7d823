"""The task registry: what a task's source and target are made of, and what measures it.

A new task is a function from an image and a generator to a `Rendering`, and one line in `TASKS`.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from jaxtyping import UInt8

from viral.data import degradations

Image = UInt8[np.ndarray, "y x 3"]

LEAST_COVER = 0.02
"""Share of a picture that its watermark covers at least."""
LEAST_INK = 12
"""What it changes there on average, of 255: white letters on a white sky teach nothing."""


@dataclass(frozen=True)
class Rendering:
    """One pair, pixel on pixel, with the mask (0 or 255) of where they differ for tasks that know it."""

    source: Image
    target: Image
    mask: UInt8[np.ndarray, "y x"] | None = None
    params: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a task is called, how a photograph becomes a pair, and the figure in `viral.evaluation` that scores it."""

    name: str
    title: str
    render: Callable[[Image, np.random.Generator], Rendering]
    metric: str
    higher_is_better: bool
    weight: float = 1.0
    """How often training draws it, relative to the others; more where only the example tells what to do with B."""
    trains: bool = True
    """Whether the adapter trains on it; if not, it is only evaluated."""


def edge(image: Image, rng: np.random.Generator) -> Rendering:
    """Lines of controlnet_aux's Canny, one pixel wide, white on black."""
    height, width = image.shape[:2]
    # The detector rounds sides to multiples of 64 and resizes, which moves and thickens lines; on an image that
    # already has such sides, asked for in its own resolution, it does neither.
    padded = cv2.copyMakeBorder(image, 0, -height % 64, 0, -width % 64, cv2.BORDER_REPLICATE)
    side = min(padded.shape[:2])
    lines = _canny()(padded, low_threshold=100, high_threshold=200, detect_resolution=side, image_resolution=side)
    return Rendering(image, np.ascontiguousarray(lines[:height, :width]), params={"thresholds": [100, 200]})


def colorization(image: Image, rng: np.random.Generator) -> Rendering:
    """From the luma of a photograph to its colours."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return Rendering(np.repeat(luma[..., None], 3, axis=2), image)


def low_light(image: Image, rng: np.random.Generator) -> Rendering:
    """From a dark, noisy exposure to the photograph."""
    degraded = degradations.dark(_float(image), rng)
    return Rendering(_uint8(degraded.picture), image, params=degraded.params)


def watermark(image: Image, rng: np.random.Generator) -> Rendering:
    """From a photograph under half transparent letters to the clean one; the mask is where letters are."""
    for _ in range(64):
        degraded = degradations.watermark(_float(image), rng)
        rendering = _marked(image, degraded)
        if _is_visible(rendering):
            return rendering
    height, width = image.shape[:2]
    raise ValueError(f"no visible watermark: 64 were drawn on an image of {width}x{height} pixels")


def negative(image: Image, rng: np.random.Generator) -> Rendering:
    """From a photograph to its negative."""
    return Rendering(image, 255 - image)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("edge", "Edge detection", edge, "edge_f1", higher_is_better=True, weight=1.5),
        Task("colorization", "Colorization", colorization, "ab_error", higher_is_better=False, weight=1.5),
        Task("low_light", "Low-light enhancement", low_light, "psnr", higher_is_better=True),
        Task("watermark", "Watermark removal", watermark, "masked_error", higher_is_better=False, weight=2.0),
        Task("negative", "Negative", negative, "psnr", higher_is_better=True, weight=2.0),
    )
}


def find_tasks(names: tuple[str, ...]) -> tuple[Task, ...]:
    """The tasks of these names, in their order; `ValueError` names one that does not exist or comes twice."""
    for name in names:
        if name not in TASKS:
            raise ValueError(f"data.tasks: there is no task {name!r}; choose from {', '.join(TASKS)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"data.tasks: got {list(names)}, expected at least one task and each only once")
    return tuple(TASKS[name] for name in names)


def describe_task(name: str) -> Task:
    """The task of this name; one of your own pairs that has no entry is scored by PSNR."""
    return TASKS.get(name) or Task(name, name.replace("_", " ").capitalize(), _as_given, "psnr", higher_is_better=True)


def _as_given(image: Image, rng: np.random.Generator) -> Rendering:
    raise ValueError("this task's pairs are given, not rendered; add it to viral.tasks.TASKS to render it")


@cache
def _canny() -> Callable[..., Image]:
    """controlnet_aux's detector, imported alone: its package's `__init__` loads every annotator, 10 s and 250 MB."""
    found = importlib.util.find_spec("controlnet_aux")
    assert found is not None, "controlnet_aux is a dependency"
    alone = types.ModuleType("controlnet_aux_canny_alone")
    alone.__path__ = found.submodule_search_locations
    sys.modules[alone.__name__] = alone
    return importlib.import_module(f"{alone.__name__}.canny").CannyDetector()


def _marked(image: Image, degraded: degradations.Degraded) -> Rendering:
    assert degraded.cover is not None, "a watermark knows what it covers"
    mask = np.where(degraded.cover > 0.05, 255, 0).astype(np.uint8)
    return Rendering(_uint8(degraded.picture), image, mask, degraded.params)


def _is_visible(marked: Rendering) -> bool:
    covered = marked.mask != 0
    change = np.abs(marked.source.astype(int) - marked.target)
    return bool(covered.mean() >= LEAST_COVER) and float(change[covered].mean()) >= LEAST_INK


def _float(image: Image) -> degradations.Picture:
    return image.astype(np.float32) / 255


def _uint8(picture: degradations.Picture) -> Image:
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)

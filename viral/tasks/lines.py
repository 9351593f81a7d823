"""Pictures as lines: edges, white on black, and line drawings, black on white."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from functools import cache
from types import ModuleType

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from viral.tasks.labelled import Image, Labelled
from viral.tasks.task import Rendering, Task


def render_edge(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """An annotator's edges where there are some, else controlnet_aux's Canny: one pixel wide, white on black."""
    if "edge" in labelled.maps:
        return Rendering(labelled.image, labelled.maps["edge"])
    height, width = labelled.image.shape[:2]
    # The detector rounds sides to multiples of 64 and resizes, which moves and thickens lines; on an image that
    # already has such sides, asked for in its own resolution, it does neither.
    padded = cv2.copyMakeBorder(labelled.image, 0, -height % 64, 0, -width % 64, cv2.BORDER_REPLICATE)
    side = min(padded.shape[:2])
    lines = _canny()(padded, low_threshold=100, high_threshold=200, detect_resolution=side, image_resolution=side)
    return Rendering(labelled.image, np.ascontiguousarray(lines[:height, :width]), params={"thresholds": [100, 200]})


def render_lineart(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """An annotator's drawing where there is one, else XDoG: black lines on white."""
    if "lineart" in labelled.maps:
        return Rendering(labelled.image, labelled.maps["lineart"])
    grey = cv2.cvtColor(labelled.image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return Rendering(labelled.image, np.repeat(_xdog(grey)[..., None], 3, axis=2), params={"filter": "xdog"})


def _xdog(grey: Float32[np.ndarray, "y x"], kept: float = 0.98, slope: float = 24.0) -> UInt8[np.ndarray, "y x"]:
    """Winnemoeller's extended difference of Gaussians: white, and a soft ramp to black on the dark side of edges."""
    sigma = max(0.7, min(grey.shape) / 400)
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), sigma * k) for k in (1.0, 1.6))
    difference = fine - kept * coarse
    tone = np.where(difference >= 0, 1.0, 1 + np.tanh(slope * difference))
    return (np.clip(tone, 0, 1) * 255).round().astype(np.uint8)


@cache
def controlnet_module(name: str) -> ModuleType:
    """One module of controlnet_aux, imported alone: its package's `__init__` loads every annotator, 10 s and 250 MB."""
    found = importlib.util.find_spec("controlnet_aux")
    assert found is not None, "controlnet_aux is a dependency"
    alone = types.ModuleType("controlnet_aux_alone")
    alone.__path__ = found.submodule_search_locations
    sys.modules.setdefault(alone.__name__, alone)
    return importlib.import_module(f"{alone.__name__}.{name}")


@cache
def _canny() -> Callable[..., Image]:
    return controlnet_module("canny").CannyDetector()


EDGE = Task(
    "edge", "Edge detection", render_edge, "edge_f1", higher_is_better=True, weight=1.5,
    instruction="Draw the edges as white lines on black.",
)  # fmt: skip
LINEART = Task(
    "lineart", "Line drawing", render_lineart, "psnr", higher_is_better=True, trains=False,
    instruction="Turn the picture into a line drawing, black on white.",
)  # fmt: skip

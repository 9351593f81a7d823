"""Depth and surface normals as pictures, in the conventions that sources and annotators share."""

import numpy as np
from jaxtyping import Float32

from viral.tasks.labelled import Image, Labelled
from viral.tasks.task import Rendering, Task


def depth_picture(inverse: Float32[np.ndarray, "y x"]) -> Image:
    """Inverse depth between its 2nd and 98th percentile as grey 1..255: near is bright, 0 is not known.

    `ValueError` where nothing is known.
    """
    known = inverse > 0
    if not known.any():
        raise ValueError("the depth is not known at any pixel")
    low, high = np.percentile(inverse[known], (2, 98))
    grey = 1 + 254 * np.clip((inverse - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat(np.where(known, grey.round(), 0).astype(np.uint8)[..., None], 3, axis=2)


def normal_picture(normals: Float32[np.ndarray, "y x 3"]) -> Image:
    """(n + 1) / 2 of unit normals: red is right, green up, blue towards the viewer; black is not known."""
    known = np.abs(normals).max(axis=2, keepdims=True) > 0
    return np.where(known, ((normals + 1) * 127.5).round(), 0).astype(np.uint8)


def read_normals(picture: Image) -> Float32[np.ndarray, "y x 3"]:
    """The unit normals that `normal_picture` painted."""
    known = picture.any(axis=2, keepdims=True)
    vectors = picture.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.where(known, vectors / np.maximum(length, 1e-6), 0).astype(np.float32)


def render_depth(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """The depth of a picture."""
    assert labelled.depth is not None
    return Rendering(labelled.image, depth_picture(labelled.depth))


def render_normal(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """The surface normals of a picture."""
    assert labelled.normals is not None
    return Rendering(labelled.image, normal_picture(labelled.normals))


DEPTH = Task(
    "depth", "Depth", render_depth, "depth_error", higher_is_better=False, needs=("depth",),
    instruction="Estimate the depth map; near is bright.",
)  # fmt: skip
NORMAL = Task(
    "normal", "Surface normals", render_normal, "normal_error", higher_is_better=False, needs=("normals",),
    instruction="Estimate the surface normals.",
)  # fmt: skip

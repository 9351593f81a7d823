"""A small picture whose labels are all known."""

import cv2
import numpy as np

from viral.tasks import Instance, Labelled

PERSON = np.array(
    [
        (32, 10, 2), (34, 8, 2), (30, 8, 2), (36, 9, 1), (28, 9, 2), (38, 18, 2), (26, 18, 2), (42, 28, 2), (22, 28, 2),
        (44, 38, 2), (20, 38, 2), (36, 38, 2), (28, 38, 2), (37, 48, 2), (27, 48, 2), (38, 58, 2), (0, 0, 0),
    ],
    np.float32,
)  # fmt: skip


def photo(height: int = 64, width: int = 64) -> np.ndarray:
    """Blurred noise over the whole range."""
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)


def labelled(height: int = 64, width: int = 64) -> Labelled:
    """A dog on the left, a cat on the right, a person of whom the left ankle alone is not seen, and a slanted floor."""
    down, across = np.mgrid[:height, :width].astype(np.float32)
    dog, cat = (across < width // 3) & (down > height // 2), across >= width // 2
    normals = np.zeros((height, width, 3), np.float32)
    normals[:] = np.array([0, 0.6, 0.8], np.float32)
    scale = np.array([width / 64, height / 64, 1], np.float32)
    instances = (
        Instance("dog", (0.0, height // 2 + 1.0, float(width // 3 + 1), float(height)), dog),
        Instance("cat", (float(width // 2), 0.0, float(width), float(height)), cat),
        Instance("person", (0.2 * width, 0.1 * height, 0.8 * width, 0.95 * height), cat & False, PERSON * scale),
    )
    entities = np.where(dog, 7, np.where(cat, 40, 3)).astype(np.int32)
    return Labelled(photo(height, width), 1 + down / height, normals, entities, instances)

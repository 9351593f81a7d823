"""Couples rendered once for many epochs: two pairs of one edit each, in chunks that an interrupted run takes up."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from viral.progress import progress
from viral.scenes import Scene, render

CHUNK = 64
"""Couples of one file."""
SIZE = 72
"""Side of a picture: training cuts squares of 64 out of it."""
Couple = UInt8[np.ndarray, "scene=2 side=2 y x 3"]
Couples = UInt8[np.ndarray, "n scene=2 side=2 y x 3"]
Make = Callable[[int], tuple[Couple, Any]]
"""Couple number i, always the same for the same i, and what is told of it, JSON-able."""


def couples(folder: Path, count: int, make: Make) -> tuple[Couples, list[Any]]:
    """The first `count` couples: those in `folder` are read, the others made on all cores and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"couples-{number:05d}.npz" for number in range(-(-count // CHUNK))]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    done = (len(paths) - len(missing)) * CHUNK
    with progress("rendering", len(paths) * CHUNK, done) as advance, ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(partial(_write_chunk, folder, make), missing):
            advance(CHUNK)
    images, told = np.empty((len(paths) * CHUNK, 2, 2, SIZE, SIZE, 3), np.uint8), []
    for number, path in enumerate(paths):
        with np.load(path) as chunk:
            images[number * CHUNK : (number + 1) * CHUNK] = chunk["images"]
            told += json.loads(str(chunk["told"]))
    return images[:count], told[:count]


def pictures_of(sides: tuple[tuple[Scene, Scene], tuple[Scene, Scene]]) -> Couple:
    """Two scenes before and after, rendered."""
    return np.stack([np.stack([render(scene, SIZE).image for scene in pair]) for pair in sides])


def _write_chunk(folder: Path, make: Make, number: int) -> None:
    """Make one chunk: a file that is there whole or not at all."""
    made = [make(index) for index in range(number * CHUNK, (number + 1) * CHUNK)]
    path = folder / f"couples-{number:05d}.npz"
    pending = path.with_suffix(".tmp")
    with pending.open("wb") as file:
        np.savez(file, images=np.stack([images for images, _ in made]), told=json.dumps([told for _, told in made]))
    os.replace(pending, path)

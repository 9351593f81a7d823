"""Scenes under edits to pretrain the embedder on: every edit done to two scenes, rendered in chunks, resumable."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from viral.progress import progress
from viral.scenes import EDITS, AppliedEdit, Scene, apply, caption, render, sample_edit, sample_scene, sample_scene_for

CHUNK = 64
"""Edits of one file."""
SIZE = 72
"""Side of a picture: training cuts squares of 64 out of it."""
HELD_OUT = 8
"""Of kinds with so many instructions or more, one in so many is never trained on: what is measured on those was not
learned by heart."""


@dataclass(frozen=True)
class EditedScenes:
    """Edits n, each done to two scenes: pictures and captions before and after, the instruction and its kind."""

    images: UInt8[np.ndarray, "n scene=2 side=2 y x 3"]
    captions: list[tuple[tuple[str, str], tuple[str, str]]]
    instructions: list[str]
    kinds: Int[np.ndarray, " n"]


def is_held_out(kind: str, instruction: str) -> bool:
    """Whether an instruction is kept from training: a function of its words alone."""
    if math.prod(len(values) for values in EDITS[kind].choices.values()) < HELD_OUT:
        return False
    return int.from_bytes(hashlib.sha256(instruction.encode()).digest()[:8]) % HELD_OUT == 0


def edited_scenes(folder: Path, count: int) -> EditedScenes:
    """The first `count` edits, of which those in `folder` are read and the others rendered into it."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-count // CHUNK))
    paths = [folder / f"edits-{number:05d}.npz" for number in numbers]
    there = sum(path.is_file() for path in paths)
    with progress("rendering edits", len(paths) * CHUNK, there * CHUNK) as advance:
        for number, path in zip(numbers, paths, strict=True):
            if not path.is_file():
                _write_chunk(path, number)
                advance(CHUNK)
    chunks = [np.load(path) for path in paths]
    told = [line for chunk in chunks for line in json.loads(str(chunk["told"]))][:count]
    images = np.concatenate([chunk["images"] for chunk in chunks])[:count]
    kinds = [list(EDITS).index(line["kind"]) for line in told]
    captions = [tuple(map(tuple, line["captions"])) for line in told]
    return EditedScenes(images, captions, [line["instruction"] for line in told], np.array(kinds))


def _write_chunk(path: Path, number: int) -> None:
    """Render one chunk to a file that is there whole or not at all."""
    made = [_render_edit(index) for index in range(number * CHUNK, (number + 1) * CHUNK)]
    pending = path.with_suffix(".tmp")
    with pending.open("wb") as file:
        np.savez(file, images=np.stack([images for images, _ in made]), told=json.dumps([told for _, told in made]))
    os.replace(pending, path)


def _render_edit(index: int) -> tuple[UInt8[np.ndarray, "scene=2 side=2 y x 3"], dict]:
    """Edit number `index`, drawn anew while its instruction is held out."""
    kind = list(EDITS)[index % len(EDITS)]
    for attempt in range(64):
        rng = np.random.default_rng([index, attempt, 7])
        drawn = _draw(kind, rng)
        if drawn is not None and not is_held_out(kind, drawn[1].instruction):
            break
    else:
        raise ValueError(f"no edit of kind {kind} in 64 draws is one to train on; lower HELD_OUT")
    first, edit = drawn
    second = sample_scene_for(kind, edit.params, int(rng.integers(1 << 31)))
    scenes = ((first, edit.scene_after), (second, apply(second, kind, edit.params)))
    images = np.stack([np.stack([render(scene, SIZE).image for scene in couple]) for couple in scenes])
    captions = [[caption(scene) for scene in couple] for couple in scenes]
    return images, {"kind": kind, "instruction": edit.instruction, "captions": captions}


def _draw(kind: str, rng: np.random.Generator) -> tuple[Scene, AppliedEdit] | None:
    """A scene and an edit of it, or none where the scene has no place for that kind."""
    scene = sample_scene(int(rng.integers(1 << 31)))
    try:
        return scene, sample_edit(scene, kind, rng)
    except ValueError:
        return None

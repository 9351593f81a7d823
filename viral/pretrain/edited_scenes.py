"""Scenes under edits to pretrain the embedder on: every edit done to two scenes."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from viral.pretrain.couples import Couple, Couples, couples, pictures_of
from viral.scenes import EDITS, AppliedEdit, Scene, apply, caption, sample_edit, sample_scene, sample_scene_for

HELD_OUT = 8
"""Of kinds with so many instructions or more, one in so many is never trained on: what is measured on those was not
learned by heart."""


@dataclass(frozen=True)
class EditedScenes:
    """Edits n, each done to two scenes: pictures and captions before and after, the instruction and its kind."""

    images: Couples
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
    images, told = couples(folder, count, _render_edit)
    kinds = [list(EDITS).index(line["kind"]) for line in told]
    captions = [tuple(map(tuple, line["captions"])) for line in told]
    return EditedScenes(images, captions, [line["instruction"] for line in told], np.array(kinds))


def _render_edit(index: int) -> tuple[Couple, dict]:
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
    captions = [[caption(scene) for scene in couple] for couple in scenes]
    return pictures_of(scenes), {"kind": kind, "instruction": edit.instruction, "captions": captions}


def _draw(kind: str, rng: np.random.Generator) -> tuple[Scene, AppliedEdit] | None:
    """A scene and an edit of it, or none where the scene has no place for that kind."""
    scene = sample_scene(int(rng.integers(1 << 31)))
    try:
        return scene, sample_edit(scene, kind, rng)
    except ValueError:
        return None

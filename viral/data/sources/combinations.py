"""Edits that are kept from training, so that what is measured on them was not learned by heart."""

import hashlib
from typing import Literal

from viral.scenes import Scene, instruction

KEPT_OUT = ("mirror", "splash", "climb")
"""Kinds of edit that the embedded models never train on."""
APART = 4
"""One combination in so many is never trained on."""
Combinations = Literal["all", "train", "apart"]


def is_apart(kind: str, params: dict[str, str], scene: Scene) -> bool:
    """Whether an edit of a scene is kept from training: a function of its words alone, or, where these have only one
    parameter, of its words and the scene's backdrop."""
    words = f"{instruction(kind, params)} {scene.backdrop if len(params) < 2 else ''}"
    return bool(params) and int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) % APART == 0


def is_allowed(combinations: Combinations, kind: str, params: dict[str, str], scene: Scene) -> bool:
    """Whether an edit of a scene is among those asked for."""
    return combinations == "all" or is_apart(kind, params, scene) == (combinations == "apart")

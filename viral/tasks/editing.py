"""Edits: the negative, which is rendered, and those whose pairs come from a corpus or a scene."""

import numpy as np

from viral.tasks.labelled import Labelled
from viral.tasks.task import Rendering, Task, given


def render_negative(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """From a photograph to its negative."""
    return Rendering(labelled.image, 255 - labelled.image)


def render_identity(labelled: Labelled, rng: np.random.Generator) -> Rendering:
    """From a picture to itself: an example that shows no change asks for none."""
    return Rendering(labelled.image, labelled.image)


NEGATIVE = Task(
    "negative", "Negative", render_negative, "psnr", higher_is_better=True, weight=1.5,
    instruction="Invert the colours.",
)  # fmt: skip
STYLE = Task(
    "style", "Style transfer", given, "psnr", higher_is_better=True, needs=("target",), meets="mined", weight=2.0
)
EDIT = Task(
    "edit", "Open-domain edit", given, "psnr", higher_is_better=True, needs=("target", "instruction"), meets="mined",
    weight=2.0,
)  # fmt: skip

"""One question of a protocol and its truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

Image = UInt8[np.ndarray, "_y _x 3"]
Mask = UInt8[np.ndarray, "_y _x"]


@dataclass(frozen=True)
class Case:
    """A picture that is to be changed, how a method may learn in which way, and what it should become.

    Pictures are uint8 RGB. A method answers with a picture of the query's size, or with none.
    """

    case_id: str
    """Unique and stable in its protocol."""
    task: str
    """A task of the registry, or the protocol's own name for a group of columns."""
    source_id: str
    """What intervals resample as one: the photograph, the scene."""
    examples: tuple[tuple[Image, Image], ...]
    """Pairs (A, A'), both of one size; empty for edits told in words."""
    query: Image
    truth: Image | None
    seed: int
    """Of the noise from which models paint: the same for all methods."""
    mask: Mask | None = None
    instruction: str | None = None
    caption: str | None = None
    """Of the output."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What a column or a method needs beside: JSON-able values (style, category, fold, boxes), or uint8 pictures."""

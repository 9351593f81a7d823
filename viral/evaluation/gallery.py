"""Strips of pictures to look at: the example, the query, the answers and the truth side by side."""

import numpy as np
from einops import rearrange
from jaxtyping import UInt8

from viral.data.images import encode_png, pixels_of

PANELS = ("example source", "example target", "query", "before training", "output", "truth")
TOLD = PANELS[2:]
"""Panels of a picture that was edited as told, without an example."""
RANKS = ("best", "median", "worst")


def compose(panels: UInt8[np.ndarray, "p y x 3"]) -> bytes:
    """A PNG of panels from left to right, nothing between them, at their own resolution."""
    return encode_png(rearrange(panels, "p y x c -> y (p x) c"))


def cut(strip: bytes, panels: int = len(PANELS)) -> UInt8[np.ndarray, "p y x 3"]:
    """The panels of a strip made by `compose`, exactly."""
    return rearrange(pixels_of(strip), "y (p x) c -> p y x c", p=panels)


def pick(scores: list[float], higher_is_better: bool) -> dict[str, int]:
    """Positions of the best, the median and the worst score."""
    order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=higher_is_better)
    return dict(zip(RANKS, (order[0], order[len(order) // 2], order[-1]), strict=True))

"""What can be seen to be wrong with a pair without knowing its task: reasons for somebody to look at it."""

import numpy as np

from viral.tasks import Rendering

VISIBLE = 24
"""Difference of a channel, of 255, that counts as a change."""
LEAST_CHANGE = 0.001
"""Share of the pixels that a pair changes at least."""
MOST_OUTSIDE = 0.02
"""Share of the pixels that may change outside the mask."""


def find_doubts(pair: Rendering) -> list[str]:
    """Reasons to doubt a pair, in words; none for most."""
    changed = (np.abs(pair.source.astype(np.int16) - pair.target) >= VISIBLE).any(axis=2)
    doubts = [f"{name} is of one colour" for name in ("source", "target") if _is_flat(getattr(pair, name))]
    if changed.mean() < LEAST_CHANGE:
        doubts.append("source and target hardly differ")
    if pair.mask is not None:
        masked = pair.mask > 0
        if not masked.any():
            doubts.append("mask is empty")
        elif (changed & ~masked).mean() > MOST_OUTSIDE:
            doubts.append("changes outside its mask")
    return doubts


def _is_flat(image: np.ndarray) -> bool:
    return int(np.ptp(image.reshape(-1, 3), axis=0).max()) < VISIBLE

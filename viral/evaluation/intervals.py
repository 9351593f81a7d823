"""Paired bootstrap intervals: how sure a difference between two methods on the same crops is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference with its 95 % interval; above zero throughout means better."""

    mean: float
    low: float
    high: float


def paired_interval(differences: Float[np.ndarray, " n"], samples: int, seed: int) -> Interval:
    """Percentile bootstrap of the mean of paired differences, one per crop.

    The crop is the unit that is resampled, with all its methods together. Crops of one photograph resemble each
    other, so the interval speaks about more crops of these photographs rather than about photographs at large.
    """
    if len(differences) == 0:
        raise ValueError("a paired interval needs at least one difference, got none")
    rng = np.random.default_rng(seed)
    means = differences[rng.integers(len(differences), size=(samples, len(differences)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(differences.mean()), float(low), float(high))

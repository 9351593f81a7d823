"""Bootstrap intervals: how sure a mean is, or a difference between two methods on the same crops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; that of a difference above zero throughout means better."""

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


def grouped_interval(values: Float[np.ndarray, " n"], groups: Sequence[str], samples: int, seed: int) -> Interval:
    """Percentile bootstrap of the mean over values whose groups are resampled whole: cases of one photograph stay
    together, so the interval speaks about other photographs.

    `groups` names the group of each value. Given paired differences it tells how sure these are.
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one value, got none")
    names, which = np.unique(np.array(groups), return_inverse=True)
    totals, counts = np.bincount(which, values), np.bincount(which)
    drawn = np.random.default_rng(seed).integers(len(names), size=(samples, len(names)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values.mean()), float(low), float(high))

"""How often mined quadruplets truly share the edit, where the edits are known: against chance, pixels, no training."""

import json
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from viral.data.mining import Candidates, Vectors, each_once, find_candidates, first_of_each, mine, passes
from viral.data_config import MiningConfig
from viral.evaluation.intervals import Interval, paired_interval

BAR = 3.0
"""Times the precision of random pairing that mining has to reach."""
ALIKE = (0.7, 0.8, 0.9, 0.95, 1.0)
WORDS = (-1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Thresholds of the sweep."""
ALL = {"most_alike": 2.0, "least_words": -2.0, "least_crossed": -2.0}
"""Filters that keep everything."""


@dataclass(frozen=True)
class Truth:
    """The edit of every pair and its kind, as numbers."""

    edits: Int[np.ndarray, " n"]
    kinds: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, groups: list[str | None]) -> "Truth":
        """From the group column of scenes' pairs, JSON of [kind, parameters]; `ValueError` where edits are unknown."""
        if None in groups:
            raise ValueError(
                "precision needs pairs whose edits are known, and some have no group; take pairs of scenes"
            )
        kinds = [json.loads(group)[0] for group in groups]
        return cls(*(np.unique(names, return_inverse=True)[1] for names in (groups, kinds)))


def share_of_others(labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """For each pair, the share of the others with its label: what pairing it at random finds."""
    return (np.bincount(labels)[labels] - 1) / (len(labels) - 1)


@dataclass(frozen=True)
class Precision:
    """Shares of quadruplets whose two edits agree, of one way to find them."""

    method: str
    quadruplets: int
    edit: float
    """The same kind with the same parameters."""
    kind: float
    beyond: Interval
    """Hits less `BAR` times those of random pairing, a quadruplet; above zero throughout: the bar is cleared."""
    times: Interval
    """Precision over that of random pairing."""


def precision(method: str, found: Candidates, truth: Truth, samples: int, seed: int = 0) -> Precision:
    """How often both pairs of the candidates share the edit; `ValueError` where there is no candidate."""
    a, b = found.a.numpy(), found.b.numpy()
    if not len(a):
        raise ValueError(f"{method} found no quadruplet; loosen the filters of mining")
    hits, chance = (truth.edits[a] == truth.edits[b]).astype(float), share_of_others(truth.edits)[a]
    kind = float((truth.kinds[a] == truth.kinds[b]).mean())
    beyond = paired_interval(hits - BAR * chance, samples, seed)
    return Precision(method, len(a), float(hits.mean()), kind, beyond, _ratio(hits, chance, samples, seed))


def _ratio(hits: Float[np.ndarray, " n"], chance: Float[np.ndarray, " n"], samples: int, seed: int) -> Interval:
    """Mean of hits over mean of chances, with its percentile bootstrap over quadruplets."""
    drawn = np.random.default_rng(seed).integers(len(hits), size=(samples, len(hits)))
    ratios = hits[drawn].mean(1) / np.maximum(chance[drawn].mean(1), 1e-12)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(float(hits.mean() / max(chance.mean(), 1e-12)), float(low), float(high))


def compare_methods(
    spaces: dict[str, Vectors], mined: str, truth: Truth, config: MiningConfig, samples: int, seed: int
) -> list[Precision]:
    """Precision of the nearest neighbour in every space without filters, and of mining as configured in one."""
    rows = [at_random(truth)]
    alone = config.model_copy(update={**ALL, "neighbours": 1})
    for name, vectors in spaces.items():
        found = each_once(first_of_each(find_candidates(vectors, alone, seed)))
        rows.append(precision(f"nearest step, {name}", found, truth, samples))
    rows.append(precision(f"mined: with the filters, {mined}", mine(spaces[mined], config, seed), truth, samples))
    return rows


def at_random(truth: Truth) -> Precision:
    """What pairing at random finds, exactly: over all couples of pairs."""
    edit, kind = (float(share_of_others(labels).mean()) for labels in (truth.edits, truth.kinds))
    times = Interval(1.0, 1.0, 1.0)
    below = Interval(edit - BAR * edit, edit - BAR * edit, edit - BAR * edit)
    return Precision(
        "random pairing, all couples", len(truth.edits) * (len(truth.edits) - 1) // 2, edit, kind, below, times
    )


def sweep(vectors: Vectors, truth: Truth, config: MiningConfig, seed: int) -> list[dict[str, float]]:
    """Precision and number of quadruplets at every couple of thresholds, the third filter as configured."""
    found, rows = find_candidates(vectors, config, seed), []
    for alike in ALIKE:
        for words in WORDS:
            limits = config.model_copy(update={"most_alike": alike, "least_words": words})
            kept = each_once(first_of_each(found.where(passes(found, limits))))
            rows.append({"most_alike": alike, "least_words": words, **_shares(kept, truth)})
    return rows


def _shares(kept: Candidates, truth: Truth) -> dict[str, float]:
    a, b = kept.a.numpy(), kept.b.numpy()
    same = {"edit": truth.edits[a] == truth.edits[b], "kind": truth.kinds[a] == truth.kinds[b]}
    return {
        "quadruplets": float(len(a)),
        **{name: float(hits.mean()) if len(a) else float("nan") for name, hits in same.items()},
    }


def by_kind(found: Candidates, groups: list[str], truth: Truth) -> dict[str, tuple[int, float]]:
    """Of every kind of edit, how many quadruplets start from it and how many of them share the edit."""
    a, b = found.a.numpy(), found.b.numpy()
    hits, names = truth.edits[a] == truth.edits[b], np.array([json.loads(group)[0] for group in groups])[a]
    return {str(name): (int((names == name).sum()), float(hits[names == name].mean())) for name in np.unique(names)}


def among(found: Candidates, marked: Bool[np.ndarray, " n"]) -> Candidates:
    """The candidates whose first pair is marked."""
    return found.where(torch.from_numpy(marked)[found.a])


def unrelated(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Stands for the words in a space that has none."""
    return torch.zeros_like(vectors)

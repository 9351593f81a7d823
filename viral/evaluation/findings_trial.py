"""One trial of an arm: what it scored on every case and what it cost, as a file; and how trials are compared."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from viral.evaluation.intervals import CONFIDENCE, Interval
from viral.evaluation.protocols.proof_error import CaseError
from viral.storage import Storage

TRIAL = "trial.json"
SAMPLES = 2000
"""Bootstrap resamples."""


class Trial(BaseModel):
    """One training of an arm, or one round of asking."""

    model_config = ConfigDict(frozen=True)

    arm: str
    seed: int
    key: str
    """What it was made from, as a fingerprint."""
    errors: dict[str, CaseError]
    """The relative error of every case: 0 is what the VAE itself loses, 1 the best answer that costs nothing."""
    figures: dict[str, float] = {}
    """What it cost, and what else was counted, by name."""

    def keep(self, place: Storage) -> "Trial":
        """Write it, the last thing of a trial."""
        place.write(TRIAL, self.model_dump_json(indent=1).encode())
        return self


def find_trial(place: Storage, key: str) -> Trial | None:
    """The finished trial at a place, if it was made from the same."""
    if not place.exists(TRIAL):
        return None
    trial = Trial.model_validate_json(place.read(TRIAL))
    return trial if trial.key == key else None


def mean_error(trials: Sequence[Trial], tasks: Sequence[str] = ()) -> Interval:
    """The mean relative error over cases and trials; seeds and sources are resampled, whole."""
    return _interval([_of_tasks(trial.errors, tasks) for trial in trials])


def difference(trials: Sequence[Trial], others: Sequence[Trial], tasks: Sequence[str] = ()) -> Interval:
    """By how much `others` err more, on the cases of both, seed by seed."""
    by_seed = {trial.seed: trial for trial in trials}
    pairs = [(by_seed[other.seed].errors, other.errors) for other in others if other.seed in by_seed]
    return _interval([_of_tasks(_subtracted(one, other), tasks) for one, other in pairs])


def _subtracted(one: Mapping[str, CaseError], other: Mapping[str, CaseError]) -> dict[str, CaseError]:
    shared = sorted(one.keys() & other.keys())
    return {c: CaseError(one[c].source_id, one[c].column, other[c].error - one[c].error) for c in shared}


def _of_tasks(errors: Mapping[str, CaseError], tasks: Sequence[str]) -> dict[str, CaseError]:
    return {case: e for case, e in errors.items() if not tasks or e.column.partition("/")[0] in tasks}


def _interval(errors: Sequence[Mapping[str, CaseError]], seed: int = 0) -> Interval:
    """Percentile bootstrap over seeds and sources, of cases that all seeds have."""
    shared = sorted(set.intersection(*map(set, errors))) if errors else []
    if not shared:
        raise ValueError("the trials have no case in common, so nothing is compared; run them with one configuration")
    _, which = np.unique([errors[0][case].source_id for case in shared], return_inverse=True)
    totals = np.array([np.bincount(which, [one[case].error for case in shared]) for one in errors])
    counts, rng = np.bincount(which), np.random.default_rng(seed)
    means = [_drawn(totals, counts, rng) for _ in range(SAMPLES)]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(totals.sum() / (len(errors) * counts.sum())), float(low), float(high))


def _drawn(totals: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> float:
    seeds, sources = (rng.integers(count, size=count) for count in totals.shape)
    return float(totals[seeds][:, sources].sum() / (len(seeds) * counts[sources].sum()))

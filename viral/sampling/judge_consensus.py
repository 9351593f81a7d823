"""The consensus judge: which candidate do the others resemble most?"""

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from viral.sampling.judges import Candidate, JudgeError, Request, Verdict


class ConsensusJudge:
    """Ours: the medoid. Score: minus the mean distance |x_i - x_j| of a candidate's clean latents to the others'.

    Where the model is unsure, its samples scatter around what it believes; the one in their middle has the least
    expected error under that belief (minimum Bayes risk, with the samples for the belief). It needs neither examples
    nor words, evaluates nothing and decodes nothing.
    """

    name = "consensus"

    def __init__(self) -> None:
        self._distances: WeakKeyDictionary[Candidate, float] = WeakKeyDictionary()

    def meet(self, field: Sequence[Candidate]) -> None:
        """Measure all candidates of a request; `ValueError` for one that comes without its latents."""
        latents = [candidate.latents for candidate in field if candidate.latents is not None]
        if len(latents) < len(field):
            raise ValueError("the consensus judge compares latents, and a candidate has none; use another judge")
        places = torch.cat(latents).flatten(1).float()
        for candidate, distance in zip(field, torch.cdist(places, places).mean(1).tolist(), strict=True):
            self._distances[candidate] = distance

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        """The one in the middle of those that met; equal distances tie."""
        one, other = self._distances[first], self._distances[second]
        if not math.isfinite(one + other):
            raise JudgeError(f"{self.name} measured {one} and {other}; latents or weights are damaged")
        choice = "first" if one < other else "second" if other < one else "tie"
        return Verdict(choice, reason=f"{self.name}: {one:.6g} and {other:.6g} from the others")

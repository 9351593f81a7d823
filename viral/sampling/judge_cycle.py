"""The cycle judge: does (B, candidate B') explain, as an example, how A became the A' that we know?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import reduce, repeat
from jaxtyping import Float
from PIL.Image import Image

from viral import flow
from viral.model.tokens import Context, Latents
from viral.model.velocity import Velocity
from viral.sampling.denoise import start_noise
from viral.sampling.judges import Candidate, Request, ScoringJudge

TIMES = (0.2, 0.25, 0.35, 0.4)
"""Where the loss is taken (ours): on the small base, times above 0.5 ranked candidates no better than chance."""


@dataclass(frozen=True)
class Encoded:
    """A request in latents."""

    pairs: list[tuple[Context, Context]]
    query: Context


class CycleJudge(ScoringJudge[Encoded]):
    """Ours: the analogy must hold both ways. Score: minus the flow loss of A' given (B, B') as example and A as query.

    For noises e_i and times t_i, the same for all candidates, and v the model's velocity,
    score = -mean_i |v((1 - t_i) A' + t_i e_i; B, B', A) - (e_i - A')|^2, averaged over the example pairs: one batch of
    len(times) evaluations a pair and candidate, nothing decoded when the candidate comes with its latents.
    """

    name = "cycle"

    def __init__(
        self,
        encode: Callable[[Image], Latents],
        velocity: Callable[[list[Context], tuple[int, int]], Velocity],
        times: tuple[float, ...] = TIMES,
        seed: int = 0,
    ) -> None:
        """`velocity(context, grid)` is the model's with context images [example, edited example, query]."""
        super().__init__()
        self.encode, self.velocity, self.times, self.seed = encode, velocity, times, seed

    def prepare(self, request: Request) -> Encoded:
        """The request's images in latents; `ValueError` without an example pair."""
        if not request.examples:
            raise ValueError("the cycle judge needs an example pair, got none; use a vision-language judge")
        pairs = [(self.encode(a), self.encode(a2)) for a, a2 in request.examples]
        return Encoded(pairs, self.encode(request.query))

    def measure(self, known: Encoded, candidate: Candidate) -> float:
        """Minus the mean loss over times, noises and pairs."""
        edited = self.encode(candidate.image) if candidate.latents is None else candidate.latents
        losses = [self._loss(known.query, edited, a, a2) for a, a2 in known.pairs]
        return -torch.stack(losses).mean().item()

    def _loss(self, b: Context, b2: Context, a: Context, a2: Latents) -> Float[torch.Tensor, ""]:
        problem = self.velocity([b, b2, a], (a2.shape[2], a2.shape[3]))
        t = torch.tensor(self.times, device=a2.device)
        noise = start_noise([self.seed + i for i in range(len(t))], problem.shape).to(a2.device)
        target = repeat(a2.float(), "1 z h w -> b z h w", b=len(t))
        predicted = problem(flow.interpolate(target, noise, t), t).float()
        return reduce((predicted - flow.velocity(target, noise)).square(), "b z h w -> ", "mean")

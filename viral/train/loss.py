"""The training objective: match the flow's velocity at random times, and use the experts alike."""

from dataclasses import dataclass

from diffusers import QwenImageTransformer2DModel
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from viral import flow
from viral.model.adapter import balance_loss, expert_use
from viral.model.roles import ANALOGY
from viral.model.velocity import ContextMode, predict_velocity
from viral.train.sampler import Batch

GENTLEST = 0.02
"""Added to an edit's mean square distance in latents, whose variance is of the order of 1."""


@dataclass(frozen=True)
class Losses:
    """What one forward pass came to; only `total` carries a gradient."""

    total: Float[Tensor, ""]
    """What is minimised: the flow's error, weighed or not, and the balance."""
    flow: Float[Tensor, ""]
    balance: Float[Tensor, ""]
    per_sample: Float[Tensor, " b"]
    expert_use: Float[Tensor, " e"]
    """Share of the tokens that each expert got, mean over layers."""


def flow_loss(
    transformer: QwenImageTransformer2DModel,
    batch: Batch,
    balance_weight: float,
    weigh_edits: bool,
    mode: ContextMode = "full",
) -> Losses:
    """Flow matching on the target B' given A, A' and B, plus `balance_weight` times the routers' balance (eq. 11).

    A sample's error is the mean over its noises. With `weigh_edits` it counts `edit_weight` times.
    """
    dtype, count = transformer.img_in.weight.dtype, len(batch.t) // len(batch.target)
    target = batch.target.repeat_interleave(count, 0)
    noisy = flow.interpolate(target, batch.noise, batch.t).to(dtype)
    context = [image.to(dtype) for image in (batch.example_source, batch.example_target, batch.query)]
    predicted = predict_velocity(transformer, noisy, context, ANALOGY, batch.t, batch.text.to(dtype), mode=mode)
    # The error is taken in float32 whatever the base computes in: small differences of large velocities.
    error = (predicted.float() - flow.velocity(target, batch.noise)).square()
    per_sample = reduce(reduce(error, "n z h w -> n", "mean"), "(b k) -> b", "mean", k=count)
    balance = balance_loss(transformer)
    matched = per_sample.mean()
    counted = (edit_weight(batch.query, batch.target) * per_sample).mean() if weigh_edits else matched
    return Losses(
        counted + balance_weight * balance,
        matched.detach(),
        balance.detach(),
        per_sample.detach(),
        expert_use(transformer).mean(0),
    )


def edit_weight(query: Float[Tensor, "b z h w"], target: Float[Tensor, "b z h w"]) -> Float[Tensor, " b"]:
    """What a sample's error counts: the inverse of how far, root mean square, the edit moves the latents.

    Removing a watermark changes little and drawing edges everything, so their plain errors differ twentyfold, and
    the gentle edits would be learnt last. `GENTLEST` bounds the weight of an edit that changes nothing.
    """
    distance = reduce((target - query).square(), "b z h w -> b", "mean")
    return (distance + GENTLEST).rsqrt()


class Objective(nn.Module):
    """The loss as a module of a batch, since engines like DeepSpeed's hang their work on a module's forward."""

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        balance_weight: float,
        weigh_edits: bool = False,
        mode: ContextMode = "full",
    ) -> None:
        super().__init__()
        self.transformer, self.balance_weight = transformer, balance_weight
        self.weigh_edits, self.mode = weigh_edits, mode

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """The fields of `Losses`; a plain tuple, which is what DeepSpeed's hooks look through."""
        losses = flow_loss(self.transformer, batch, self.balance_weight, self.weigh_edits, self.mode)
        return tuple(vars(losses).values())

"""The training objective: match the flow's velocity at random times, and use the experts alike."""

from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from viral import flow
from viral.config import RunConfig
from viral.model.adapter import balance_loss, expert_use
from viral.model.flux import FluxText
from viral.model.flux_fill import fill_right
from viral.model.roles import ANALOGY, trained_roles
from viral.model.tokens import Latents
from viral.model.velocity import ContextMode, predict_velocity
from viral.sampling.diptych import left_half, right_half
from viral.train.batch import AnyBatch, Batch, DiptychBatch

GENTLEST = 0.02
"""Added to an edit's mean square distance in latents, whose variance is of the order of 1."""
GUIDANCE = 1.0
"""FLUX's distilled guidance while it is trained (ICEdit's code); painting asks for more."""
Transformer = QwenImageTransformer2DModel | FluxTransformer2DModel


@dataclass(frozen=True)
class Losses:
    """What one forward pass came to; only `total` carries a gradient."""

    total: Float[Tensor, ""]
    """What is minimised: the flow's error, weighed or not, and the balance."""
    flow: Float[Tensor, ""]
    balance: Float[Tensor, ""]
    per_sample: Float[Tensor, " b"]
    expert_use: Float[Tensor, "layers e"]
    """Share of the tokens that each expert of each layer got."""


@dataclass(frozen=True)
class Weighting:
    """What counts how much in the loss."""

    balance: float
    """Of the routers' balance (VIRAL's eq. 11)."""
    edits: bool = False
    """Whether a sample counts `edit_weight` times."""
    times: str = "none"
    """Whether a noise counts `flow.bell` of its time times."""
    right: bool = False
    """Whether only the right half of a diptych counts."""
    siblings: float = 0.0
    """Of the error of the difference between siblings."""

    @classmethod
    def of(cls, config: RunConfig) -> "Weighting":
        """That of a configuration."""
        train = config.train
        return cls(
            config.adapter.balance_weight,
            train.weigh_edits,
            train.time_weighting,
            train.loss_on == "right",
            train.siblings,
        )


def flow_loss(
    transformer: Transformer,
    batch: AnyBatch,
    weighting: Weighting,
    mode: ContextMode = "full",
    roles: tuple[int, ...] = ANALOGY,
) -> Losses:
    """Flow matching on the target given its conditions, plus the routers' balance.

    The target of an analogy is B' given A, A' and B; that of a diptych is the whole canvas given its left half and the
    instruction, so that all tokens count, as in ICEdit's code, unless the weighting says otherwise. A sample's error
    is the mean over its noises.
    """
    count = len(batch.t) // len(batch.target)
    target = batch.target.repeat_interleave(count, 0)
    noisy = flow.interpolate(target, batch.noise, batch.t)
    if isinstance(batch, Batch):
        predicted = predict_analogies(transformer, batch, noisy, mode, roles)
    else:
        predicted = predict_diptychs(transformer, batch, noisy)
    # The error is taken in float32 whatever the base computes in: small differences of large velocities.
    error = (predicted.float() - flow.velocity(target, batch.noise)).square()
    if weighting.right:
        error = right_half(error)
    per_noise = reduce(error, "n z h w -> n", "mean")
    per_sample = reduce(per_noise, "(b k) -> b", "mean", k=count)
    balance = balance_loss(transformer)
    matched = per_sample.mean()
    counted = _counted(batch, weighting, per_noise, count) if weighting.edits or weighting.times != "none" else matched
    if weighting.siblings and isinstance(batch, Batch) and batch.siblings:
        counted = counted + weighting.siblings * _sibling_error(batch, predicted.float(), count)
    return Losses(
        counted + weighting.balance * balance,
        matched.detach(),
        balance.detach(),
        per_sample.detach(),
        expert_use(transformer),
    )


def predict_analogies(
    transformer: QwenImageTransformer2DModel,
    batch: Batch,
    noisy: Latents,
    mode: ContextMode,
    roles: tuple[int, ...] = ANALOGY,
) -> Latents:
    """Velocity of noisy targets B', each beside its A, A' and B."""
    dtype = transformer.img_in.weight.dtype
    context = [image.to(dtype) for image in (batch.example_source, batch.example_target, batch.query)]
    text = batch.text.to(dtype)
    return predict_velocity(
        transformer, noisy.to(dtype), context, roles, batch.t, text, text_mask=batch.text_mask, mode=mode
    )


def predict_diptychs(transformer: FluxTransformer2DModel, batch: DiptychBatch, noisy: Latents) -> Latents:
    """Velocity of noisy canvases whose right half is to be painted."""
    text = FluxText(batch.text, batch.pooled)
    return fill_right(transformer, batch.masked, text, GUIDANCE)(noisy, batch.t)


def _counted(batch: AnyBatch, weighting: Weighting, per_noise: Float[Tensor, " m"], count: int) -> Float[Tensor, ""]:
    """Mean error with each noise and each sample counted as often as the weighting says."""
    if weighting.times == "bell":
        per_noise = per_noise * flow.bell(batch.t)
    per_sample = reduce(per_noise, "(b k) -> b", "mean", k=count)
    if weighting.edits:
        query, target = (batch.query, batch.target) if isinstance(batch, Batch) else _halves(batch)
        per_sample = edit_weight(query, target) * per_sample
    return per_sample.mean()


def _sibling_error(batch: Batch, predicted: Latents, count: int) -> Float[Tensor, ""]:
    """How far the difference of two predictions is from that of the truths, per sample of the batch.

    Two samples of one query, noise and time share all but what the example says, so that what no example could tell
    is in neither difference. It counts the inverse of how far apart the truths are, as in `edit_weight`.
    """
    predicted = rearrange(predicted, "(b k) z h w -> b k z h w", k=count)
    younger = torch.tensor(batch.siblings, device=predicted.device)
    truth = batch.target[younger - 1] - batch.target[younger]  # velocity: noise - target
    error = reduce((predicted[younger] - predicted[younger - 1] - truth[:, None]).square(), "b k z h w -> b", "mean")
    return (edit_weight(batch.target[younger], batch.target[younger - 1]) * error).sum() / len(batch.target)


def _halves(batch: DiptychBatch) -> tuple[Latents, Latents]:
    return left_half(batch.target), right_half(batch.target)


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
        transformer: Transformer,
        weighting: Weighting,
        mode: ContextMode = "full",
        roles: tuple[int, ...] = ANALOGY,
    ) -> None:
        super().__init__()
        self.transformer, self.weighting, self.mode, self.roles = transformer, weighting, mode, roles

    @classmethod
    def of(cls, config: RunConfig, transformer: Transformer) -> "Objective":
        """That of a configuration."""
        train = config.train
        return cls(transformer, Weighting.of(config), train.context, trained_roles(train.roles))

    def forward(self, batch: AnyBatch) -> tuple[Tensor, ...]:
        """The fields of `Losses`; a plain tuple, which is what DeepSpeed's hooks look through."""
        return tuple(vars(flow_loss(self.transformer, batch, self.weighting, self.mode, self.roles)).values())

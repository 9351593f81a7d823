"""C10-C11: one training step with activation checkpointing, and several targets of one context."""

from collections.abc import Callable

import torch
from stock import SIZES, Edit, StockVelocity, random_edit, stationary_mask
from timing import LONG, Peer, Race, Result
from torch import Tensor

from viral.config import AdapterConfig
from viral.model.adapter import adapter_parameters, add_adapter
from viral.model.roles import ANALOGY
from viral.model.tokens import pack, unpack
from viral.model.velocity import predict_velocity

TARGETS, SIDE, LONGER = 4, 14, 20
BY_MASK = "gradients against diffusers under a dense mask"


class Training:
    """One adapter, plain LoRA by peft, on one checkpointed transformer: what differs is the forward pass."""

    def __init__(self, side: int) -> None:
        self.edit: Edit = random_edit(side)
        self.transformer, self.stock = self.edit.transformer, StockVelocity(self.edit)
        add_adapter(self.transformer, AdapterConfig(rank=16, alpha=16, expert_targets=()), seed=0)
        self.transformer.enable_gradient_checkpointing()
        self.parameters = adapter_parameters(self.transformer)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in self.parameters.values():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=0.0)  # the weights stay, so that runs compare
        self.noisy, self.goal = (self.edit.noise(*range(first, first + TARGETS)) for first in (1, 11))
        self.t = torch.linspace(0.2, 0.9, TARGETS)

    def step(self, passes: list[Callable[[], Tensor]]) -> Result:
        """Gradients of the sum of the losses, after an optimizer's step."""
        self.optimizer.zero_grad()
        for loss in passes:
            loss().backward()
        gradients = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        self.optimizer.step()
        return gradients

    def ours(self, first: int, last: int) -> Callable[[], Tensor]:
        """Loss of some targets in one pass with their context."""
        noisy, goal, t = (x[first:last] for x in (self.noisy, self.goal, self.t))

        def loss() -> Tensor:
            v = predict_velocity(
                self.transformer, noisy, self.edit.context, ANALOGY, t, self.edit.text, mode="stationary"
            )
            return (v - goal).square().sum()

        return loss

    def theirs(self, i: int) -> Callable[[], Tensor]:
        """Loss of one target by diffusers' forward."""

        def loss() -> Tensor:
            v = unpack(self.stock(pack(self.noisy[i : i + 1]), self.t[i : i + 1]), *self.noisy.shape[2:])
            return (v - self.goal[i : i + 1]).square().sum()

        return loss

    def masked(self, passes: list[Callable[[], Tensor]]) -> Result:
        with stationary_mask(self.edit):
            return self.step(passes)


def step() -> Race:
    """C10: the same step under a dense mask, and diffusers' own without one, which computes something else."""
    training = Training(LONGER)
    stock = [training.theirs(0)]
    masked = lambda: training.masked(stock)
    name = "diffusers, peft and torch checkpointing"
    peers = (
        Peer("C10", f"{name}, dense mask", 1.15, 1.3, masked, None, 1e-4),
        Peer("C10.full", f"{name}, full attention", 1.0, 1.3, lambda: training.step(stock), masked, 1e-4,
             beside=BY_MASK),
    )  # fmt: skip
    ours = lambda: training.step([training.ours(0, 1)])
    return Race(f"one training step, stationary context, {LONGER**2} tokens an image, {SIZES}", ours, peers)


def targets() -> Race:
    """C11: K targets in one pass with their context, against a pass each: diffusers' and ours."""
    training = Training(SIDE)
    stock = [training.theirs(i) for i in range(TARGETS)]
    masked = lambda: training.masked(stock)
    alone = [training.ours(i, i + 1) for i in range(TARGETS)]
    peers = (
        Peer("C11", f"{TARGETS} separate steps of diffusers and peft, full attention", 2.0, 2.43,
             lambda: training.step(stock), masked, 1e-4, beside=BY_MASK),
        Peer("C11.ours", f"{TARGETS} separate passes of ours", 2.0, 2.17, lambda: training.step(alone), None, 1e-4),
    )  # fmt: skip
    ours = lambda: training.step([training.ours(0, TARGETS)])
    return Race(f"K={TARGETS} noisy targets of one context, {SIDE**2} tokens an image, {SIZES}", ours, peers, LONG)

"""Rectified flow as pure functions: the path, its velocity and the training law of t."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def interpolate(
    x0: Float[Tensor, "b *n"], noise: Float[Tensor, "b *n"], t: Float[Tensor, " b"]
) -> Float[Tensor, "b *n"]:
    """Point at time t on the straight path from data (t=0) to noise (t=1): x_t = (1 - t) x0 + t noise."""
    t = t.view(-1, *[1] * (x0.ndim - 1))
    return (1 - t) * x0 + t * noise


def velocity(x0: Float[Tensor, "b *n"], noise: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
    """dx_t/dt along the path, what the model predicts: noise - x0."""
    return noise - x0


def data_estimate(
    x_t: Float[Tensor, "b *n"], v: Float[Tensor, "b *n"], t: Float[Tensor, " b"]
) -> Float[Tensor, "b *n"]:
    """The clean point that velocity `v` at time t leads to: x0 = x_t - t v."""
    return x_t - t.view(-1, *[1] * (x_t.ndim - 1)) * v


def logit_normal(count: int, generator: torch.Generator, shift: float = 1.0) -> Float[Tensor, " count"]:
    """Training times in (0, 1): sigmoid of a standard normal, moved towards noise by `shift` > 1 (SD3, eq. 19, 23)."""
    return _shifted(torch.sigmoid(torch.randn(count, generator=generator)), shift)


def uniform(count: int, generator: torch.Generator, shift: float = 1.0) -> Float[Tensor, " count"]:
    """Training times in (0, 1), all alike before the same shift."""
    return _shifted(torch.rand(count, generator=generator).clamp(1e-6, 1 - 1e-6), shift)


def bell(t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """What the error at time t counts: exp(-2 (t - 1/2)^2) less its value at the ends; 1 on average over all times."""
    edge = math.exp(-0.5)
    area = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - edge
    return (torch.exp(-2 * (t - 0.5) ** 2) - edge) / area


def _shifted(t: Float[Tensor, " count"], shift: float) -> Float[Tensor, " count"]:
    return shift * t / (1 + (shift - 1) * t)

"""The denoise loop: from noise to latents along the scheduler's steps."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift
from jaxtyping import Float
from torch import Tensor

from viral.model.velocity import Velocity


def start_noise(seeds: list[int], shape: tuple[int, int, int]) -> Float[Tensor, "b z h w"]:
    """Standard normal noise, one image per seed, the same whatever batch the seed stands in."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def schedule(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, tokens: int) -> FlowMatchEulerDiscreteScheduler:
    """A copy of the scheduler set to `steps`, shifted for a target of `tokens` tokens, as diffusers' pipelines do."""
    own, config = copy.deepcopy(scheduler), scheduler.config
    mu = calculate_shift(
        tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    if steps == 1:
        # Stretching a single sigma to the terminal one divides nought by nought in diffusers.
        own.register_to_config(shift_terminal=None)
    own.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return own


@torch.no_grad()
def denoise(
    velocity: Velocity,
    scheduler: FlowMatchEulerDiscreteScheduler,
    noise: Float[Tensor, "b z h w"],
    steps: int,
    *,
    start: int = 0,
    stop: int | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "b z h w"]:
    """Latents after the steps `start` to `stop` (all by default) of a schedule of `steps`, in float32.

    `noise` holds what step `start` begins from. `on_step(i, latents)` is called after step i; whatever it raises ends
    the loop, which is how a caller cancels. Raises `ValueError` for steps that do not exist and noise of another shape.
    """
    stop = steps if stop is None else stop
    if not 0 <= start < stop <= steps:
        raise ValueError(f"steps {start} to {stop} do not lie in a schedule of {steps}; use 0 <= start < stop <= steps")
    if tuple(noise.shape[1:]) != velocity.shape:
        raise ValueError(
            f"noise has latents of {tuple(noise.shape[1:])}, expected {velocity.shape}; make it with start_noise"
        )
    own = schedule(scheduler, steps, (velocity.shape[1] // 2) * (velocity.shape[2] // 2))
    own.set_begin_index(start)
    latents = noise.float()
    for i in range(start, stop):
        t = (own.timesteps[i] / scheduler.config.num_train_timesteps).expand(len(latents)).to(latents)
        latents = own.step(velocity(latents, t).to(latents), own.timesteps[i], latents, return_dict=False)[0]
        if on_step is not None:
            on_step(i, latents)
    return latents

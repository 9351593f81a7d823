"""The denoise loop: from noise to latents along the scheduler's steps."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_shift
from jaxtyping import Float
from torch import Tensor

from viral.model.velocity import Context, predict_velocity


def start_noise(seeds: list[int], shape: tuple[int, int, int]) -> Float[Tensor, "b z h w"]:
    """Standard normal noise, one image per seed, the same whatever batch the seed stands in."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def timesteps(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, tokens: int) -> FlowMatchEulerDiscreteScheduler:
    """A copy of the scheduler set to `steps`, shifted for a target of `tokens` tokens, as the edit pipeline does."""
    own, config = copy.deepcopy(scheduler), scheduler.config
    mu = calculate_shift(
        tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    own.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    own.set_begin_index(0)
    return own


@torch.no_grad()
def denoise(
    transformer: QwenImageTransformer2DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    context: list[Context],
    roles: tuple[int, ...],
    text: Float[Tensor, "#b n d"],
    seeds: list[int],
    steps: int,
    grid: tuple[int, int] | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "b z h w"]:
    """Latents painted beside the context images, one per seed.

    `grid` is the target's latent height and width, that of the last context image by default. `on_step(i, latents)`
    is called after each step; whatever it raises ends the loop, which is how a caller cancels.
    """
    channels, height, width = context[-1].shape[1:]
    height, width = grid or (height, width)
    weight = transformer.proj_out.weight
    latents = start_noise(seeds, (channels, height, width)).to(weight.device)
    schedule = timesteps(scheduler, steps, (height // 2) * (width // 2))
    for i, timestep in enumerate(schedule.timesteps):
        t = (timestep / scheduler.config.num_train_timesteps).expand(len(seeds)).to(weight.device, weight.dtype)
        v = predict_velocity(transformer, latents.to(weight.dtype), context, roles, t, text)
        latents = schedule.step(v.float(), timestep, latents, return_dict=False)[0]
        if on_step is not None:
            on_step(i, latents)
    return latents.to(weight.dtype)

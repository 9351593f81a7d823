"""Small random transformers of both backbones, and what they answer to one fixed input."""

from collections.abc import Callable

import pytest
import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from torch import Tensor, nn

from viral.config import AdapterConfig

SMALL = AdapterConfig(rank=4, alpha=8, expert_rank=3, expert_alpha=6)
QWEN = {
    "in_channels": 16, "out_channels": 4, "num_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
    "joint_attention_dim": 24, "axes_dims_rope": (4, 6, 6), "zero_cond_t": True,
}  # fmt: skip
FLUX = {
    "in_channels": 16, "out_channels": 4, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": 24, "pooled_projection_dim": 12, "axes_dims_rope": (4, 6, 6),
    "guidance_embeds": True,
}  # fmt: skip


def build_qwen(**changes: object) -> QwenImageTransformer2DModel:
    torch.manual_seed(0)
    return QwenImageTransformer2DModel(**{**QWEN, **changes}).eval()


def build_flux(**changes: object) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(**{**FLUX, **changes}).eval()


def answer(transformer: nn.Module) -> Tensor:
    """Output on fixed tokens of two images, or of one for Flux, with text."""
    generator = torch.Generator().manual_seed(5)
    tokens, text = torch.randn(2, 18, 16, generator=generator), torch.randn(2, 5, 24, generator=generator)
    shared = {"hidden_states": tokens, "encoder_hidden_states": text, "timestep": torch.tensor([0.3, 0.8])}
    if isinstance(transformer, QwenImageTransformer2DModel):
        return transformer(**shared, img_shapes=[[(1, 3, 3), (1, 3, 3)]] * 2, return_dict=False)[0]
    grid = torch.cartesian_prod(torch.zeros(1), torch.arange(3.0), torch.arange(6.0))
    pooled = torch.randn(2, 12, generator=generator)
    return transformer(
        **shared, pooled_projections=pooled, img_ids=grid, txt_ids=torch.zeros(5, 3), guidance=torch.full((2,), 30.0),
        return_dict=False,
    )[0]  # fmt: skip


def shake(transformer: nn.Module, seed: int = 1) -> nn.Module:
    """Random values in everything that is trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return transformer


@pytest.fixture(scope="session")
def small() -> AdapterConfig:
    """A small adapter with four experts, two of them used."""
    return SMALL


@pytest.fixture(params=[build_qwen, build_flux], ids=["qwen", "flux"])
def build(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    """Makes a two-block transformer, each time the same; the test runs for both backbones."""
    return request.param


@pytest.fixture(scope="session")
def build_of() -> dict[str, Callable[..., nn.Module]]:
    """The same by backbone."""
    return {"qwen": build_qwen, "flux": build_flux}


@pytest.fixture(scope="session")
def respond() -> Callable[[nn.Module], Tensor]:
    """The transformer's output on fixed inputs."""
    return answer


@pytest.fixture(scope="session")
def shaken() -> Callable[..., nn.Module]:
    """Gives an adapter random values, so that it does something."""
    return shake

"""The full context is diffusers' own forward: values, gradients, masks, several targets."""

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from torch import Tensor

from viral.config import AdapterConfig
from viral.model.adapter import adapter_parameters, add_adapter
from viral.model.full import full_velocity
from viral.model.roles import ANALOGY, set_roles, use_role_rope
from viral.model.tokens import pack, unpack
from viral.pretrain.folder import build_transformer

SIZES = ((4, 4), (4, 6), (2, 4), (6, 4))
"""Latent grids of the target, A, A' and B."""


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES = [draw(i, 2, 16, *size) for i, size in enumerate(SIZES)]
TEXT, T = draw(8, 2, 5, 64), torch.tensor([0.9, 0.3])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(params=[True, False], ids=["context at t = 0", "context at t"])
def transformer(request: pytest.FixtureRequest) -> QwenImageTransformer2DModel:
    """A transformer with an adapter that is no longer the identity."""
    model = build_transformer(layers=2, heads=2)
    if not request.param:
        model = QwenImageTransformer2DModel.from_config({**model.config, "zero_cond_t": False})
    use_role_rope(model)
    add_adapter(model, AdapterConfig(rank=2, expert_rank=2), seed=0)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def stock(transformer: QwenImageTransformer2DModel, mask: Tensor | None) -> Tensor:
    set_roles(transformer, ANALOGY, 3)
    tokens = transformer(
        hidden_states=torch.cat([pack(image) for image in IMAGES], 1),
        timestep=T,
        encoder_hidden_states=TEXT,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, height // 2, width // 2) for height, width in SIZES]] * 2,
        return_dict=False,
    )[0]
    return unpack(tokens[:, :4], 4, 4)


def gradients(transformer: QwenImageTransformer2DModel, velocity: Tensor) -> dict[str, Tensor]:
    transformer.zero_grad()
    velocity.square().sum().backward()
    return {name: p.grad for name, p in adapter_parameters(transformer).items() if p.grad is not None}


@pytest.mark.parametrize("learning", [True, False], ids=["learning", "painting"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole text", "padded text"])
def test_velocity_is_that_of_the_stock_forward(
    transformer: QwenImageTransformer2DModel, mask: Tensor | None, learning: bool
) -> None:
    with torch.set_grad_enabled(learning):
        ours = full_velocity(transformer, IMAGES[0], IMAGES[1:], ANALOGY, T, TEXT, mask)
    theirs = stock(transformer, mask)
    assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_stock_forward(
    transformer: QwenImageTransformer2DModel, checkpointing: bool
) -> None:
    theirs = gradients(transformer, stock(transformer, None))
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    ours = gradients(transformer, full_velocity(transformer, IMAGES[0], IMAGES[1:], ANALOGY, T, TEXT))
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm(), name

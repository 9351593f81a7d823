from pathlib import Path

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from torch import Tensor

from viral.model.backbone import load_backbone
from viral.model.roles import ANALOGY, use_role_rope
from viral.model.velocity import pack, predict_velocity, unpack


@pytest.fixture(scope="module")
def transformer(tiny_base: Path) -> QwenImageTransformer2DModel:
    model = load_backbone(str(tiny_base), parts=("transformer",)).transformer
    assert model is not None
    return model


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 16, 4, 6, generator=generator) for _ in range(4)]


T, TEXT = torch.tensor([0.3, 0.8]), torch.ones(2, 5, 64)


def test_packing_is_undone_by_unpacking(images: list[Tensor]) -> None:
    assert torch.equal(unpack(pack(images[0]), 4, 6), images[0])


@torch.no_grad()
def test_analogy_roles_are_bit_equal_to_the_stock_rope(
    transformer: QwenImageTransformer2DModel, images: list[Tensor]
) -> None:
    ours = predict_velocity(transformer, images[0], images[1:], ANALOGY, T, TEXT)
    stock = QwenImageTransformer2DModel.from_config(transformer.config).eval()
    stock.load_state_dict(transformer.state_dict())
    shapes = [[(1, 2, 3)] * 4] * 2
    tokens = stock(torch.cat([pack(i) for i in images], 1), TEXT, None, T, shapes, return_dict=False)[0]
    assert torch.equal(ours, unpack(tokens[:, :6], 4, 6))


@torch.no_grad()
def test_order_is_free_when_roles_move_along(transformer: QwenImageTransformer2DModel, images: list[Tensor]) -> None:
    noisy, a, a2, b = images
    straight = predict_velocity(transformer, noisy, [a, a2, b], ANALOGY, T, TEXT)
    moved = predict_velocity(transformer, noisy, [b, a, a2], (3, 1, 2), T, TEXT)
    torch.testing.assert_close(straight, moved, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_swapping_roles_changes_the_answer(transformer: QwenImageTransformer2DModel, images: list[Tensor]) -> None:
    straight = predict_velocity(transformer, images[0], images[1:], (1, 2, 3), T, TEXT)
    swapped = predict_velocity(transformer, images[0], images[1:], (2, 1, 3), T, TEXT)
    assert (straight - swapped).abs().max() > 1e-4


def test_roles_add_no_parameters(transformer: QwenImageTransformer2DModel) -> None:
    stock = QwenImageTransformer2DModel.from_config(transformer.config)
    use_role_rope(stock)
    assert not any("pos_embed" in name for name in stock.state_dict())


def test_wrong_number_of_roles_is_refused(transformer: QwenImageTransformer2DModel, images: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="3 context images came with 2 roles"):
        predict_velocity(transformer, images[0], images[1:], (1, 2), T, TEXT)

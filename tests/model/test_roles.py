import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from torch import Tensor

from viral.model.roles import (
    ANALOGY,
    ROLE_TABLE,
    role_table,
    roles_of,
    set_roles,
    trained_roles,
    use_role_rope,
)
from viral.model.velocity import pack, predict_velocity, unpack
from viral.pretrain.folder import build_transformer


@pytest.fixture(scope="module")
def transformer() -> QwenImageTransformer2DModel:
    model = build_transformer(layers=2, heads=2).eval()
    use_role_rope(model)
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
    stock = QwenImageTransformer2DModel.from_config(transformer.config).eval()
    stock.load_state_dict(transformer.state_dict())
    set_roles(transformer, ANALOGY, 3)
    shapes, tokens = [[(1, 2, 3)] * 4] * 2, torch.cat([pack(i) for i in images], 1)
    ours, theirs = (model(tokens, TEXT, None, T, shapes, return_dict=False)[0] for model in (transformer, stock))
    assert torch.equal(ours, theirs)


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


def test_wrong_roles_are_refused(transformer: QwenImageTransformer2DModel, images: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="3 context images came with 2 roles"):
        predict_velocity(transformer, images[0], images[1:], (1, 2), T, TEXT)
    with pytest.raises(ValueError, match="not all within 0 and 4095"):
        predict_velocity(transformer, images[0], images[1:], (1, 2, -1), T, TEXT)
    stock = QwenImageTransformer2DModel.from_config(transformer.config)
    with pytest.raises(ValueError, match="no RoleRope"):
        predict_velocity(stock, images[0], images[1:], ANALOGY, T, TEXT)


def test_pairs_are_numbered_by_steps_or_share_the_first_ones_roles() -> None:
    assert [roles_of(k) for k in (1, 2, 3)] == [(1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7)]
    assert [roles_of(k, "shared") for k in (1, 2)] == [(1, 2, 3), (1, 2, 1, 2, 3)]
    query_first = {**ROLE_TABLE, "query": 1, "example_source": 3}
    assert roles_of(1, "step", query_first) == (3, 2, 1)
    assert roles_of(2, "shared", query_first) == (3, 2, 3, 2, 1)
    with pytest.raises(ValueError, match="colliding"):
        roles_of(2, "step", query_first)
    with pytest.raises(ValueError, match="lacks"):
        roles_of(1, "step", {"target": 0, "query": 3})
    with pytest.raises(ValueError, match="0 example pairs"):
        roles_of(0)


@torch.no_grad()
def test_without_roles_nothing_tells_the_images_apart(
    transformer: QwenImageTransformer2DModel, images: list[Tensor]
) -> None:
    assert trained_roles("rope") == ANALOGY and trained_roles("none") == (0, 0, 0)
    assert roles_of(2, table=role_table("none")) == (0,) * 5
    noisy, *context = images
    turned = [context[i] for i in (2, 0, 1)]
    for roles, same in (("none", True), ("rope", False)):
        own = trained_roles(roles)
        answers = [predict_velocity(transformer, noisy, shown, own, T, TEXT) for shown in (context, turned)]
        moved = ((answers[0] - answers[1]).norm() / answers[0].norm()).item()
        assert (moved < 1e-5) == same


@torch.no_grad()
@pytest.mark.parametrize("pairs", [1, 2, 3, 4])
def test_shared_roles_make_the_pairs_a_set_and_stepped_ones_a_sequence(
    transformer: QwenImageTransformer2DModel, pairs: int
) -> None:
    generator = torch.Generator().manual_seed(pairs)
    context = [torch.randn(2, 16, 4, 4, generator=generator) for _ in range(2 * pairs + 1)]
    turned = [*context[2:-1], *context[:2], context[-1]]
    noisy = torch.randn(2, 16, 4, 4, generator=generator)
    moves = {}
    for numbering in ("step", "shared"):
        answers = [
            predict_velocity(transformer, noisy, own, roles_of(pairs, numbering), T, TEXT) for own in (context, turned)
        ]
        moves[numbering] = ((answers[0] - answers[1]).norm() / answers[0].norm()).item()
    assert moves["shared"] < 1e-5
    assert (moves["step"] > 1e-4) == (pairs > 1)

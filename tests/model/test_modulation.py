"""Modulations from a table: as near to those of the weights, which are gone, as bfloat16 lets two products be."""

import copy
from typing import Any

import pytest
import torch
from diffusers import QwenImageTransformer2DModel

from viral.config import ModelConfig, resolve
from viral.model.adapter import add_adapter
from viral.model.backbone import load_backbone
from viral.model.flux import load_flux
from viral.model.footprint import GB, PAINTING_CHANGES, TABLE, Footprint
from viral.model.modulation import bfloat16_times, modulation_layers
from viral.model.roles import ANALOGY
from viral.model.velocity import ContextMode, predict_velocity
from viral.shipped import SHIPPED_BASE, SHIPPED_FILL

HELD = ModelConfig(dtype="bfloat16")


@pytest.fixture(scope="module")
def pair() -> tuple[QwenImageTransformer2DModel, QwenImageTransformer2DModel]:
    """The shipped transformer in bfloat16, with its weights and with a table."""
    plain = load_backbone(str(SHIPPED_BASE), ("transformer",), config=HELD).transformer
    config = HELD.model_copy(update={"modulation": "table"})
    tabled = load_backbone(str(SHIPPED_BASE), ("transformer",), config=config).transformer
    assert plain is not None and tabled is not None
    return plain, tabled


def velocity(transformer: QwenImageTransformer2DModel, t: list[float], mode: ContextMode) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).bfloat16().to(transformer.dtype)

    noisy, context = draw(2, 16, 8, 8), [draw(2, 16, 8, 8) for _ in range(3)]
    text = draw(1, 5, transformer.config.joint_attention_dim)
    return predict_velocity(transformer, noisy, context, ANALOGY, torch.tensor(t), text, mode=mode)


def test_the_times_are_all_that_bfloat16_tells_apart() -> None:
    times = bfloat16_times()
    fine = torch.linspace(2**-10, 1, 1_000_001).bfloat16().float().unique()
    assert torch.equal(times[1:], fine) and times[0] == 0


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative error."""
    return float((one.float() - other.float()).norm() / other.float().norm())


@pytest.fixture(scope="module")
def exact() -> QwenImageTransformer2DModel:
    """The same weights in float32."""
    transformer = load_backbone(str(SHIPPED_BASE), ("transformer",)).transformer
    assert transformer is not None
    return transformer


@pytest.mark.parametrize("mode", ["full", "stationary"])
def test_velocities_are_those_of_the_weights_but_for_rounding(pair: tuple, exact: Any, mode: ContextMode) -> None:
    for t in ([1.0, 0.7], [0.3337, 0.02], [0.0011, 0.0]):
        told = [float(time) for time in torch.tensor(t).bfloat16()]
        plain, tabled = (velocity(transformer, told, mode) for transformer in pair)
        truth = velocity(exact, told, mode)
        assert apart(tabled, plain) < apart(plain, truth) and apart(tabled, truth) < 1.1 * apart(plain, truth)


def test_diffusers_own_forward_takes_the_table_too(pair: tuple) -> None:
    def stock(transformer: QwenImageTransformer2DModel) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        tokens = torch.randn(1, 32, transformer.config.in_channels, generator=generator).bfloat16()
        text = torch.randn(1, 5, transformer.config.joint_attention_dim, generator=generator).bfloat16()
        return transformer(
            tokens, text, encoder_hidden_states_mask=None, timestep=torch.tensor([0.41]).bfloat16(),
            img_shapes=[[(1, 4, 4), (1, 4, 4)]], return_dict=False,
        )[0]  # fmt: skip

    from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope

    plain, tabled = (copy.deepcopy(transformer) for transformer in pair)
    for transformer in (plain, tabled):
        config = transformer.config
        transformer.pos_embed = QwenEmbedRope(theta=10000, axes_dim=list(config.axes_dims_rope), scale_rope=True)
    assert torch.equal(stock(plain), stock(tabled))


def test_gradients_through_checkpoints_are_those_of_the_weights(pair: tuple, exact: Any) -> None:
    found = []
    for transformer in map(copy.deepcopy, (*pair, exact)):
        add_adapter(transformer, resolve("jobs/configs/embedded.yaml", []).adapter, seed=0)
        transformer.enable_gradient_checkpointing()
        velocity(transformer, [0.9, 0.2], "stationary").float().square().mean().backward()
        found.append({name: p.grad for name, p in transformer.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 50
    plain, tabled, truth = (torch.cat([one[name].flatten().float() for name in sorted(one)]) for one in found)
    assert apart(tabled, plain) < apart(plain, truth) and apart(tabled, truth) < 1.1 * apart(plain, truth)


def test_the_weights_are_gone_as_the_estimate_says(pair: tuple) -> None:
    plain, tabled = (sum(p.numel() for p in transformer.parameters()) for transformer in pair)
    makers = [pair[0].get_submodule(name) for name in modulation_layers(pair[0])[:-1]] + [pair[0].norm_out.linear]
    embedder = sum(p.numel() for p in pair[0].time_text_embed.parameters())
    assert plain - tabled == sum(p.numel() for maker in makers for p in maker.parameters()) + embedder
    qwen = Footprint(resolve("jobs/configs/qwen_edit_2511.yaml", []))
    saved = qwen.painting()["transformer"] - qwen.painting(TABLE)["transformer"]
    assert saved / GB == pytest.approx(13.6, abs=0.05)


def test_only_a_base_whose_modulations_follow_from_the_time_is_offered_it() -> None:
    fill = Footprint(resolve("jobs/configs/flux_fill.yaml", []))
    sizes = [sum(fill.painting(change).values()) for change in PAINTING_CHANGES]
    for memory in sizes:
        change = fill.fitting(memory + 1, fill.painting, PAINTING_CHANGES)
        assert change is not None and not change.keys() & TABLE.keys()
    with pytest.raises(ValueError, match=r"follow from its prompt too.*model\.modulation=weights"):
        load_flux(str(SHIPPED_FILL), ("transformer",), config=ModelConfig(modulation="table"))


def test_times_that_float32_tells_apart_and_times_beyond_noise_are_refused(pair: tuple) -> None:
    with pytest.raises(ValueError, match=r"float32; set model\.dtype=bfloat16"):
        load_backbone(str(SHIPPED_BASE), ("transformer",), config=ModelConfig(modulation="table"))
    with pytest.raises(ValueError, match=r"do not lie in 0\.\.1"):
        pair[1].time_text_embed(torch.tensor([1.5]), torch.empty(0))

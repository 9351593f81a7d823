"""Sizes of adapters on the published architectures, which are built without memory."""

from functools import partial

import pytest
import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from torch import nn

from viral.config import AdapterConfig
from viral.model.adapter import add_adapter, experts_of, plain_of
from viral.model.moe_lora import MoELoRALinear

QWEN_2511 = partial(QwenImageTransformer2DModel, zero_cond_t=True)
FLUX_FILL = partial(FluxTransformer2DModel, in_channels=384, out_channels=64, guidance_embeds=True)
ICEDIT = AdapterConfig(rank=32, alpha=32, num_experts=4, expert_rank=32, expert_alpha=32, top_k=1, gate="softmax_topk")
IMAGE = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "img_mlp.net.0.proj", "img_mlp.net.2")
TEXT = (
    "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2",
)  # fmt: skip
DIFFSYNTH = (*IMAGE[:4], *TEXT[:4], "img_mlp.net.2", "img_mod.1", "txt_mlp.net.2", "txt_mod.1")


def millions(make: partial, config: AdapterConfig) -> tuple[float, float]:
    """Parameters of the plain part and of experts with routers."""
    with torch.device("meta"):
        model: nn.Module = make()
        add_adapter(model, config, seed=0)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    plain = sum(layer.down.numel() + layer.up.numel() for layer in plain_of(model).values())
    experts = sum(t.numel() for layer in experts_of(model).values() for t in layer.tensors().values())
    return plain / 1e6, experts / 1e6


def targets(*layers: str) -> tuple[str, ...]:
    return tuple(f"transformer_blocks.*.{layer}" for layer in layers)


def test_icedits_released_placement_has_the_papers_130_and_214_million() -> None:
    plain, experts = millions(FLUX_FILL, ICEDIT)
    assert experts == pytest.approx(130, abs=0.5)
    assert plain + experts == pytest.approx(214, abs=0.5)


def test_experts_alone_are_the_papers_130_million() -> None:
    plain, experts = millions(FLUX_FILL, ICEDIT.model_copy(update={"targets": ()}))
    assert (plain, experts) == (0, pytest.approx(130, abs=0.5))


def test_icedits_prose_places_experts_in_19_attention_outputs() -> None:
    plain, experts = millions(FLUX_FILL, ICEDIT.model_copy(update={"placement": "text"}))
    one = 4 * 32 * (3072 + 3072) + 4 * 3072
    assert experts == pytest.approx(19 * one / 1e6)
    swapped = 19 * 32 * (12288 - 3072) + 38 * 32 * (15360 + 3072)
    assert plain == pytest.approx(214.44 - 130.28 + swapped / 1e6, abs=0.01)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(IMAGE, 212.3), (IMAGE + TEXT, 424.7), (DIFFSYNTH, 471.9)],
    ids=["image", "both", "diffsynth"],
)
def test_plain_lora_of_rank_64_on_60_blocks(layers: tuple[str, ...], expected: float) -> None:
    config = AdapterConfig(rank=64, alpha=64, targets=targets(*layers), expert_targets=())
    assert millions(QWEN_2511, config) == (pytest.approx(expected, abs=0.06), 0)


@pytest.mark.parametrize(
    ("experts", "rank", "size", "added"),
    [(3, 32, 90.7, 31.7), (6, 16, 92.9, 33.9), (4, 32, 120.9, 61.9), (4, 16, 61.9, 2.9), (8, 16, 123.9, 64.9),
     (4, 64, 238.9, 179.9)],
)  # fmt: skip
def test_experts_on_60_ffn_outputs_and_what_they_add_to_plain_lora(
    experts: int, rank: int, size: float, added: float
) -> None:
    config, generator = AdapterConfig(num_experts=experts, expert_rank=rank), torch.Generator().manual_seed(0)
    layer = MoELoRALinear(nn.Linear(12288, 3072, device="meta"), config, generator)
    millions = 60 * sum(t.numel() for t in layer.tensors().values()) / 1e6
    assert millions == pytest.approx(size, abs=0.06)
    assert millions - 60 * 64 * 15360 / 1e6 == pytest.approx(added, abs=0.06)


def test_default_leaves_out_what_the_last_block_computes_for_nobody() -> None:
    """Both streams but the text's FFN output, which has no experts, and three text layers of the last block."""
    plain, experts = millions(QWEN_2511, AdapterConfig())
    full = 424.67 - 2 * 60 * 64 * 15360 / 1e6
    assert plain == pytest.approx(full - 64 * (2 * 6144 + 15360) / 1e6, abs=0.01)
    assert experts == pytest.approx(120.9, abs=0.06)

"""Where an adapter sits: the layers with plain LoRA and those with experts, by backbone."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import nn

from viral.config import AdapterConfig
from viral.model.moe_lora import MoELoRALinear


@dataclass(frozen=True)
class Layers:
    """Patterns of full layer names in one backbone; `*` stands for a block's number."""

    image: tuple[str, ...]
    text: tuple[str, ...]
    """Layers of the text stream."""
    text_released: bool
    """Whether the authors' release adapts them."""
    unread: tuple[str, ...]
    """Text layers that in the last block shape only the text stream's output, which nothing reads there."""
    experts: dict[str, tuple[str, ...]]
    """Layers with experts, by placement."""


def _blocks(*layers: str) -> tuple[str, ...]:
    return tuple(f"transformer_blocks.*.{layer}" for layer in layers)


ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
UNREAD = _blocks("attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.0.proj")
QWEN = Layers(
    image=_blocks(*ATTENTION, "img_mlp.net.0.proj", "img_mlp.net.2"),
    text=_blocks("attn.add_k_proj", "attn.add_v_proj") + UNREAD,
    text_released=True,
    unread=UNREAD,
    experts={"released": _blocks("img_mlp.net.2"), "text": _blocks("attn.to_out.0")},
)
SINGLE = ("norm.linear", "proj_mlp", "proj_out", "attn.to_q", "attn.to_k", "attn.to_v")
FLUX = Layers(
    image=(
        "x_embedder",
        *_blocks("norm1.linear", *ATTENTION, "ff.net.2"),
        *(f"single_transformer_blocks.*.{layer}" for layer in SINGLE),
    ),
    text=_blocks("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out", "ff_context.net.0.proj"),
    text_released=False,
    unread=(),
    experts={
        "released": (*_blocks("ff.net.2"), "single_transformer_blocks.*.proj_out"),
        "text": _blocks("attn.to_out.0"),
    },
)
"""ICEdit's targets, as its released code has them."""
LINEAR = (nn.Linear, LoraLayer, MoELoRALinear)
"""What counts as a linear layer: also one that has an adapter already."""
BACKBONES = {QwenImageTransformer2DModel: QWEN, FluxTransformer2DModel: FLUX}


def plain_layers(transformer: nn.Module, config: AdapterConfig) -> list[str]:
    """Names of the layers with plain LoRA: the configured or default ones that have no experts."""
    experts = set(expert_layers(transformer, config))
    if config.targets is not None:
        return [name for name in matching(transformer, config.targets) if name not in experts]
    layers = layers_of(transformer)
    text = layers.text_released if config.text_stream is None else config.text_stream
    names = matching(transformer, layers.image + (layers.text if text else ()))
    last = len(transformer.transformer_blocks) - 1
    unread = {pattern.replace("*", str(last)) for pattern in layers.unread}
    return [name for name in names if name not in experts | unread]


def expert_layers(transformer: nn.Module, config: AdapterConfig) -> list[str]:
    """Names of the layers with experts."""
    if config.expert_targets is not None:
        return matching(transformer, config.expert_targets)
    return matching(transformer, layers_of(transformer).experts[config.placement])


def backbone_class(transformer: nn.Module) -> type[nn.Module]:
    """Which of diffusers' classes a transformer is; `ValueError` for one that no adapter is known for."""
    for backbone in BACKBONES:
        if isinstance(transformer, backbone):
            return backbone
    known = sorted(backbone.__name__ for backbone in BACKBONES)
    raise ValueError(f"no adapter is known for a {type(transformer).__name__}; expected one of {known}")


def layers_of(transformer: nn.Module) -> Layers:
    """The layer table of a backbone."""
    return BACKBONES[backbone_class(transformer)]


def matching(transformer: nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """Names of linear layers that match one of the patterns, in the model's order; `ValueError` for an idle pattern."""
    linear = [name for name, module in transformer.named_modules() if isinstance(module, LINEAR)]
    there, found = set(linear), set()
    for pattern in patterns:
        hits = {pattern} & there if "*" not in pattern else {name for name in linear if fnmatchcase(name, pattern)}
        if not hits:
            raise ValueError(
                f"no linear layer of this {type(transformer).__name__} is called {pattern!r}; "
                f"name layers in full with * for the block, e.g. {layers_of(transformer).image[-1]!r}"
            )
        found |= hits
    return [name for name in linear if name in found]


def patterns_of(transformer: nn.Module, layers: set[str]) -> tuple[str, ...]:
    """Patterns that match just these layers: their names with `*` for block numbers, or else in full."""
    short = tuple(sorted({re.sub(r"^(\w*transformer_blocks)\.\d+\.", r"\1.*.", layer) for layer in layers}))
    return short if set(matching(transformer, short)) == layers else tuple(sorted(layers))

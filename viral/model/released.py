"""The files that the papers' authors released: VIRAL's plain LoRA, ICEdit's plain one and its mixture of experts."""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.adapter import inject_adapter, load_adapter_state, plain_state
from viral.model.adapter_files import read_tensors
from viral.model.adapter_forms import PREFIX, Plain, PlainLayer, check_fit, parse_plain
from viral.model.adapter_layers import patterns_of

EXPERT = re.compile(r"(?P<layer>.+?)\.(?P<part>lora_A|lora_B)\.expert_(?P<number>\d+)\.weight")
ROUTE = re.compile(r"(?P<layer>.+?)\.lora_route(\.(?!weight$)\w+)?\.weight")
"""ICEdit's router of a layer; where a model in training was saved, with the adapter's name before `weight`."""


def load_released(transformer: nn.Module, path: Path, *, alpha: float | None = None, top_k: int = 1) -> AdapterConfig:
    """Inject a released safetensors file into a bare transformer; the configuration that it amounts to.

    Names may have the prefixes of diffusers, DiffSynth, ComfyUI or peft. The files do not say their scale, which is
    `alpha` / rank, nor how many experts a token takes: by default 1 and `top_k` 1, as both releases were trained.
    `ValueError` where the file does not fit the transformer or itself.
    """
    tensors, _ = read_tensors(path)
    tensors = {PREFIX.sub("", name): tensor for name, tensor in tensors.items()}
    ours = {name: tensor for name, tensor in tensors.items() if EXPERT.fullmatch(name) or ROUTE.fullmatch(name)}
    plain = parse_plain({name: t for name, t in tensors.items() if name not in ours}, str(path))
    experts = _stack(ours, str(path))
    check_fit(plain | _as_plain(experts), transformer, str(path))
    config = _config(transformer, plain, experts, alpha, top_k, str(path))
    inject_adapter(transformer, config)
    state = {f"{layer}.{key}": tensor for layer, parts in experts.items() for key, tensor in parts.items()}
    load_adapter_state(transformer, plain_state(plain) | state)
    return config


def _stack(tensors: dict[str, Float[Tensor, "..."]], source: str) -> dict[str, dict[str, Tensor]]:
    """lora_A, lora_B and lora_router of each layer, experts in the order of their numbers."""
    numbered: dict[str, dict[tuple[str, int], Tensor]] = {}
    routers: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := EXPERT.fullmatch(name):
            numbered.setdefault(match["layer"], {})[match["part"], int(match["number"])] = tensor
        elif match := ROUTE.fullmatch(name):
            routers[match["layer"]] = tensor
    if numbered.keys() != routers.keys():
        odd = sorted(numbered.keys() ^ routers.keys())[0]
        raise ValueError(f"{source}: {odd} has experts or a router but not both; the file is not whole, copy it anew")
    return {layer: _layer(f"{source}: {layer}", numbered[layer], routers[layer]) for layer in routers}


def _layer(label: str, parts: dict[tuple[str, int], Tensor], router: Tensor) -> dict[str, Tensor]:
    count = len(router)
    if missing := {(part, i) for part in ("lora_A", "lora_B") for i in range(count)} ^ parts.keys():
        part, number = sorted(missing)[0]
        raise ValueError(f"{label}: its router is for {count} experts, but {part} of expert {number} does not fit that")
    downs, ups = ([parts[part, i] for i in range(count)] for part in ("lora_A", "lora_B"))
    if len({tuple(t.shape) for t in downs}) > 1 or len({tuple(t.shape) for t in ups}) > 1:
        raise ValueError(f"{label}: its experts differ in shape; expected one rank for all of them")
    return {"lora_A": torch.cat(downs), "lora_B": torch.cat(ups, dim=1), "lora_router": router}


def _as_plain(experts: dict[str, dict[str, Tensor]]) -> Plain:
    return {layer: PlainLayer(parts["lora_A"], parts["lora_B"]) for layer, parts in experts.items()}


def _config(
    transformer: nn.Module,
    plain: Plain,
    experts: dict[str, dict[str, Tensor]],
    alpha: float | None,
    top_k: int,
    source: str,
) -> AdapterConfig:
    rank = _only(source, "rank of its plain layers", {layer.rank for layer in plain.values()})
    scale = _only(source, "scale", {layer.scale for layer in plain.values()})
    count = _only(source, "number of experts", {len(parts["lora_router"]) for parts in experts.values()})
    width = _only(source, "rank of its experts", {len(parts["lora_A"]) for parts in experts.values()})
    return AdapterConfig(
        rank=rank,
        alpha=alpha or scale * rank,
        targets=patterns_of(transformer, set(plain)),
        expert_targets=patterns_of(transformer, set(experts)),
        num_experts=count,
        top_k=min(top_k, count),
        expert_rank=width // count,
        expert_alpha=alpha or width // count,
    )


def _only(source: str, what: str, values: set) -> int | float:
    """The one value there is, 1 for none."""
    if len(values) > 1:
        raise ValueError(
            f"{source}: got {sorted(values)} as {what}, expected one for all layers; "
            "let it ride along with viral.model.adapter.add_plain, which takes any"
        )
    return values.pop() if values else 1

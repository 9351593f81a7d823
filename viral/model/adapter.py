"""The adapter in the network: plain LoRA through peft, MoE-LoRA by ourselves; and its way to a folder and back."""

import json
import warnings
from math import isfinite
from pathlib import Path

import torch
from jaxtyping import Float
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.adapter_files import (
    CARD,
    COMFYUI,
    DIFFUSERS,
    EXPERTS,
    PEFT,
    PEFT_CONFIG,
    ROUTER,
    AdapterCard,
    check_base,
    check_files,
    read_card,
    read_tensors,
    write_card,
    write_tensors,
)
from viral.model.adapter_forms import (
    Plain,
    PlainLayer,
    check_finite,
    check_fit,
    comfyui_form,
    diffusers_form,
    diffusers_header,
    peft_form,
    read_plain,
)
from viral.model.adapter_layers import backbone_class, expert_layers, matching, plain_layers
from viral.model.moe_lora import MoELoRALinear
from viral.storage import file_sha256

DEFAULT = "default"
"""Name, in peft's sense, of the adapter that is trained."""


def add_adapter(transformer: nn.Module, config: AdapterConfig, seed: int) -> None:
    """Freeze a Qwen or Flux transformer and add an adapter that changes nothing yet; `seed` fixes its start.

    Warns of a router that cannot learn. `ValueError` for another class, or a target that is no linear layer of it.
    """
    inject_adapter(transformer, config, seed)
    if experts_of(transformer) and config.num_experts > config.top_k == 1 and config.gate == "topk_softmax":
        warnings.warn(
            "top_k=1 with gate=topk_softmax: the softmax over one logit is always 1, so the router gets no gradient "
            "and stays as it was drawn; gate=softmax_topk lets it learn",
            stacklevel=2,
        )


def inject_adapter(transformer: nn.Module, config: AdapterConfig, seed: int = 0) -> None:
    """`add_adapter` for weights that come from a file: whether a router can learn does not matter."""
    plain, experts = plain_layers(transformer, config), expert_layers(transformer, config)
    transformer.requires_grad_(False)
    if plain:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            transformer.add_adapter(_peft_config(transformer, config, plain), DEFAULT)
        for parameter in adapter_parameters(transformer).values():
            if parameter.dtype.itemsize == 1:  # peft took the type that a float8 base is stored in
                parameter.data = parameter.data.to(transformer.dtype)
    generator = torch.Generator().manual_seed(seed)
    for name in experts:
        transformer.set_submodule(name, MoELoRALinear(transformer.get_submodule(name), config, generator))


def _peft_config(transformer: nn.Module, config: AdapterConfig, plain: list[str]) -> LoraConfig:
    ranks = {name: rank for pattern, rank in config.ranks.items() for name in matching(transformer, (pattern,))}
    scale = config.alpha / config.rank
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=plain,
        rank_pattern=ranks,
        alpha_pattern={name: scale * rank for name, rank in ranks.items()},
    )


def adapter_parameters(transformer: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name: plain LoRA, experts, routers."""
    return {name: p for name, p in transformer.named_parameters() if p.requires_grad}


def adapter_state(transformer: nn.Module) -> dict[str, Tensor]:
    """Copies of the adapter's tensors on the CPU, by parameter name."""
    return {name: p.detach().cpu().clone() for name, p in adapter_parameters(transformer).items()}


def load_adapter_state(transformer: nn.Module, state: dict[str, Tensor]) -> None:
    """Write `state` into an injected adapter; names and shapes must be those of this adapter."""
    parameters = adapter_parameters(transformer)
    if parameters.keys() != state.keys():
        odd = sorted(parameters.keys() ^ state.keys())
        raise ValueError(
            f"adapter tensors do not fit: {len(odd)} names differ, first {odd[0]}; use its own configuration"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != state[name].shape:
                raise ValueError(
                    f"{name}: got {tuple(state[name].shape)}, expected {tuple(parameter.shape)}; "
                    "load it on the base and with the rank it was trained with"
                )
            check_finite(name, state[name])
            parameter.copy_(state[name])


def balance_loss(transformer: nn.Module) -> Float[Tensor, ""]:
    """Mean over layers of N sum_i f_i P_i of the last forward (eq. 11); 1 when all experts are used alike.

    0 without experts. Its gradient reaches the routers also where the blocks are checkpointed.
    """
    values = [layer.balance for layer in experts_of(transformer).values() if layer.balance is not None]
    return torch.stack(values).mean() if values else torch.zeros(())


def expert_use(transformer: nn.Module) -> Float[Tensor, "layers e"]:
    """Share of the routed tokens that each expert got in the last forward, by layer in the order of `experts_of`."""
    shares = [layer.use for layer in experts_of(transformer).values() if layer.use is not None]
    return torch.stack(shares) if shares else torch.zeros(1, 0)


def experts_of(transformer: nn.Module) -> dict[str, MoELoRALinear]:
    """The layers with experts by name, in the model's order."""
    return {name: module for name, module in transformer.named_modules() if isinstance(module, MoELoRALinear)}


def plain_of(transformer: nn.Module, adapter: str = DEFAULT) -> Plain:
    """The plain LoRA of one adapter as it stands in the transformer."""
    layers = {name: m for name, m in transformer.named_modules() if isinstance(m, LoraLayer) and adapter in m.lora_A}
    return {
        name: PlainLayer(
            layer.lora_A[adapter].weight.detach(),
            layer.lora_B[adapter].weight.detach(),
            layer.lora_alpha[adapter] / layer.r[adapter],
        )
        for name, layer in layers.items()
    }


def set_strength(transformer: nn.Module, strength: float, adapter: str = DEFAULT) -> None:
    """How much an adapter counts from now on: 1 is as trained, 0 is the bare base."""
    if not isfinite(strength):
        raise ValueError(f"strength of adapter {adapter!r}: got {strength}, expected a finite number like 0.8")
    plain = [m for m in transformer.modules() if isinstance(m, LoraLayer) and adapter in m.scaling]
    experts = list(experts_of(transformer).values()) if adapter == DEFAULT else []
    if not plain and not experts:
        there = sorted({name for m in transformer.modules() if isinstance(m, LoraLayer) for name in m.scaling})
        raise ValueError(f"no adapter {adapter!r} in this transformer, there are {there}; load it first")
    for layer in plain:
        layer.set_scale(adapter, strength)
    for layer in experts:
        layer.strength = strength


def add_plain(transformer: nn.Module, path: Path, adapter: str, strength: float = 1.0) -> None:
    """Let a second plain LoRA ride along, frozen, from a file or folder of any form; a step-distilled one, say.

    `adapter` is its name for `set_strength`. It may sit on layers that have experts, beneath them.
    """
    if adapter in plain_names(transformer):
        raise ValueError(f"an adapter {adapter!r} is loaded already; choose another name")
    experts = experts_of(transformer)
    plain = {f"{name}.base" if name in experts else name: layer for name, layer in read_plain(path).items()}
    check_fit(plain, transformer, str(path))
    trained = adapter_parameters(transformer)
    state = {f"{name}.lora_A.weight": layer.down for name, layer in plain.items()}
    state |= {f"{name}.lora_B.weight": layer.up * layer.scale for name, layer in plain.items()}
    transformer.load_lora_adapter(state, prefix=None, adapter_name=adapter)
    transformer.set_adapter(plain_names(transformer))
    # peft makes every active adapter trainable.
    for name, parameter in transformer.named_parameters():
        parameter.requires_grad_(name in trained)
    set_strength(transformer, strength, adapter)


def plain_names(transformer: nn.Module) -> list[str]:
    """Names of the adapters whose plain part is loaded."""
    return list(dict.fromkeys(n for m in transformer.modules() if isinstance(m, LoraLayer) for n in m.lora_A))


def merge_plain(transformer: nn.Module) -> None:
    """Add every plain LoRA, at its strength, to the base's weights and take its layers out: no cost when serving.

    For good: strengths are fixed, and in bf16 the sum is rounded. Experts stay, as the token chooses among them.
    """
    transformer.fuse_lora(safe_fusing=True)
    transformer.unload_lora()


def save_adapter(transformer: nn.Module, folder: Path, card: AdapterCard) -> AdapterCard:
    """Write the adapter to `folder`: plain LoRA in peft's, diffusers' and ComfyUI's form, experts, router, the card."""
    folder.mkdir(parents=True, exist_ok=True)
    card = card.model_copy(update={"base_class": backbone_class(transformer).__name__})
    files = []
    if plain := plain_of(transformer):
        files += write_plain(folder, plain, card)
    if experts := experts_of(transformer):
        files += _write_experts(folder, experts, card)
    return write_card(folder, card, files)


def write_plain(folder: Path, plain: Plain, card: AdapterCard) -> list[str]:
    """Write the three forms of a plain LoRA and peft's configuration; their names."""
    most, scale = card.adapter.rank, card.adapter.alpha / card.adapter.rank
    others = {name: layer.rank for name, layer in plain.items() if layer.rank != most}
    described = {
        "r": most, "lora_alpha": card.adapter.alpha, "target_modules": sorted(plain), "rank_pattern": others,
        "alpha_pattern": {name: scale * rank for name, rank in others.items()},
    }  # fmt: skip
    write_tensors(folder / PEFT, peft_form(plain), card)
    _write_config(folder / PEFT_CONFIG, LoraConfig(**described))
    header = {"lora_adapter_metadata": diffusers_header(described)}
    write_tensors(folder / DIFFUSERS, diffusers_form(plain), card, **header)
    write_tensors(folder / COMFYUI, comfyui_form(plain, card.base_class), card)
    return [PEFT, PEFT_CONFIG, DIFFUSERS, COMFYUI]


def _write_config(path: Path, config: LoraConfig) -> None:
    """peft's own file, but with its sets in order, so that the same adapter is the same bytes."""
    config.save_pretrained(str(path.parent))
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"target_modules": sorted(said["target_modules"])}, indent=2, sort_keys=True))


def _write_experts(folder: Path, experts: dict[str, MoELoRALinear], card: AdapterCard) -> list[str]:
    tensors = {f"{name}.{key}": t for name, layer in experts.items() for key, t in layer.tensors().items()}
    routers = {name: t for name, t in tensors.items() if name.endswith(".lora_router")}
    write_tensors(folder / EXPERTS, {name: t for name, t in tensors.items() if name not in routers}, card)
    if routers:
        write_tensors(folder / ROUTER, routers, card)
    return [EXPERTS, ROUTER] if routers else [EXPERTS]


def load_adapter(transformer: nn.Module, folder: Path, base_sha256: str | None = None) -> AdapterCard:
    """Inject the adapter of `folder` into a bare transformer, every file checked against the card's sha256.

    `ValueError` for a damaged folder, or one trained on another class or, where `base_sha256` is given, base.
    """
    card = read_card(folder)
    check_base(card, backbone_class(transformer).__name__, base_sha256)
    state = read_state(folder, card)
    inject_adapter(transformer, card.adapter)
    load_adapter_state(transformer, state)
    return card


def read_state(folder: Path, card: AdapterCard) -> dict[str, Tensor]:
    """The tensors of an adapter folder by parameter name; `ValueError` for a file that is not the card's."""
    check_files(folder, card)
    state: dict[str, Tensor] = {}
    if DIFFUSERS in card.files:
        state |= plain_state(read_plain(folder / DIFFUSERS))
    for name in (EXPERTS, ROUTER):
        if name in card.files:
            state |= read_tensors(folder / name)[0]
    return state


def plain_state(plain: Plain) -> dict[str, Tensor]:
    """A plain LoRA by the names that its parameters have in the transformer."""
    down = {f"{name}.lora_A.{DEFAULT}.weight": layer.down for name, layer in plain.items()}
    return down | {f"{name}.lora_B.{DEFAULT}.weight": layer.up for name, layer in plain.items()}


def adapter_sha256(folder: Path) -> str:
    """One hash for what an adapter folder paints: that of its card, which holds the hashes of its weights."""
    read_card(folder)  # names what is wrong with it
    return file_sha256(folder / CARD)

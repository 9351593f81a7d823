"""The forms that a plain LoRA is exchanged in: peft's, diffusers', ComfyUI's, and the names that trainers give it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from viral.model.adapter_files import DIFFUSERS, PEFT, PEFT_CONFIG, read_tensors
from viral.model.adapter_layers import backbone_class, matching

PREFIX = re.compile(r"^(base_model\.model\.|transformer\.|model\.|diffusion_model\.|pipe\.|dit\.|unet\.)+")
NAME = re.compile(
    r"(?P<layer>.+?)\.((?P<part>lora_A|lora_B|lora_down|lora_up)(\.(?!weight$|expert_)\w+)?\.weight|alpha)"
)
"""layer.lora_A.weight, with an adapter's name before `weight` where a model in training was saved; layer.alpha."""
PARTS = {"lora_A": "down", "lora_down": "down", "lora_B": "up", "lora_up": "up", None: "alpha"}
COMFYUI_PREFIX = {"QwenImageTransformer2DModel": "diffusion_model.", "FluxTransformer2DModel": "transformer."}
"""Before diffusers' layer names: ComfyUI calls Qwen's layers as diffusers does, and maps Flux' by this prefix."""


@dataclass(frozen=True)
class PlainLayer:
    """W' = W + scale * up down, of one linear layer."""

    down: Float[Tensor, "r d_in"]
    up: Float[Tensor, "d_out r"]
    scale: float = 1.0

    @property
    def rank(self) -> int:
        return self.down.shape[0]


Plain = dict[str, PlainLayer]
"""A plain LoRA by layer name."""


def peft_form(plain: Plain) -> dict[str, Tensor]:
    """Tensors as a `PeftModel` names them; scales are for its configuration to say."""
    return {f"base_model.model.{name}": tensor for name, tensor in _pairs(plain).items()}


def diffusers_form(plain: Plain) -> dict[str, Tensor]:
    """Tensors as `load_lora_weights` takes them; scales are for the header to say."""
    return {f"transformer.{name}": tensor for name, tensor in _pairs(plain).items()}


def diffusers_header(config: dict[str, object]) -> str:
    """Header entry `lora_adapter_metadata`, from which diffusers takes ranks and alphas."""
    return json.dumps({f"transformer.{key}": value for key, value in config.items()}, sort_keys=True)


def comfyui_form(plain: Plain, base_class: str) -> dict[str, Tensor]:
    """Tensors as ComfyUI's LoRA loader takes them, scales as alphas beside them."""
    prefix = COMFYUI_PREFIX[base_class]
    alphas = {f"{prefix}{name}.alpha": torch.tensor(layer.scale * layer.rank) for name, layer in plain.items()}
    return {f"{prefix}{name}": tensor for name, tensor in _pairs(plain).items()} | alphas


def _pairs(plain: Plain) -> dict[str, Tensor]:
    down = {f"{name}.lora_A.weight": layer.down for name, layer in plain.items()}
    return down | {f"{name}.lora_B.weight": layer.up for name, layer in plain.items()}


def read_plain(path: Path) -> Plain:
    """A plain LoRA in any of the forms, from its file or folder.

    The scale is what the file says by alpha tensors, diffusers' header or peft's configuration beside it, else 1.
    `ValueError` for a file that is damaged, holds something else, or whose pairs do not fit together.
    """
    if path.is_dir():
        path = path / (DIFFUSERS if (path / DIFFUSERS).is_file() else PEFT)
    tensors, header = read_tensors(path)
    return parse_plain(tensors, str(path), _described(path, header))


def parse_plain(tensors: dict[str, Float[Tensor, "..."]], source: str, described: dict | None = None) -> Plain:
    """Group the tensors of a plain LoRA by layer, whatever prefix they carry; `described` holds peft's alphas."""
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name = NAME.fullmatch(PREFIX.sub("", key))
        if name is None:
            raise ValueError(
                f"{source}: {key} is no tensor of a plain LoRA; expected names like layer.lora_A.weight "
                "(experts are read by viral.model.released)"
            )
        layers.setdefault(name["layer"], {})[PARTS[name["part"]]] = tensor
    return {layer: _plain_layer(f"{source}: {layer}", layer, parts, described) for layer, parts in layers.items()}


def _plain_layer(label: str, layer: str, parts: dict[str, Tensor], described: dict | None) -> PlainLayer:
    if missing := {"down", "up"} - parts.keys():
        raise ValueError(f"{label} has no {' and no '.join(sorted(missing))}; the file is not whole, copy it anew")
    down, up = parts["down"], parts["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise ValueError(
            f"{label}: got lora_A {tuple(down.shape)} and lora_B {tuple(up.shape)}, expected (r, in) and (out, r) of "
            "one rank r; the file mixes two adapters"
        )
    check_finite(label, down, up)
    alpha = parts["alpha"].item() if "alpha" in parts else _alpha(layer, down.shape[0], described)
    return PlainLayer(down, up, alpha / down.shape[0])


def check_finite(label: str, *tensors: Float[Tensor, "..."]) -> None:
    """`ValueError` where a tensor holds an infinity or NaN."""
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise ValueError(
            f"{label} holds values that are not finite; the file is damaged or its training diverged, take another"
        )


def _described(path: Path, header: dict[str, str]) -> dict | None:
    """What diffusers' header or peft's configuration beside the file says of alphas."""
    if "lora_adapter_metadata" in header:
        said = json.loads(header["lora_adapter_metadata"])
        return {key.removeprefix("transformer."): value for key, value in said.items()}
    if path.name == PEFT and (path.parent / PEFT_CONFIG).is_file():
        return json.loads((path.parent / PEFT_CONFIG).read_text())
    return None


def _alpha(layer: str, rank: int, described: dict | None) -> float:
    if described is None:
        return float(rank)
    patterns = described.get("alpha_pattern") or {}
    return float(next((alpha for key, alpha in patterns.items() if key.lstrip("^") == layer), described["lora_alpha"]))


def check_fit(plain: Plain, transformer: nn.Module, source: str) -> None:
    """`ValueError` where a layer is not in the transformer or has other sizes."""
    linear = {name: transformer.get_submodule(name) for name in matching(transformer, ("*",))}
    for name, layer in plain.items():
        if name not in linear:
            raise ValueError(
                f"{source}: got layer {name}, expected one of this {backbone_class(transformer).__name__} of "
                f"{len(transformer.transformer_blocks)} blocks; load it on the base it was trained on"
            )
        got, expected = (layer.up.shape[0], layer.down.shape[1]), (linear[name].out_features, linear[name].in_features)
        if got != expected:
            raise ValueError(
                f"{source}: {name} is for a layer of shape {got}, expected {expected}; load it on the base it was "
                "trained on"
            )

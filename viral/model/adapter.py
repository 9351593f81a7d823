"""The VIRAL adapter: plain LoRA through peft, MoE-LoRA by ourselves, and the folder that holds both."""

import hashlib
from pathlib import Path

import torch
from diffusers import QwenImageEditPlusPipeline, QwenImageTransformer2DModel
from jaxtyping import Float
from peft import LoraConfig, get_peft_model_state_dict
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.moe_lora import MoELoRALinear
from viral.model.roles import Role

IMAGE_LAYERS = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "img_mlp.net.0.proj")
TEXT_LAYERS = ("attn.add_k_proj", "attn.add_v_proj")
TEXT_LAYERS_BUT_LAST = ("attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.0.proj")
"""Layers that only shape the text stream's output, which nothing reads after the last block."""

CARD, PLAIN, EXPERTS = "card.json", "pytorch_lora_weights.safetensors", "moe_experts.safetensors"
PEFT, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"


class AdapterCard(BaseModel):
    """What a reader of the weights has to know; lies beside them as card.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: AdapterConfig
    base: str
    base_sha256: str
    roles: dict[str, int] = {role.name.lower(): int(role) for role in Role}
    text: str = "none"
    """Text regime: `none` is one constant, the embedding of a single space."""
    context: str = "full"
    """Context mode: `full`, every token sees every token."""
    size: int
    """Side in pixels of the images it was trained on."""
    steps: int
    files: dict[str, str] = {}
    """sha256 of each weight file."""


def add_adapter(transformer: QwenImageTransformer2DModel, config: AdapterConfig, seed: int) -> None:
    """Freeze the transformer and add an adapter that changes nothing yet; `seed` fixes its start."""
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=_plain_layers(transformer, config))
        )
    generator = torch.Generator().manual_seed(seed)
    for block in transformer.transformer_blocks:
        block.img_mlp.net[2] = MoELoRALinear(block.img_mlp.net[2], config, generator)


def _plain_layers(transformer: QwenImageTransformer2DModel, config: AdapterConfig) -> list[str]:
    last = len(transformer.transformer_blocks) - 1
    names = []
    for i in range(last + 1):
        layers = IMAGE_LAYERS
        if config.text_stream:
            layers += TEXT_LAYERS + (TEXT_LAYERS_BUT_LAST if i < last else ())
        names += [f"transformer_blocks.{i}.{layer}" for layer in layers]
    return names


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
                    "load it on the base it was trained on"
                )
            if not torch.isfinite(state[name]).all():
                raise ValueError(
                    f"{name} holds values that are not finite; the file is damaged or its training diverged"
                )
            parameter.copy_(state[name])


def balance_loss(transformer: nn.Module) -> Float[Tensor, ""]:
    """Mean over layers of N sum_i f_i P_i of the last forward (eq. 11); 1 when all experts are used alike."""
    return torch.stack([layer.balance for layer in _experts(transformer).values() if layer.balance is not None]).mean()


def expert_use(transformer: nn.Module) -> Float[Tensor, "layers e"]:
    """Share of the routed tokens that each expert got in the last forward."""
    return torch.stack([layer.use for layer in _experts(transformer).values() if layer.use is not None])


def _experts(transformer: nn.Module) -> dict[str, MoELoRALinear]:
    return {name: module for name, module in transformer.named_modules() if isinstance(module, MoELoRALinear)}


def save_adapter(transformer: QwenImageTransformer2DModel, folder: Path, card: AdapterCard) -> AdapterCard:
    """Write the adapter to `folder`: peft's form, diffusers' form, the experts, and the card with their sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: t.detach().cpu().contiguous() for name, t in get_peft_model_state_dict(transformer).items()}
    experts = {
        f"{name}.{key}": getattr(layer, key).detach().cpu().contiguous()
        for name, layer in _experts(transformer).items()
        for key in ("lora_A", "lora_B", "lora_router")
    }
    save_file({f"base_model.model.{name}": t for name, t in plain.items()}, folder / PEFT, metadata={"format": "pt"})
    described = transformer.peft_config["default"].to_dict()
    QwenImageEditPlusPipeline.save_lora_weights(
        folder, plain, weight_name=PLAIN, transformer_lora_adapter_metadata=described
    )
    save_file(experts, folder / EXPERTS, metadata={"format": "pt"})
    own = {key: described[key] for key in ("r", "lora_alpha", "target_modules")}
    LoraConfig(**own).save_pretrained(str(folder))
    hashes = {name: _sha256(folder / name) for name in (PEFT, PLAIN, EXPERTS, PEFT_CONFIG)}
    card = card.model_copy(update={"files": hashes})
    (folder / CARD).write_text(card.model_dump_json(indent=2))
    return card


def read_card(folder: Path) -> AdapterCard:
    """The card of an adapter folder; `ValueError` when there is none."""
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder} holds no adapter ({CARD} is missing); train one with jobs/train_adapter.py")
    return AdapterCard.model_validate_json((folder / CARD).read_text())


def load_adapter(transformer: QwenImageTransformer2DModel, folder: Path) -> AdapterCard:
    """Inject the adapter of `folder` into a bare transformer, every file checked against the card's sha256."""
    card = read_card(folder)
    for name, expected in card.files.items():
        got = _sha256(folder / name) if (folder / name).is_file() else "no file"
        if got != expected:
            raise ValueError(
                f"{folder / name} is damaged: sha256 {got[:12]}, expected {expected[:12]}; copy or download it anew"
            )
    add_adapter(transformer, card.adapter, seed=0)
    plain = {name.removeprefix("transformer."): t for name, t in load_file(folder / PLAIN).items()}
    renamed = {
        name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."): t
        for name, t in plain.items()
    }
    load_adapter_state(transformer, {**renamed, **load_file(folder / EXPERTS)})
    return card


def adapter_sha256(folder: Path) -> str:
    """One hash for the weights of an adapter folder: that of its card's file hashes."""
    files = read_card(folder).files
    return hashlib.sha256("".join(f"{name}{files[name]}" for name in sorted(files)).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

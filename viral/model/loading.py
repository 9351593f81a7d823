"""How frozen networks are loaded and held: type, quantisation and offload, by the libraries' own means."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from transformers import PreTrainedModel

from viral.config import ModelConfig
from viral.model.hub import local_folder, snapshot
from viral.model.licences import Licence, accept

EMBEDDERS = ("img_in", "txt_in", "x_embedder", "context_embedder", "time_text_embed")
"""Kept in the computing type beside norms: their errors reach every block, and their weights are few."""


PARTS = ("transformer", "vae", "text")


def base_path(base: str, config: ModelConfig = ModelConfig()) -> Path:
    """The folder of a base, itself or the hub's snapshot of it; `ValueError` where its licence is not accepted."""
    folder = local_folder(base)
    accept(base, config.accept_licences, config.revision)
    return folder or snapshot(base, config.revision)


def compute_dtype(config: ModelConfig, device: str) -> torch.dtype:
    """The configured type, else bfloat16 on a GPU and float32 on a CPU."""
    return getattr(torch, config.dtype or ("float32" if device == "cpu" else "bfloat16"))


def load_network(
    cls: type[ModelMixin] | type[PreTrainedModel],
    folder: Path,
    part: str,
    device: str,
    dtype: torch.dtype,
    config: ModelConfig = ModelConfig(),
) -> Any:
    """The network in `folder`/`part`, frozen and in eval mode; a `transformer` is quantised as configured.

    With `config.offload` it waits on the CPU until `use_offload`. `ValueError` names a part that is not there.
    """
    check_part(folder, part)
    quantise = config.quantise if part == "transformer" else None
    options: dict[str, Any] = {"torch_dtype" if issubclass(cls, ModelMixin) else "dtype": dtype}
    if quantise in ("int8", "nf4"):
        options |= {"quantization_config": _bitsandbytes(quantise, dtype, device), "device_map": {"": device}}
    network = cls.from_pretrained(folder, subfolder=part, **options).eval().requires_grad_(False)
    if quantise == "float8":
        network.enable_layerwise_casting(
            torch.float8_e4m3fn, dtype, skip_modules_pattern=DEFAULT_SKIP_MODULES_PATTERN + EMBEDDERS
        )
    return network if config.offload or "device_map" in options else network.to(device)


@dataclass(frozen=True)
class OpenedBase:
    """A base in diffusers' layout whose licence is accepted, and how its networks are to be held."""

    folder: Path
    scheduler: FlowMatchEulerDiscreteScheduler
    licence: Licence
    device: str
    dtype: torch.dtype
    config: ModelConfig

    def network(self, cls: type[ModelMixin] | type[PreTrainedModel], part: str) -> Any:
        """The network of a part, as `load_network` gives it."""
        return load_network(cls, self.folder, part, self.device, self.dtype, self.config)


def open_base(
    base: str, parts: tuple[str, ...], device: str, dtype: torch.dtype | None, config: ModelConfig
) -> OpenedBase:
    """Folder or hub id, of which `parts` are to be loaded; `ValueError` for a part that no base has."""
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"unknown parts {sorted(unknown)}; there are {PARTS}")
    folder = base_path(base, config)
    check_part(folder, "scheduler")
    return OpenedBase(
        folder,
        FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler"),
        accept(base, config.accept_licences, config.revision),
        device,
        dtype or compute_dtype(config, device),
        config,
    )


def check_part(folder: Path, part: str) -> None:
    """Raise `ValueError` unless `folder` has the part."""
    if not (folder / part).is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise ValueError(
            f"base {folder} has no part '{part}', it has {there}; complete the folder, or ask for other parts where "
            "what this one computes is cached"
        )


def _bitsandbytes(quantise: str, dtype: torch.dtype, device: str) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.quantise={quantise} needs the package bitsandbytes; `pip install bitsandbytes`, or take "
            "model.quantise=float8, which needs none"
        )
    if torch.device(device).type == "cpu":
        raise ValueError(f"model.quantise={quantise} needs a GPU, but the device is cpu; take model.quantise=float8")
    if quantise == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def use_offload(pipeline: DiffusionPipeline, config: ModelConfig, device: str) -> None:
    """Let the networks of `pipeline` come to `device` only while they work, as `config.offload` says.

    Comes after adapters are injected, since what is added later would stay behind. For painting only: a training step
    needs every weight twice.
    """
    if config.offload is None:
        return
    if torch.device(device).type == "cpu":
        raise ValueError(f"model.offload={config.offload} moves weights to a GPU, but the device is cpu; leave it out")
    if config.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(torch.device(device), offload_type="leaf_level", use_stream=True)

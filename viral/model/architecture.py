"""Networks of a base without their weights: the real classes, at their full shapes, on the meta device."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from viral.config import ModelConfig
from viral.model.hub import CONFIGURATIONS, local_folder, snapshot

SHIPPED = Path(__file__).parent / "architectures"
"""Configurations of the published bases, so that an estimate needs neither network nor weights."""
PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2")

Architecture = dict[str, dict[str, Any]]
"""Each part's own configuration."""


def read_architecture(base: str, config: ModelConfig = ModelConfig()) -> Architecture:
    """Configurations of the networks of a folder, a shipped architecture or, of other hub ids, as the hub has them."""
    local, shipped = local_folder(base), SHIPPED / f"{base.rpartition('/')[2]}.json"
    if local is None and shipped.is_file():
        return json.loads(shipped.read_text())
    folder = local or snapshot(base, config.revision, CONFIGURATIONS)
    files = {part: folder / part / "config.json" for part in PARTS}
    found = {part: json.loads(file.read_text()) for part, file in files.items() if file.is_file()}
    if "transformer" not in found:
        raise ValueError(f"base {base} has no transformer/config.json; give a folder or hub id in diffusers' layout")
    return found


def is_fill(base: str, config: ModelConfig = ModelConfig()) -> bool:
    """Whether a base is FLUX.1 Fill, which takes diptychs, and not Qwen-Image-Edit, which takes analogies."""
    return read_architecture(base, config)["transformer"].get("_class_name") == "FluxTransformer2DModel"


def build_empty(config: dict[str, Any]) -> nn.Module:
    """A network of a configuration whose tensors have shapes and no memory."""
    with torch.device("meta"):
        if "_class_name" in config:
            return getattr(diffusers, config["_class_name"]).from_config(config)
        names = {key: value for key, value in config.items() if key != "model_type"}
        cls = getattr(transformers, config["architectures"][0])
        return cls(cls.config_class(**names))


@cache
def _parameters(config: str) -> tuple[int, int]:
    sizes = [(p.numel(), p.ndim == 2) for p in build_empty(json.loads(config)).parameters()]
    return sum(size for size, _ in sizes), sum(size for size, matrix in sizes if matrix)


def count_parameters(config: dict[str, Any]) -> tuple[int, int]:
    """All parameters of a network, and those among them that are matrices."""
    return _parameters(json.dumps(config, sort_keys=True))

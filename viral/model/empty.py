"""Networks of a base without their weights: the real classes, at their full shapes, on the meta device."""

import json
from functools import cache
from typing import Any

import diffusers
import torch
import transformers
from torch import nn


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

"""What a base consists of, read from the configurations of its networks alone."""

import json
from pathlib import Path
from typing import Any

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

"""Adapters for a base that is to paint: one of ours or of the authors', and plain LoRAs that ride along."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from viral.config import ModelConfig
from viral.model.adapter import adapter_sha256, add_plain, load_adapter, set_strength
from viral.model.adapter_files import AdapterCard
from viral.model.backbone import base_hash
from viral.model.released import load_released
from viral.storage import file_sha256


@dataclass(frozen=True)
class Attached:
    """What sits in a transformer."""

    card: AdapterCard | None
    sha256: str | None
    """Of the adapter's weights."""
    strength: float = 1.0
    also: tuple[str, ...] = ()
    """sha256 of each plain LoRA that rides along."""

    @property
    def trace(self) -> dict[str, Any]:
        return {"adapter_sha256": self.sha256, "strength": self.strength, "also": list(self.also)}


def attach(
    transformer: nn.Module,
    base: str,
    config: ModelConfig,
    adapter: Path | None,
    strength: float = 1.0,
    also: Sequence[Path] = (),
    **released: Any,
) -> Attached:
    """Put an adapter at a strength, and plain LoRAs beside it, into the bare transformer of `base`.

    `adapter` is a folder of ours, or a safetensors file of the authors', whose card gets the fields `released` that
    the file does not say. One for another base is refused with `ValueError` before anything is put in.
    """
    card = sha256 = None
    if adapter is not None:
        card = _load(transformer, base, base_hash(base, config), Path(adapter), released)
        sha256 = sha256_of(Path(adapter))
    if strength != 1:
        set_strength(transformer, strength)
    for i, path in enumerate(also):
        add_plain(transformer, Path(path), f"also_{i}")
    return Attached(card, sha256, strength, tuple(sha256_of(Path(path)) for path in also))


def _load(transformer: nn.Module, base: str, base_sha256: str, path: Path, released: dict[str, Any]) -> AdapterCard:
    if path.suffix != ".safetensors":
        return load_adapter(transformer, path, base_sha256)
    config = load_released(transformer, path)
    return AdapterCard(adapter=config, base=base, base_sha256=base_sha256, steps=0, **released)


def sha256_of(path: Path) -> str:
    """One hash for an adapter folder or a released file."""
    return adapter_sha256(path) if path.is_dir() else file_sha256(path)

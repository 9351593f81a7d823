"""What the frozen networks of a base make of pairs and words: latents for analogies, or for diptychs."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from viral.config import ModelConfig
from viral.model.backbone import load_backbone
from viral.model.flux import load_flux
from viral.sampling.diptych import diptych

BATCH = 8
"""Images of one VAE pass. Batches are cut by position in the shard: their size reaches the last bits of the result."""

Pixels = UInt8[np.ndarray, "_ _ 3"]
Latents = list[Float[np.ndarray, "_ _ _"]]
"""Normalised, of each picture, in float16."""


@runtime_checkable
class Encoder(Protocol):
    """The VAE of a base, and its text encoder where words are said."""

    def pairs(self, sources: list[Pixels], targets: list[Pixels]) -> tuple[Latents, Latents]:
        """Latents of what conditions the model and of what it shall paint, for each pair."""
        ...

    def words(self, words: str) -> tuple[Float[np.ndarray, "..."], ...]:
        """A prompt's tokens and, for bases that take one, its pooled vector, encoded by itself so that no other prompt
        reaches its bits."""
        ...


class AnalogyEncoder:
    """Qwen-Image-Edit's: source and target are pictures of their own (implements `Encoder`)."""

    def __init__(self, base: str, device: str, config: ModelConfig, parts: tuple[str, ...]) -> None:
        # The VAE works in float32: it is small, and what it loses no training brings back.
        loaded = {
            part: load_backbone(base, (part,), device, torch.float32 if part == "vae" else None, config)
            for part in parts
        }
        self._loaded, self._device = loaded, device

    def pairs(self, sources: list[Pixels], targets: list[Pixels]) -> tuple[Latents, Latents]:
        return _batched(sources, self._encode), _batched(targets, self._encode)

    @torch.no_grad()
    def words(self, words: str) -> tuple[Float[np.ndarray, "..."], ...]:
        return (self._loaded["text"].encode_text([words])[0].float().cpu().numpy(),)

    def _encode(self, pixels: Float[Tensor, "b 3 y x"]) -> Tensor:
        return self._loaded["vae"].encode_images(pixels.to(self._device))


class DiptychEncoder:
    """FLUX.1 Fill's: the VAE sees both halves side by side (implements `Encoder`).

    What conditions the model is the canvas with grey on the right, what it paints the whole canvas.
    """

    def __init__(self, base: str, device: str, config: ModelConfig, parts: tuple[str, ...]) -> None:
        loaded = {
            part: load_flux(base, (part,), device, torch.float32 if part == "vae" else None, config) for part in parts
        }
        self._loaded, self._device = loaded, device

    def pairs(self, sources: list[Pixels], targets: list[Pixels]) -> tuple[Latents, Latents]:
        canvases = [np.concatenate(pair, axis=1) for pair in zip(sources, targets, strict=True)]
        return _batched(sources, lambda pixels: self._encode(diptych(pixels)[0])), _batched(canvases, self._encode)

    @torch.no_grad()
    def words(self, words: str) -> tuple[Float[np.ndarray, "..."], ...]:
        said = self._loaded["text"].encode_text([words.strip()])
        return tuple(part[0].float().cpu().numpy() for part in (said.tokens, said.pooled))

    def _encode(self, pixels: Float[Tensor, "b 3 y x"]) -> Tensor:
        return self._loaded["vae"].encode_images(pixels.to(self._device))


def _batched(images: list[Pixels], encode: Callable[[Tensor], Tensor]) -> Latents:
    """`encode` of all images in batches of one size, in their order."""
    return [latents for batch in _batches(images) for latents in encode(batch).to(torch.float16).cpu().numpy()]


def _batches(images: list[Pixels]) -> Iterator[Float[Tensor, "b 3 y x"]]:
    for _, same in groupby(images, key=lambda image: image.shape):
        run = list(same)
        for start in range(0, len(run), BATCH):
            pixels = torch.from_numpy(np.stack(run[start : start + BATCH]))
            yield rearrange(pixels, "b y x c -> b c y x").float() / 127.5 - 1

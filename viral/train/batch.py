"""Samples as tensors: analogies for Qwen-Image-Edit, diptychs for FLUX.1 Fill."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from viral.data.latents import LatentPair


@dataclass(frozen=True)
class Batch:
    """Analogies as tensors; images are normalised latents, `t` lies in (0, 1), 1 is noise.

    Each analogy has K = m / b noises and times; those of analogy i are i K to i K + K - 1.
    """

    tasks: tuple[str, ...]
    example_source: Float[Tensor, "b z h w"]
    example_target: Float[Tensor, "b z h w"]
    query: Float[Tensor, "b z h w"]
    target: Float[Tensor, "b z h w"]
    noise: Float[Tensor, "m z h w"]
    t: Float[Tensor, " m"]
    text: Float[Tensor, "b n d"]
    text_mask: Int[Tensor, "b n"] | None = None
    """1 where there is text; none where all texts are of one length."""
    siblings: tuple[int, ...] = ()
    """Analogies that have the query, noise and times of the one before them, and another edit."""

    def to(self, device: str | torch.device) -> "Batch":
        """The same batch on another device."""
        return _moved(self, device)


@dataclass(frozen=True)
class DiptychBatch:
    """Diptychs as tensors: the canvas masked on the right, the whole canvas, and the encoded prompts."""

    tasks: tuple[str, ...]
    masked: Float[Tensor, "b z h w"]
    target: Float[Tensor, "b z h w"]
    noise: Float[Tensor, "b z h w"]
    t: Float[Tensor, " b"]
    text: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b p"]

    def to(self, device: str | torch.device) -> "DiptychBatch":
        """The same batch on another device."""
        return _moved(self, device)


AnyBatch = Batch | DiptychBatch
_Batch = TypeVar("_Batch", Batch, DiptychBatch)


def stack(images: list[np.ndarray]) -> Tensor:
    """Arrays of one shape as a float32 tensor."""
    return torch.from_numpy(np.stack(images)).float()


def texts_of(pairs: list[LatentPair | None], constant: np.ndarray) -> tuple[Tensor, Int[Tensor, "b n"] | None]:
    """The pairs' texts padded to the longest, with the mask of what is text; the constant for None or a silent pair."""
    said = [constant if pair is None or pair.text is None else pair.text for pair in pairs]
    lengths = [len(text) for text in said]
    padded = [pad(torch.from_numpy(text.astype(np.float32)), (0, 0, 0, max(lengths) - len(text))) for text in said]
    if len(set(lengths)) == 1:
        return torch.stack(padded), None
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.stack(padded), mask.long()


def _moved(batch: _Batch, device: str | torch.device) -> _Batch:
    tensors = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)

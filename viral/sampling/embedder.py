"""Images as vectors in which the difference of two images says what was done."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import open_clip
import torch
from einops import rearrange
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn

from viral.model.tokens import Latents


@runtime_checkable
class Embedder(Protocol):
    """Turns images into vectors."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: list[Image]) -> Float[Tensor, "b d"]: ...


class ClipEmbedder:
    """Both towers of an open_clip model, vectors of length 1."""

    def __init__(self, model: nn.Module, preprocess: Callable[[Image], Tensor], name: str, place: str) -> None:
        self.model, self.preprocess, self.name = model, preprocess, f"open_clip {name}"
        self._place = place

    @classmethod
    def load(cls, model: str, device: str = "cpu") -> "ClipEmbedder":
        """Load a folder or hub id in open_clip's layout; fails where there are no weights."""
        loaded = open_clip.create_model_from_pretrained(_place(model), device=device)
        assert isinstance(loaded, tuple)
        network, preprocess = loaded
        return cls(network.eval().requires_grad_(False), preprocess, Path(model).name, _place(model))

    @classmethod
    def untrained(cls, model: str, seed: int) -> "ClipEmbedder":
        """The same network with random weights: what there is to beat."""
        torch.manual_seed(seed)
        network, _, preprocess = open_clip.create_model_and_transforms(_place(model), load_weights=False)
        name = f"{Path(model).name} of random weights"
        return cls(network.eval().requires_grad_(False), preprocess, name, _place(model))

    @torch.no_grad()
    def __call__(self, images: list[Image]) -> Float[Tensor, "b d"]:
        """Vectors of length 1."""
        device = next(self.model.parameters()).device
        pixels = torch.stack([self.preprocess(image.convert("RGB")) for image in images])
        return self.model.encode_image(pixels.to(device), normalize=True).float()

    @torch.no_grad()
    def words(self, texts: list[str]) -> Float[Tensor, "b d"]:
        """Vectors of length 1, in the space of the images."""
        device = next(self.model.parameters()).device
        return self.model.encode_text(self._tokenizer(texts).to(device), normalize=True).float()

    @cached_property
    def _tokenizer(self) -> Callable[[list[str]], Tensor]:
        return open_clip.get_tokenizer(self._place)


def _place(model: str) -> str:
    """A folder or hub id as open_clip wants it."""
    return f"local-dir:{model}" if Path(model).is_dir() else f"hf-hub:{model}"


class LatentEmbedder:
    """No weights but the editor's VAE: mean and deviation over the image of each normalised latent channel.

    Where things are is averaged away, so that the same change of two different images points the same way; changes of
    colour and light move the means, changes of texture and contrast the deviations.
    """

    name = "latent statistics"

    def __init__(self, encode: Callable[[Image], Latents]) -> None:
        self.encode = encode

    @torch.no_grad()
    def __call__(self, images: list[Image]) -> Float[Tensor, "b d"]:
        """Vectors of twice the VAE's channels."""
        flat = [rearrange(self.encode(image).float(), "1 z h w -> z (h w)") for image in images]
        return torch.stack([torch.cat([x.mean(1), x.std(1)]) for x in flat])

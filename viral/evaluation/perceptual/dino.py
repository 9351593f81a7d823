"""DINO and DINOv2 by transformers: an image as the class token of its last layer."""

from pathlib import Path

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel, BaseImageProcessor


class DinoEmbedder:
    """A vision transformer with its own preprocessing, vectors of length 1."""

    def __init__(self, network: nn.Module, processor: BaseImageProcessor, device: str) -> None:
        self.network, self.processor, self.device = network, processor, device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "DinoEmbedder":
        """Load a folder in transformers' layout, e.g. of facebook/dino-vits16 or facebook/dinov2-base."""
        network = AutoModel.from_pretrained(folder).to(device).eval().requires_grad_(False)
        return cls(network, AutoImageProcessor.from_pretrained(folder), device)

    @torch.no_grad()
    def __call__(self, images: list[Image]) -> Float[Tensor, "n d"]:
        """The class token after the last layer's norm, brought to length 1."""
        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        return normalize(self.network(**inputs).last_hidden_state[:, 0].float(), dim=1)

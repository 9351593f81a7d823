"""The Inception network of FID: torchvision's with the pooling of the TensorFlow graph that its weights come from."""

from pathlib import Path

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import inception

from viral.evaluation.perceptual.state import read_state
from viral.sampling.editor import to_tensor

SIDE = 299
CLASSES = 1008
"""Of the graph of 2015-12-05, which FID is defined by."""


class _OwnPool:
    """A block of torchvision's whose pooling branch pools otherwise."""

    def _forward(self, x: Tensor) -> list[Tensor]:
        *branches, _ = super()._forward(x)
        return [*branches, self.branch_pool(self.pool(x))]


class _InnerMean(_OwnPool):
    """The mean of the neighbours that there are, without the zeros beyond the rim."""

    def pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _A(_InnerMean, inception.InceptionA): ...


class _C(_InnerMean, inception.InceptionC): ...


class _E(_InnerMean, inception.InceptionE): ...


class _Last(_OwnPool, inception.InceptionE):
    """The last block takes the largest neighbour."""

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


def build_inception() -> nn.Module:
    """The network without weights; it gives the 2048 features before the classifier once that is cut off."""
    blocks = [inception.BasicConv2d, _A, inception.InceptionB, _C, inception.InceptionD, _E, inception.InceptionAux]
    network = inception.Inception3(CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
    network.Mixed_7c = _Last(2048)
    return network


class InceptionEmbedder:
    """Images as 2048 pooled features; RGB resized to 299 x 299 bilinearly without antialiasing, in -1..1."""

    def __init__(self, network: nn.Module, device: str) -> None:
        network.fc = nn.Identity()
        self.network, self.device = network.to(device).eval().requires_grad_(False), device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "InceptionEmbedder":
        """Load the published port, `pt_inception-2015-12-05-*.pth`, or the same as safetensors.

        `ValueError` for other weights: torchvision's own Inception gives another distance, which is no FID.
        """
        network = build_inception()
        try:
            network.load_state_dict(read_state(folder))
        except RuntimeError as error:
            raise ValueError(
                f"{folder} does not hold the Inception of FID (pt_inception-2015-12-05, {CLASSES} classes): "
                f"{str(error).splitlines()[1].strip()}"
            ) from None
        return cls(network, device)

    @torch.no_grad()
    def __call__(self, images: list[Image]) -> Float[Tensor, "n 2048"]:
        small = [F.interpolate(to_tensor(image), (SIDE, SIDE), mode="bilinear") for image in images]
        return self.network(torch.cat(small).to(self.device))

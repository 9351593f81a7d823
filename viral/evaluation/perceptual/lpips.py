"""LPIPS (Zhang et al., 2018): torchmetrics' network with its own heads, on a backbone from a folder."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

# The public class can only fetch its backbone from torchvision's server.
from torchmetrics.functional.image.lpips import _LPIPS

from viral.evaluation.perceptual.measure import Measure, Rows, compared
from viral.evaluation.perceptual.state import read_state
from viral.evaluation.protocols.case import Case, Image
from viral.sampling.editor import to_tensor


class Lpips(Measure):
    """Version 0.1 with the learned heads, on RGB in -1..1 at the pictures' own size; 0 for equal images, no upper end.

    The backbone is what the folder holds: AlexNet, which the authors advise for comparing methods, VGG16 or
    SqueezeNet 1.1. The papers do not say theirs.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "Lpips":
        """Load a state dictionary by torchvision's names, which timm's VGG shares; `ValueError` for any other."""
        state = read_state(folder)
        # Classification layers are of no use here.
        state = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
        network = _LPIPS(net=_kind(state, folder), pnet_rand=True)
        own = {re.sub(r"^slice(s\.)?\d+\.", "", name): name for name in network.net.state_dict()}
        if missing := sorted(set(own) - set(state)):
            raise ValueError(f"{folder} lacks weights of LPIPS's backbone: features.{missing[0]} and others")
        network.net.load_state_dict({name: state[short] for short, name in own.items()})
        return cls(network.to(device).eval())

    @torch.no_grad()
    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        truths = [compared(case, "truth") for case in cases]
        return np.array([[self._distance(a, b)] for a, b in zip(outputs, truths, strict=True)], dtype=float)

    def _distance(self, one: Image, other: Image) -> float:
        device = next(self._network.parameters()).device
        return self._network(*(to_tensor(Pillow.fromarray(image)).to(device) for image in (one, other))).item()


def _kind(state: dict[str, Tensor], folder: Path) -> str:
    """Which of LPIPS's backbones the weights are of."""
    if any("squeeze" in name for name in state):
        return "squeeze"
    first = state.get("0.weight")
    kinds = {(64, 3, 11, 11): "alex", (64, 3, 3, 3): "vgg"}
    if first is None or tuple(first.shape) not in kinds:
        raise ValueError(
            f"{folder} holds no AlexNet, VGG16 or SqueezeNet by torchvision's names (features.0.weight and so on)"
        )
    return kinds[tuple(first.shape)]

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from safetensors.torch import save_file
from torchvision.models import AlexNet, SqueezeNet, vgg

from tests.evaluation.perceptual.cases import case, noise
from viral.evaluation.perceptual.lpips import Lpips

HEADS = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
MEAN, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
"""LPIPS's own normalisation of RGB in -1..1."""
BACKBONES: dict[str, tuple[Callable[[], torch.nn.Sequential], tuple[int, ...]]] = {
    "alex": (lambda: AlexNet().features, (2, 5, 8, 10, 12)),
    "vgg": (lambda: vgg.make_layers(vgg.cfgs["D"]), (4, 9, 16, 23, 30)),
    "squeeze": (lambda: SqueezeNet("1_1").features, (2, 5, 8, 10, 11, 12, 13)),
}
"""Each backbone's layers, and after which of them its features are read."""


def by_hand(features: torch.nn.Sequential, ends: tuple[int, ...], kind: str, images: list[np.ndarray]) -> float:
    """The paper's eq. 1: squared differences of unit vectors of channels, weighed by the heads, averaged over space."""
    heads = torch.load(HEADS / f"{kind}.pth", map_location="cpu", weights_only=True)
    signed = [(image / 127.5 - 1 - MEAN) / SCALE for image in images]
    x = torch.from_numpy(np.stack(signed)).permute(0, 3, 1, 2).float()
    total = 0.0
    with torch.no_grad():
        for index, layer in enumerate(features):
            x = layer(x)
            if index + 1 in ends or (index + 1 == len(features) and len(features) in ends):
                one, other = (y.numpy() / (np.linalg.norm(y.numpy(), axis=0) + 1e-8) for y in x)
                head = heads[f"lin{ends.index(index + 1)}.model.1.weight"].numpy()[0]
                total += (head * (one - other) ** 2).sum(0).mean()
    return float(total)


@pytest.mark.parametrize("kind", BACKBONES)
def test_lpips_is_the_papers_sum_over_layers(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, ends = BACKBONES[kind]
    features = build().eval()
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    save_file({**state, "classifier.1.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    one = case(1)
    found = Lpips.load(tmp_path)([one, one], [noise(2), one.truth])[:, 0]
    assert found[0] == pytest.approx(by_hand(features, ends, kind, [noise(2), one.truth]), rel=1e-3)
    assert found[0] > 0 and found[1] == 0


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no AlexNet, VGG16 or SqueezeNet"):
        Lpips.load(tmp_path)
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="lacks weights"):
        Lpips.load(tmp_path)

from pathlib import Path

import pytest
import torch
from torchvision.models import inception

from tests.evaluation.perceptual.cases import noise
from viral.evaluation.perceptual.inception import InceptionEmbedder, build_inception
from viral.evaluation.perceptual.measure import pictures


def test_the_ports_file_loads_and_gives_its_pooled_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_inception().eval()
    torch.save({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "pt_inception.pth")
    found = InceptionEmbedder.load(tmp_path)(pictures([noise(1), noise(2, side=48)]))
    assert found.shape == (2, 2048) and (found[0] != found[1]).any()
    with pytest.raises(ValueError, match="does not hold the Inception of FID"):
        state = {name: value for name, value in network.state_dict().items() if not name.startswith("fc")}
        torch.save(
            state | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, tmp_path / "pt_inception.pth"
        )
        InceptionEmbedder.load(tmp_path)


def test_its_blocks_differ_from_torchvisions_where_the_rim_is_pooled_and_in_the_last() -> None:
    torch.manual_seed(0)
    ours = build_inception().eval()
    theirs = inception.Inception3(1008, aux_logits=False, init_weights=False).eval()
    theirs.load_state_dict(ours.state_dict())
    for name, channels in (("Mixed_5b", 192), ("Mixed_6b", 768), ("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        x = torch.rand(1, channels, 9, 9)
        with torch.no_grad():
            same = torch.isclose(getattr(ours, name)(x), getattr(theirs, name)(x), atol=1e-6).all(1)[0]
        rim = torch.ones(9, 9, dtype=torch.bool)
        rim[1:-1, 1:-1] = False
        assert not same[rim].any()
        assert same[~rim].all() == (name != "Mixed_7c")

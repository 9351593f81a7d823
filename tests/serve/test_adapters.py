"""Several adapters in memory on one base."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from serve.adapters import Adapters
from serve.edit import EditRequest
from serve.painter import paint
from viral.config import AdapterConfig, ModelConfig
from viral.model.adapter import AdapterCard, adapter_parameters, add_adapter, save_adapter
from viral.model.backbone import base_hash, load_backbone

SIZE = (16, 16)
Load = Callable[[int], Adapters]
Painted = Callable[[Adapters, Path | None], bytes]


def make_adapter(base: Path, folder: Path, config: AdapterConfig, seed: int) -> None:
    """Write an adapter of random weights, which changes the picture."""
    transformer = load_backbone(str(base), ("transformer",)).transformer
    assert transformer is not None
    add_adapter(transformer, config, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_parameters(transformer).values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    card = AdapterCard(adapter=config, base="tiny", base_sha256=base_hash(str(base)), size=16, steps=0)
    save_adapter(transformer, folder, card)


@pytest.fixture(scope="module")
def folders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters of different ranks and experts."""
    made = []
    for seed, config in enumerate(
        (AdapterConfig(rank=2, expert_rank=2), AdapterConfig(rank=4, num_experts=1, top_k=1))
    ):
        made.append(tmp_path_factory.mktemp("adapters") / f"adapter-{seed}")
        make_adapter(tiny_base, made[-1], config, seed)
    return made


@pytest.fixture
def load(tiny_base: Path) -> Load:
    return lambda keep: Adapters(str(tiny_base), ModelConfig(), "cpu", torch.float32, keep)


@pytest.fixture
def painted(picture: Callable[..., bytes]) -> Painted:
    """Pixels of a fixed request by one of the adapters, or by the bare base."""
    a, a2, b = (Image.open(io.BytesIO(picture(seed, *SIZE))) for seed in range(3))

    def run(adapters: Adapters, adapter: Path | None) -> bytes:
        words = "make it darker" if adapter is None else None
        request = EditRequest(((b"", b""),), b"", seed=5, steps=1, size=SIZE, instruction=words)
        edit = paint(adapters.editor(adapter), request, ([(a, a2)], b), None, lambda event: None)
        return edit.image.tobytes()

    return run


def interleave(load: Load, folders: list[Path], painted: Painted, *, keep: int, rounds: int) -> None:
    """Paint with two adapters and the bare base in random orders; each has to paint as it does alone."""
    names = (*folders, None)
    alone = {name: painted(load(1), name) for name in names}
    assert len(set(alone.values())) == 3
    shared, order = load(keep), random.Random(0)
    for _ in range(rounds):
        for name in order.sample(names, 3):
            assert painted(shared, name) == alone[name]


# tests/chaos has 200 rounds. With room for one, every change of adapter loads it anew.
@pytest.mark.parametrize(("keep", "rounds"), [(2, 20), (1, 5)])
def test_random_interleavings_of_two_adapters_equal_sequential_runs(load, folders, painted, keep, rounds):
    interleave(load, folders, painted, keep=keep, rounds=rounds)


def test_adapters_share_the_tensors_of_the_base(load, folders):
    adapters = load(2)
    bare = {parameter.data_ptr() for parameter in adapters.bare.transformer.parameters()}
    for folder in folders:
        own = adapters.editor(folder).transformer
        frozen = [parameter for parameter in own.parameters() if not parameter.requires_grad]
        assert {parameter.data_ptr() for parameter in frozen} == bare


def test_least_used_adapter_makes_room(load, folders):
    adapters = load(1)
    first = adapters.editor(folders[0])
    assert adapters.editor(folders[0]) is first
    adapters.editor(folders[1])
    assert adapters.editor(folders[0]) is not first


def test_damaged_adapter_is_refused_and_the_others_go_on(load, folders, painted, tmp_path):
    adapters = load(2)
    before = painted(adapters, folders[0])
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folders[1].iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[:-1] if file.suffix == ".safetensors" else file.read_bytes())
    with pytest.raises(ValueError, match="damaged"):
        adapters.editor(broken)
    assert painted(adapters, folders[0]) == before


def test_adapter_of_another_base_is_refused(folders, fill_base):
    adapters = Adapters(str(fill_base), ModelConfig(), "cpu", torch.float32, 2)
    with pytest.raises(ValueError, match="QwenImageTransformer2DModel"):
        adapters.editor(folders[0])

import json
from pathlib import Path

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from peft import PeftModel

from viral.config import AdapterConfig
from viral.model.adapter import (
    EXPERTS,
    AdapterCard,
    adapter_parameters,
    adapter_state,
    add_adapter,
    balance_loss,
    load_adapter,
    load_adapter_state,
    save_adapter,
)
from viral.model.backbone import base_hash, load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import predict_velocity

CONFIG = AdapterConfig(rank=4, alpha=8, expert_rank=4, expert_alpha=4)


def bare(base: Path) -> QwenImageTransformer2DModel:
    model = load_backbone(str(base), parts=("transformer",)).transformer
    assert model is not None
    return model


def velocity(model: QwenImageTransformer2DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 16, 4, 4, generator=generator) for _ in range(4)]
    return predict_velocity(model, images[0], images[1:], ANALOGY, torch.tensor([0.2, 0.7]), torch.ones(1, 4, 64))


def shaken(base: Path) -> QwenImageTransformer2DModel:
    """A transformer whose adapter does something."""
    model, generator = bare(base), torch.Generator().manual_seed(9)
    add_adapter(model, CONFIG, seed=1)
    load_adapter_state(
        model, {name: torch.randn(t.shape, generator=generator) * 0.1 for name, t in adapter_state(model).items()}
    )
    return model


@pytest.fixture(scope="module")
def saved(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    folder, model = tmp_path_factory.mktemp("adapter"), shaken(tiny_base)
    save_adapter(
        model, folder, AdapterCard(adapter=CONFIG, base="test", base_sha256=base_hash(str(tiny_base)), size=32, steps=3)
    )
    with torch.no_grad():
        return folder, velocity(model)


@torch.no_grad()
def test_adapter_is_identity_at_start(tiny_base: Path) -> None:
    model = bare(tiny_base)
    before = velocity(model)
    add_adapter(model, CONFIG, seed=1)
    torch.testing.assert_close(velocity(model), before, rtol=1e-5, atol=1e-6)


def test_only_adapter_and_router_receive_gradients(tiny_base: Path) -> None:
    model = shaken(tiny_base)
    (velocity(model).square().mean() + balance_loss(model)).backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert with_gradient == set(adapter_parameters(model))
    assert all("lora" in name for name in with_gradient)
    assert any("lora_router" in name for name in with_gradient)


def test_same_seed_gives_the_same_start(tiny_base: Path) -> None:
    states = []
    for _ in range(2):
        model = bare(tiny_base)
        add_adapter(model, CONFIG, seed=7)
        states.append(adapter_state(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@torch.no_grad()
def test_saved_and_loaded_adapter_gives_the_same_output(tiny_base: Path, saved: tuple[Path, torch.Tensor]) -> None:
    folder, expected = saved
    model = bare(tiny_base)
    card = load_adapter(model, folder)
    assert torch.equal(velocity(model), expected)
    assert card.roles == {"target": 0, "example_source": 1, "example_target": 2, "query": 3}


@torch.no_grad()
def test_plain_part_opens_in_peft_and_in_diffusers_alike(tiny_base: Path, saved: tuple[Path, torch.Tensor]) -> None:
    from diffusers import QwenImageEditPlusPipeline

    folder, _ = saved
    by_peft = PeftModel.from_pretrained(bare(tiny_base), str(folder))
    pipeline = QwenImageEditPlusPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    pipeline.load_lora_weights(str(folder), weight_name="pytorch_lora_weights.safetensors", use_safetensors=True)
    from viral.model.roles import use_role_rope

    use_role_rope(pipeline.transformer)
    plain = velocity(by_peft.base_model.model)
    assert (plain - velocity(bare(tiny_base))).abs().max() > 1e-3
    torch.testing.assert_close(velocity(pipeline.transformer), plain, rtol=1e-4, atol=1e-5)


def test_damaged_and_foreign_files_are_refused(
    tiny_base: Path, saved: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    folder, _ = saved
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    experts = tmp_path / EXPERTS
    experts.write_bytes(experts.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is damaged"):
        load_adapter(bare(tiny_base), tmp_path)
    with pytest.raises(ValueError, match="holds no adapter"):
        load_adapter(bare(tiny_base), tmp_path / "nowhere")
    model = shaken(tiny_base)
    state = adapter_state(model)
    first = next(iter(state))
    with pytest.raises(ValueError, match="not finite"):
        load_adapter_state(model, {**state, first: torch.full_like(state[first], float("nan"))})
    with pytest.raises(ValueError, match="names differ"):
        load_adapter_state(model, {first: state[first]})
    with pytest.raises(ValueError, match="expected"):
        load_adapter_state(model, {**state, first: torch.zeros(1)})


def test_card_says_the_alpha_that_peft_reads(saved: tuple[Path, torch.Tensor]) -> None:
    config = json.loads((saved[0] / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (CONFIG.rank, CONFIG.alpha)

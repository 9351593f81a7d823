import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.adapter import (
    EXPERTS,
    AdapterCard,
    adapter_parameters,
    adapter_sha256,
    adapter_state,
    add_adapter,
    add_plain,
    balance_loss,
    expert_use,
    experts_of,
    load_adapter,
    load_adapter_state,
    merge_plain,
    plain_of,
    save_adapter,
    set_strength,
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
def test_saving_again_gives_the_same_bytes(tiny_base: Path, saved: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    model, card = bare(tiny_base), load_adapter(bare(tiny_base), saved[0])
    load_adapter(model, saved[0])
    save_adapter(model, tmp_path, card)
    names = sorted(path.name for path in saved[0].iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert [(saved[0] / name).read_bytes() for name in names] == [(tmp_path / name).read_bytes() for name in names]
    targets = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets), "peft writes a set, whose order changes from process to process"


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


def test_a_card_that_says_something_else_is_another_adapter(saved: tuple[Path, Tensor], tmp_path: Path) -> None:
    for path in saved[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert adapter_sha256(tmp_path) == adapter_sha256(saved[0])
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "role_numbering": "shared"}))
    assert adapter_sha256(tmp_path) != adapter_sha256(saved[0])


def test_card_says_the_alpha_that_peft_reads(saved: tuple[Path, torch.Tensor]) -> None:
    config = json.loads((saved[0] / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (CONFIG.rank, CONFIG.alpha)


Build = Callable[..., nn.Module]
Respond = Callable[[nn.Module], Tensor]


@pytest.fixture
def adapted(build: Build, shaken: Build, small: AdapterConfig) -> nn.Module:
    """A transformer of either backbone whose adapter does something."""
    model = build()
    add_adapter(model, small, seed=1)
    return shaken(model)


@pytest.fixture
def second(adapted: nn.Module, tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file of another plain LoRA, on an attention layer and beneath experts; and what it adds to their weights."""
    generator, deltas, tensors = torch.Generator().manual_seed(3), {}, {}
    expert = next(iter(experts_of(adapted)))
    for name in ("transformer_blocks.0.attn.to_q", expert):
        linear = adapted.get_submodule(name)
        linear = linear.base if name == expert else linear.base_layer
        down = torch.randn(2, linear.in_features, generator=generator) * 0.1
        up = torch.randn(linear.out_features, 2, generator=generator) * 0.1
        tensors |= {f"diffusion_model.{name}.lora_down.weight": down, f"diffusion_model.{name}.lora_up.weight": up}
        tensors[f"diffusion_model.{name}.alpha"] = torch.tensor(3.0)
        deltas[name] = 3 / 2 * up @ down
    save_file(tensors, tmp_path / "distilled.safetensors")
    return tmp_path / "distilled.safetensors", deltas


@torch.no_grad()
def test_either_backbone_starts_as_its_base(build: Build, respond: Respond, small: AdapterConfig) -> None:
    model = build()
    before = respond(model)
    add_adapter(model, small, seed=1)
    torch.testing.assert_close(respond(model), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("placement", ["released", "text"])
def test_every_adapter_parameter_is_used(
    build: Build, shaken: Build, respond: Respond, small: AdapterConfig, placement: str
) -> None:
    model = build()
    add_adapter(model, small.model_copy(update={"placement": placement, "text_stream": True}), seed=1)
    (respond(shaken(model)).square().mean() + balance_loss(model)).backward()
    idle = [name for name, p in adapter_parameters(model).items() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle
    assert {name.rpartition(".")[2] for name in experts_of(model)} <= {"2", "0", "proj_out"}


def test_flux_experts_sit_where_icedits_code_and_its_prose_have_them(
    build_of: dict[str, Build], small: AdapterConfig
) -> None:
    places = {}
    for placement in ("released", "text"):
        model = build_of["flux"]()
        add_adapter(model, small.model_copy(update={"placement": placement}), seed=1)
        places[placement] = set(experts_of(model))
        assert not places[placement] & plain_of(model).keys()
    blocks = (0, 1)
    assert places["released"] == {f"transformer_blocks.{i}.ff.net.2" for i in blocks} | {
        f"single_transformer_blocks.{i}.proj_out" for i in blocks
    }
    assert places["text"] == {f"transformer_blocks.{i}.attn.to_out.0" for i in blocks}


def test_router_that_cannot_learn_is_warned_of(build_of: dict[str, Build], small: AdapterConfig) -> None:
    with pytest.warns(UserWarning, match="gets no gradient"):
        add_adapter(build_of["flux"](), small.model_copy(update={"top_k": 1}), seed=1)


def test_balance_loss_keeps_its_gradient_and_counts_once_under_checkpointing(
    adapted: nn.Module, respond: Respond
) -> None:
    found = []
    for checkpointed in (False, True):
        if checkpointed:
            adapted.enable_gradient_checkpointing()
        adapted.zero_grad()
        output = respond(adapted)
        balance = balance_loss(adapted)
        use = expert_use(adapted)
        balance.backward(retain_graph=True)
        routers = [layer.lora_router.grad.clone() for layer in experts_of(adapted).values()]
        output.square().mean().backward()
        assert torch.equal(balance_loss(adapted), balance)
        found.append((balance, use, routers, [p.grad for p in adapter_parameters(adapted).values()]))
    assert all(router.abs().max() > 0 for router in found[0][2])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


def test_expert_use_is_told_by_layer(adapted: nn.Module, respond: Respond, small: AdapterConfig) -> None:
    respond(adapted)
    use = expert_use(adapted)
    assert use.shape == (len(experts_of(adapted)), small.num_experts)
    torch.testing.assert_close(use.sum(1), torch.ones(len(use)))


@torch.no_grad()
def test_plain_lora_alone_has_no_balance_to_keep(build: Build, respond: Respond, small: AdapterConfig) -> None:
    model = build()
    add_adapter(model, small.model_copy(update={"expert_targets": ()}), seed=1)
    respond(model)
    assert balance_loss(model) == 0
    assert expert_use(model).mean(0).tolist() == []


@torch.no_grad()
def test_strength_goes_from_the_base_to_the_adapter(adapted: nn.Module, build: Build, respond: Respond) -> None:
    full, bare_output = respond(adapted), respond(build())
    set_strength(adapted, 0.0)
    torch.testing.assert_close(respond(adapted), bare_output, rtol=1e-6, atol=1e-6)
    set_strength(adapted, 0.5)
    half = respond(adapted)
    assert (half - bare_output).norm() > 0.05 * bare_output.norm()
    assert (half - full).norm() > 0.05 * bare_output.norm()
    set_strength(adapted, 1.0)
    assert torch.equal(respond(adapted), full)
    with pytest.raises(ValueError, match="expected a finite number"):
        set_strength(adapted, float("nan"))
    with pytest.raises(ValueError, match="no adapter 'turbo'.*there are"):
        set_strength(adapted, 1.0, "turbo")


@torch.no_grad()
def test_second_plain_lora_rides_along_beside_and_beneath_experts(
    adapted: nn.Module, respond: Respond, second: tuple[Path, dict[str, Tensor]]
) -> None:
    path, deltas = second
    trained, alone = set(adapter_parameters(adapted)), respond(adapted)
    add_plain(adapted, path, "distilled", strength=0.7)
    together = respond(adapted)
    assert set(adapter_parameters(adapted)) == trained
    set_strength(adapted, 0.0, "distilled")
    torch.testing.assert_close(respond(adapted), alone)
    for name, delta in deltas.items():
        layer = adapted.get_submodule(name)
        linear = layer.base.base_layer if name in experts_of(adapted) else layer.base_layer
        linear.weight += 0.7 * delta
    torch.testing.assert_close(respond(adapted), together, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="loaded already"):
        add_plain(adapted, path, "distilled")


@torch.no_grad()
def test_saving_beside_a_second_lora_saves_the_first_alone(
    adapted: nn.Module, build: Build, respond: Respond, second: tuple[Path, dict[str, Tensor]], small: AdapterConfig
) -> None:
    alone = respond(adapted)
    add_plain(adapted, second[0], "distilled")
    folder = second[0].parent / "adapter"
    save_adapter(adapted, folder, AdapterCard(adapter=small, base="b", base_sha256="0", size=32, steps=1))
    fresh = build()
    load_adapter(fresh, folder)
    assert torch.equal(respond(fresh), alone)


@torch.no_grad()
def test_merged_plain_lora_gives_the_same_output(
    adapted: nn.Module, respond: Respond, second: tuple[Path, dict[str, Tensor]]
) -> None:
    add_plain(adapted, second[0], "distilled", strength=0.7)
    set_strength(adapted, 0.8)
    before = respond(adapted)
    merge_plain(adapted)
    assert not plain_of(adapted)
    torch.testing.assert_close(respond(adapted), before, rtol=1e-5, atol=1e-5)


def test_targets_that_are_no_linear_layers_are_refused(build: Build, small: AdapterConfig) -> None:
    with pytest.raises(ValueError, match="no linear layer of this .* is called 'transformer_blocks.\\*.attn.norm_q'"):
        add_adapter(build(), small.model_copy(update={"targets": ("transformer_blocks.*.attn.norm_q",)}), seed=0)
    with pytest.raises(ValueError, match="no adapter is known for a Linear"):
        add_adapter(nn.Linear(2, 2), small, seed=0)

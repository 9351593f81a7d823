"""Files with the names and shapes of those that the authors released, with values of our own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.adapter import AdapterCard, add_plain, experts_of, load_adapter, save_adapter
from viral.model.released import load_released

Build = Callable[..., nn.Module]
Respond = Callable[[nn.Module], Tensor]
DIFFSYNTH = (
    "attn.to_q", "attn.to_k", "attn.to_v", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_out.0",
    "attn.to_add_out", "img_mlp.net.2", "img_mod.1", "txt_mlp.net.2", "txt_mod.1",
)  # fmt: skip
ICEDIT_DOUBLE = ("norm1.linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.2")
ICEDIT_SINGLE = ("norm.linear", "proj_mlp", "proj_out", "attn.to_q", "attn.to_k", "attn.to_v")
ICEDIT = [
    "x_embedder",
    *(f"transformer_blocks.{i}.{layer}" for i in range(2) for layer in ICEDIT_DOUBLE),
    *(f"single_transformer_blocks.{i}.{layer}" for i in range(2) for layer in ICEDIT_SINGLE),
]
RANK, EXPERTS = 3, 4


def pairs(model: nn.Module, layers: list[str], rank: int = RANK) -> dict[str, tuple[Tensor, Tensor]]:
    """Random A and B for linear layers of the model."""
    generator = torch.Generator().manual_seed(4)
    made = {}
    for name in layers:
        linear = model.get_submodule(name)
        down = torch.randn(rank, linear.in_features, generator=generator) * 0.1
        made[name] = down, torch.randn(linear.out_features, rank, generator=generator) * 0.1
    return made


def written(path: Path, made: dict[str, tuple[Tensor, Tensor]], prefix: str = "", suffix: str = ".weight") -> Path:
    tensors = {f"{prefix}{name}.lora_A{suffix}": down for name, (down, _) in made.items()}
    save_file(tensors | {f"{prefix}{name}.lora_B{suffix}": up for name, (_, up) in made.items()}, path)
    return path


@torch.no_grad()
def merged(model: nn.Module, made: dict[str, tuple[Tensor, Tensor]]) -> nn.Module:
    """W + B A by hand."""
    for name, (down, up) in made.items():
        model.get_submodule(name).weight += up @ down
    return model


@pytest.mark.parametrize("suffix", [".weight", ".default.weight"])
@pytest.mark.parametrize(
    "prefix", ["", "transformer.", "diffusion_model.", "pipe.dit.", "model.diffusion_model.", "base_model.model."]
)
@torch.no_grad()
def test_virals_release_is_base_plus_b_a_under_every_prefix(
    build_of: dict[str, Build], respond: Respond, tmp_path: Path, prefix: str, suffix: str
) -> None:
    base = build_of["qwen"]()
    made = pairs(base, [f"transformer_blocks.{i}.{layer}" for i in range(2) for layer in DIFFSYNTH])
    assert len(made) == 24
    model = build_of["qwen"]()
    config = load_released(model, written(tmp_path / "model.safetensors", made, prefix, suffix))
    torch.testing.assert_close(respond(model), respond(merged(base, made)), rtol=1e-5, atol=1e-5)
    assert (config.rank, config.alpha, config.expert_targets) == (RANK, RANK, ())
    assert set(config.targets) == {f"transformer_blocks.*.{layer}" for layer in DIFFSYNTH}


@torch.no_grad()
def test_icedits_plain_release_is_base_plus_b_a(build_of: dict[str, Build], respond: Respond, tmp_path: Path) -> None:
    base, model = build_of["flux"](), build_of["flux"]()
    made = pairs(base, ICEDIT)
    config = load_released(model, written(tmp_path / "pytorch_lora_weights.safetensors", made, "transformer."))
    torch.testing.assert_close(respond(model), respond(merged(base, made)), rtol=1e-5, atol=1e-5)
    assert config.expert_targets == ()


def mixture(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
    """ICEdit's mixture: experts where the name has ff.net or proj_out, plain pairs elsewhere; and these pairs."""
    with_experts = [name for name in ICEDIT if "ff.net" in name or "proj_out" in name]
    plain = pairs(model, [name for name in ICEDIT if name not in with_experts])
    tensors = {f"transformer.{name}.lora_A.weight": down for name, (down, _) in plain.items()}
    tensors |= {f"transformer.{name}.lora_B.weight": up for name, (_, up) in plain.items()}
    generator = torch.Generator().manual_seed(6)
    for name in with_experts:
        linear = model.get_submodule(name)
        route = torch.randn(EXPERTS, linear.in_features, generator=generator)
        tensors[f"transformer.{name}.lora_route.weight"] = route
        for i in range(EXPERTS):
            down = torch.randn(RANK, linear.in_features, generator=generator) * 0.2
            up = torch.randn(linear.out_features, RANK, generator=generator) * 0.2
            tensors |= {
                f"transformer.{name}.lora_A.expert_{i}.weight": down,
                f"transformer.{name}.lora_B.expert_{i}.weight": up,
            }
    return tensors, plain


def by_hand(model: nn.Module, tensors: dict[str, Tensor], plain: dict[str, tuple[Tensor, Tensor]]) -> nn.Module:
    """The best expert of each token, added by a loop."""

    def add(layer: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            best = (inputs[0] @ tensors[f"{layer}.lora_route.weight"].T).argmax(-1, keepdim=True)
            for i in range(EXPERTS):
                down, up = (tensors[f"{layer}.lora_{part}.expert_{i}.weight"] for part in "AB")
                output = output + (best == i) * (inputs[0] @ down.T @ up.T)
            return output

        return hook

    merged(model, plain)
    for name in tensors:
        if name.endswith(".lora_route.weight"):
            layer = name.removesuffix(".lora_route.weight")
            model.get_submodule(layer.removeprefix("transformer.")).register_forward_hook(add(layer))
    return model


@torch.no_grad()
def test_icedits_mixture_is_a_loop_over_its_experts(
    build_of: dict[str, Build], respond: Respond, tmp_path: Path
) -> None:
    base, model = build_of["flux"](), build_of["flux"]()
    tensors, plain = mixture(base)
    save_file(tensors, tmp_path / "icedit_moe.safetensors")
    config = load_released(model, tmp_path / "icedit_moe.safetensors")
    torch.testing.assert_close(respond(model), respond(by_hand(base, tensors, plain)), rtol=1e-5, atol=1e-5)
    assert (config.num_experts, config.expert_rank, config.top_k) == (EXPERTS, RANK, 1)
    assert config.expert_targets == ("single_transformer_blocks.*.proj_out", "transformer_blocks.*.ff.net.2")
    assert len(experts_of(model)) == 4


@torch.no_grad()
def test_release_saved_as_a_folder_of_ours_gives_the_same_output(
    build_of: dict[str, Build], respond: Respond, tmp_path: Path
) -> None:
    model, again = build_of["flux"](), build_of["flux"]()
    save_file(mixture(model)[0], tmp_path / "icedit_moe.safetensors")
    config = load_released(model, tmp_path / "icedit_moe.safetensors")
    card = AdapterCard(adapter=config, base="black-forest-labs/FLUX.1-Fill-dev", base_sha256="0", size=512, steps=0)
    save_adapter(model, tmp_path / "ours", card)
    assert load_adapter(again, tmp_path / "ours").adapter == config
    assert torch.equal(respond(again), respond(model))


@torch.no_grad()
def test_alpha_that_a_file_does_not_say_is_an_argument(
    build_of: dict[str, Build], respond: Respond, tmp_path: Path
) -> None:
    base, model = build_of["qwen"](), build_of["qwen"]()
    made = pairs(base, ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_k"])
    path = written(tmp_path / "model.safetensors", made)
    config = load_released(model, path, alpha=2.0 * RANK)
    doubled = {name: (down, 2 * up) for name, (down, up) in made.items()}
    torch.testing.assert_close(respond(model), respond(merged(base, doubled)), rtol=1e-5, atol=1e-5)
    assert config.targets == tuple(made)


def test_mixture_that_is_not_whole_is_refused(build_of: dict[str, Build], tmp_path: Path) -> None:
    tensors, _ = mixture(build_of["flux"]())
    path = tmp_path / "file.safetensors"

    def refused(message: str, changed: dict[str, Tensor]) -> None:
        save_file(changed, path)
        with pytest.raises(ValueError, match=message):
            load_released(build_of["flux"](), path)

    route = next(name for name in tensors if "lora_route" in name)
    refused("experts or a router but not both", {k: v for k, v in tensors.items() if k != route})
    expert = next(name for name in tensors if "lora_B.expert_2" in name)
    refused(
        "router is for 4 experts, but lora_B of expert 2 does not fit",
        {k: v for k, v in tensors.items() if k != expert},
    )
    refused("its experts differ in shape", {**tensors, expert: tensors[expert][:, :2].contiguous()})
    refused("holds values that are not finite", {**tensors, route: tensors[route] / 0})


def test_release_for_another_base_is_refused(build_of: dict[str, Build], tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", pairs(build_of["qwen"](), ["transformer_blocks.1.img_mod.1"]))
    with pytest.raises(ValueError, match="expected one of this FluxTransformer2DModel of 2 blocks"):
        load_released(build_of["flux"](), path)
    with pytest.raises(ValueError, match="expected one of this QwenImageTransformer2DModel of 1 blocks"):
        load_released(build_of["qwen"](num_layers=1), path)


def test_release_of_several_ranks_is_refused_but_rides_along(build_of: dict[str, Build], tmp_path: Path) -> None:
    model = build_of["qwen"]()
    made = pairs(model, ["transformer_blocks.0.attn.to_q"]) | pairs(model, ["transformer_blocks.0.attn.to_k"], rank=5)
    path = written(tmp_path / "model.safetensors", made)
    with pytest.raises(ValueError, match=r"got \[3, 5\] as rank of its plain layers, expected one"):
        load_released(model, path)
    add_plain(model, path, "release")


def test_mixture_does_not_ride_along_as_if_it_were_plain(build_of: dict[str, Build], tmp_path: Path) -> None:
    model = build_of["flux"]()
    save_file(mixture(model)[0], tmp_path / "icedit_moe.safetensors")
    with pytest.raises(ValueError, match="no tensor of a plain LoRA.*viral.model.released"):
        add_plain(model, tmp_path / "icedit_moe.safetensors", "icedit")


def test_configuration_says_how_a_release_was_made(build_of: dict[str, Build], tmp_path: Path) -> None:
    save_file(mixture(build_of["flux"]())[0], tmp_path / "icedit_moe.safetensors")
    config = load_released(build_of["flux"](), tmp_path / "icedit_moe.safetensors", top_k=2)
    assert AdapterConfig.model_validate_json(config.model_dump_json()) == config
    assert config.top_k == 2

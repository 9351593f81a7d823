"""Estimates against what they estimate: real tensors, torch's own counter, and the published models' figures."""

import json
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from viral.config import AdapterConfig, RunConfig, resolve
from viral.model.adapter import add_adapter, balance_loss
from viral.model.architecture import read_architecture
from viral.model.empty import count_parameters
from viral.model.footprint import (
    GB,
    PAINTING_CHANGES,
    TRAINING_CHANGES,
    Footprint,
    Shape,
    forward_flops,
    training_flops,
)
from viral.model.roles import use_role_rope
from viral.model.trace import Cost, Pass, forward, peak_bytes, trace
from viral.shipped import SHIPPED_BASE
from viral.train.estimate import print_estimate

CONFIGS = Path(__file__).parents[2] / "jobs/configs"
SMALL = AdapterConfig(rank=4, alpha=4, expert_rank=4, expert_alpha=4)
QWEN = {
    "_class_name": "QwenImageTransformer2DModel", "in_channels": 64, "out_channels": 16, "num_layers": 5,
    "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 64, "axes_dims_rope": [8, 12, 12],
    "zero_cond_t": True,
}  # fmt: skip
FLUX = {
    "_class_name": "FluxTransformer2DModel", "in_channels": 384, "out_channels": 64, "num_layers": 3,
    "num_single_layers": 4, "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 64,
    "pooled_projection_dim": 24, "axes_dims_rope": [8, 12, 12], "guidance_embeds": True,
}  # fmt: skip
CASES = {
    "qwen": (QWEN, Pass(2, (16, 16), 3, 8)),
    "qwen, three targets of a stationary context": (QWEN, Pass(2, (16, 16), 3, 8, "stationary", 3)),
    "flux": (FLUX, Pass(2, (8, 16), 0, 8)),
}


def adapted(config: dict) -> torch.nn.Module:
    """A real transformer with weights, as training has it."""
    model = getattr(diffusers, config["_class_name"]).from_config(config)
    if not isinstance(model, FluxTransformer2DModel):
        use_role_rope(model)
    add_adapter(model, SMALL, seed=0)
    return model


def step(model: torch.nn.Module, work: Pass) -> None:
    (forward(model, work).square().mean() + balance_loss(model)).backward()


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[dict, Pass, Cost]:
    config, work = CASES[request.param]
    return config, work, trace(config, SMALL, work, torch.float32)


@pytest.fixture(scope="module")
def qwen() -> Footprint:
    return Footprint(resolve(str(CONFIGS / "qwen_edit_2511.yaml"), []))


def test_published_models_have_their_published_sizes() -> None:
    edit, fill = (read_architecture(f"some/{name}") for name in ("Qwen-Image-Edit-2511", "FLUX.1-Fill-dev"))
    assert count_parameters(edit["transformer"])[0] == 20_430_401_088
    assert count_parameters(fill["transformer"])[0] == pytest.approx(11.90e9, rel=1e-3)
    assert [round(count_parameters(edit[part])[0] / 1e9, 2) for part in ("text_encoder", "vae")] == [8.29, 0.13]
    assert [round(count_parameters(fill[part])[0] / 1e9, 2) for part in ("text_encoder", "text_encoder_2")] == [
        0.12,
        4.76,
    ]


def test_folder_is_described_by_its_own_configurations(tmp_path: Path) -> None:
    found = read_architecture(str(SHIPPED_BASE))
    weights = json.loads((SHIPPED_BASE / "transformer/config.json").read_text())
    assert found["transformer"] == weights and found.keys() == {"transformer", "vae", "text_encoder"}
    with pytest.raises(ValueError, match="no transformer/config.json"):
        read_architecture(str(tmp_path))


def test_figures_at_full_depth_are_those_of_the_whole_model(case: tuple[dict, Pass, Cost]) -> None:
    config, _, cost = case
    model = adapted(config)
    assert cost.adapter == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(cost.matrices.values()) == sum(p.numel() for p in model.parameters() if p.ndim == 2)


def test_memory_of_a_pass_is_what_real_tensors_take(case: tuple[dict, Pass, Cost]) -> None:
    config, work, cost = case
    model, tables = adapted(config), 2 << 20  # tables of positions: constants here, copied in the trace
    painting = peak_bytes(lambda: forward(model, work))
    training = peak_bytes(lambda: step(model, work), model)
    model.enable_gradient_checkpointing()
    checkpointed = peak_bytes(lambda: step(model, work), model)
    assert painting == pytest.approx(cost.painting, rel=0.02, abs=tables)
    assert training == pytest.approx(cost.training, rel=0.02, abs=tables)
    assert checkpointed == pytest.approx(cost.checkpointed, rel=0.02, abs=tables)
    assert checkpointed < training


def test_memory_of_training_covers_what_autograd_saves(case: tuple[dict, Pass, Cost]) -> None:
    config, work, cost = case
    model, saved = adapted(config), {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward(model, work).square().mean() + balance_loss(model)
    kept = sum(size for place, size in saved.items() if place not in weights)
    assert loss.requires_grad
    assert 0.8 * cost.training < kept <= cost.training


def test_operations_are_what_torch_counts(case: tuple[dict, Pass, Cost]) -> None:
    config, work, cost = case
    model, depth = adapted(config), config["num_layers"] + config.get("num_single_layers", 0)
    shape, target, tokens = Shape(64, depth, work), work.target_tokens, work.target_tokens * (1 + work.context)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(model, work)
    if work.mode == "full":
        flops = forward_flops(cost, shape, tokens, tokens, target)
    else:
        prefill = forward_flops(cost, shape, tokens - target, tokens - target, 0)
        flops = prefill + work.targets * forward_flops(cost, shape, target, tokens, target, text=False)
    assert work.batch * flops == pytest.approx(counter.get_total_flops(), rel=0.02)
    model.enable_gradient_checkpointing()
    with FlopCounterMode(display=False) as counter:
        step(model, work)
    # Below the first adapter nothing needs a gradient, and the last block's text leads nowhere: few blocks show it.
    assert training_flops(cost, shape, True) == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_stationary_context_costs_what_the_arithmetic_says(qwen: Footprint) -> None:
    """TFLOPs of performance figures at four images of 1024 x 1024, adapter and a few words left aside."""
    full = qwen.image_seconds() * qwen.card.peak * qwen.card.share / 40e12
    assert full == pytest.approx(420.6, rel=0.06)
    assert qwen.image_seconds() / qwen.image_seconds(stationary=True) == pytest.approx(3.75, rel=0.02)
    assert qwen.context_bytes() == pytest.approx(9.06 * GB, rel=0.01)


def test_training_of_the_20_billion_model_fits_as_known(qwen: Footprint) -> None:
    parts = qwen.training()
    assert parts["transformer"] == pytest.approx(40.86 * GB, rel=1e-3)
    assert 50 * GB < sum(parts.values()) < 66 * GB
    assert qwen.step_seconds() == pytest.approx(9, rel=0.05), "10 s, and an eighth less where attention is kept"
    fits = [qwen.fitting(size * GB, qwen.training, TRAINING_CHANGES) for size in (24, 48, 80)]
    forget = "train.keep_attention=false"
    settings = [qwen.settings(fit or {}) for fit in fits]
    assert settings == [[forget, "train.zero_stage=3"], [forget, "model.modulation=table"], []]
    paints = [qwen.fitting(size * GB, qwen.painting, PAINTING_CHANGES) for size in (24, 48, 80)]
    assert paints == [{"model.offload": "model", "model.quantise": "nf4"}, {"model.offload": "model"}, {}]


def test_sharding_shrinks_what_its_stage_says(qwen: Footprint) -> None:
    stages = [qwen.training({"train.zero_stage": stage}) for stage in (0, 1, 2, 3)]
    assert stages[1]["optimizer's state"] * 8 == stages[0]["optimizer's state"]
    assert stages[2]["gradients"] * 8 == stages[1]["gradients"]
    assert stages[3]["transformer"] < stages[2]["transformer"] / 5


def test_steps_take_as_long_as_their_micro_batches(qwen: Footprint) -> None:
    twice = Footprint(qwen.config.model_copy(update={"train": qwen.config.train.model_copy(update={"batch_size": 16})}))
    twice.__dict__["cost"] = qwen.cost
    assert twice.step_seconds() == pytest.approx(2 * qwen.step_seconds())
    assert twice.samples_per_hour() == pytest.approx(qwen.samples_per_hour())


def test_dry_run_tells_memory_fit_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimate(RunConfig())
    said = capsys.readouterr().out
    assert all(word in said for word in ("Apache-2.0", "transformer", "total", "24 GB", "fits as it is", "A800-80G"))


def test_estimate_of_an_unreachable_base_ends_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        print_estimate(RunConfig(base="nowhere"))
    assert "neither a folder nor a hub id" in capsys.readouterr().err

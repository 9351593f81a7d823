import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline, FluxTransformer2DModel, QwenImageEditPlusPipeline
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from viral.config import AdapterConfig
from viral.model.adapter import (
    AdapterCard,
    add_adapter,
    add_plain,
    experts_of,
    inject_adapter,
    load_adapter,
    load_adapter_state,
    plain_of,
    plain_state,
    read_card,
    save_adapter,
)
from viral.model.adapter_files import CARD, COMFYUI, DIFFUSERS, EXPERTS, PEFT, ROUTER, write_card
from viral.model.adapter_forms import read_plain
from viral.model.dense_export import dense_layer, export_dense

Build = Callable[..., nn.Module]
Respond = Callable[[nn.Module], Tensor]
WEIGHTS = (PEFT, DIFFUSERS, COMFYUI, EXPERTS, ROUTER)


@pytest.fixture
def adapted(build: Build, shaken: Build, small: AdapterConfig) -> nn.Module:
    model = build()
    add_adapter(model, small, seed=1)
    return shaken(model)


@pytest.fixture
def folder(adapted: nn.Module, small: AdapterConfig, tmp_path: Path) -> Path:
    card = AdapterCard(
        adapter=small, base="Qwen/Qwen-Image-Edit-2511", base_revision="6f3ccc0", base_sha256="ab" * 32, size=512,
        steps=7, context="stationary", text="instruction",
    )  # fmt: skip
    save_adapter(adapted, tmp_path / "adapter", card)
    return tmp_path / "adapter"


@pytest.fixture
def expected(adapted: nn.Module, respond: Respond) -> Tensor:
    """Output of the plain part alone."""
    for layer in experts_of(adapted).values():
        layer.strength = 0.0
    with torch.no_grad():
        return respond(adapted)


def pipeline_of(transformer: nn.Module) -> QwenImageEditPlusPipeline | FluxFillPipeline:
    """The stock pipeline around a transformer alone."""
    encoders = {"scheduler": None, "vae": None, "text_encoder": None, "tokenizer": None}
    if isinstance(transformer, FluxTransformer2DModel):
        return FluxFillPipeline(**encoders, text_encoder_2=None, tokenizer_2=None, transformer=transformer)
    return QwenImageEditPlusPipeline(**encoders, processor=None, transformer=transformer)


@torch.no_grad()
def test_whole_adapter_comes_back_as_it_was_saved(
    adapted: nn.Module, folder: Path, build: Build, respond: Respond
) -> None:
    model = build()
    card = load_adapter(model, folder, base_sha256="ab" * 32)
    assert torch.equal(respond(model), respond(adapted))
    assert (card.context, card.text, card.base_revision) == ("stationary", "instruction", "6f3ccc0")


@pytest.mark.parametrize("form", [PEFT, DIFFUSERS, COMFYUI])
def test_every_form_holds_the_same_plain_lora(adapted: nn.Module, folder: Path, form: str) -> None:
    plain, read = plain_of(adapted), read_plain(folder / form)
    assert read.keys() == plain.keys()
    for name, layer in read.items():
        assert layer.scale == plain[name].scale
        assert torch.equal(layer.down, plain[name].down)
        assert torch.equal(layer.up, plain[name].up)


@torch.no_grad()
@pytest.mark.parametrize("form", [PEFT, DIFFUSERS, COMFYUI])
def test_every_form_rides_along_alike(
    folder: Path, build: Build, respond: Respond, expected: Tensor, form: str
) -> None:
    model = build()
    add_plain(model, folder / form, "whatever")
    torch.testing.assert_close(respond(model), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_peft_form_opens_in_a_stock_peft_model(folder: Path, build: Build, respond: Respond, expected: Tensor) -> None:
    opened = PeftModel.from_pretrained(build(), str(folder))
    torch.testing.assert_close(respond(opened.base_model.model), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("form", [DIFFUSERS, COMFYUI])
def test_diffusers_and_comfyui_forms_load_into_the_stock_pipeline(
    folder: Path, build: Build, respond: Respond, expected: Tensor, form: str
) -> None:
    pipeline = pipeline_of(build())
    pipeline.load_lora_weights(str(folder), weight_name=form)
    torch.testing.assert_close(respond(pipeline.transformer), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_comfyui_form_is_weight_plus_alpha_by_rank_times_b_a(
    folder: Path, build: Build, respond: Respond, expected: Tensor
) -> None:
    """ComfyUI's arithmetic by the key names it looks for: Qwen's own, and diffusers' for Flux."""
    model, tensors = build(), load_file(folder / COMFYUI)
    prefix = "transformer." if isinstance(model, FluxTransformer2DModel) else "diffusion_model."
    for name in [name for name in tensors if name.endswith(".alpha")]:
        layer = name.removesuffix(".alpha")
        down, up = tensors[f"{layer}.lora_A.weight"], tensors[f"{layer}.lora_B.weight"]
        model.get_submodule(layer.removeprefix(prefix)).weight += tensors[name] / down.shape[0] * up @ down
    torch.testing.assert_close(respond(model), expected, rtol=1e-5, atol=1e-5)


def test_card_lies_in_the_header_of_every_file(folder: Path) -> None:
    card = read_card(folder)
    assert set(card.files) == {*WEIGHTS, "adapter_config.json"}
    for name in WEIGHTS:
        with safe_open(folder / name, "pt") as file:
            told = AdapterCard.model_validate_json(file.metadata()["viral_card"])
        assert told == card.model_copy(update={"files": {}})


@torch.no_grad()
def test_folder_of_an_earlier_version_still_loads(
    build_of: dict[str, Build], shaken: Build, small: AdapterConfig, respond: Respond, tmp_path: Path
) -> None:
    """The router lay beside the experts, and the card knew fewer keys."""
    model, again = build_of["qwen"](), build_of["qwen"]()
    add_adapter(model, small, seed=1)
    card = save_adapter(
        shaken(model), tmp_path, AdapterCard(adapter=small, base="b", base_sha256="0", size=32, steps=1)
    )
    save_file(load_file(tmp_path / EXPERTS) | load_file(tmp_path / ROUTER), tmp_path / EXPERTS)
    (tmp_path / ROUTER).unlink()
    write_card(tmp_path, card, [PEFT, DIFFUSERS, EXPERTS, "adapter_config.json"])
    told = json.loads((tmp_path / CARD).read_text())
    known = {"adapter", "base", "base_sha256", "roles", "text", "context", "size", "steps", "files"}
    earlier = {key: value for key, value in told.items() if key in known}
    newer = {"placement", "targets", "expert_targets", "ranks"}
    earlier["adapter"] = {key: value for key, value in told["adapter"].items() if key not in newer}
    earlier["adapter"]["text_stream"] = True
    (tmp_path / CARD).write_text(json.dumps(earlier))
    load_adapter(again, tmp_path)
    assert torch.equal(respond(again), respond(model))


@torch.no_grad()
@pytest.mark.parametrize("rank", [None, 5], ids=["mean", "svd"])
def test_dense_export_runs_everywhere_and_says_what_it_loses(
    adapted: nn.Module, build: Build, respond: Respond, folder: Path, tmp_path: Path, rank: int | None
) -> None:
    full = respond(adapted)
    card = export_dense(adapted, tmp_path / "dense", read_card(folder), lambda: respond(adapted), rank)
    assert torch.equal(respond(adapted), full)
    ours, stock = build(), pipeline_of(build())
    assert load_adapter(ours, tmp_path / "dense") == card
    stock.load_lora_weights(str(tmp_path / "dense"), weight_name=DIFFUSERS)
    dense = respond(ours)
    assert not experts_of(ours)
    torch.testing.assert_close(respond(stock.transformer), dense, rtol=1e-5, atol=1e-5)
    assert card.dense.rank == (rank or 12)
    assert card.dense.output_error == pytest.approx(((dense - full).norm() / full.norm()).item(), rel=1e-3)
    assert 0 < card.dense.output_error < card.dense.effect_error


@torch.no_grad()
def test_dense_export_of_equal_experts_loses_nothing(
    adapted: nn.Module, respond: Respond, folder: Path, tmp_path: Path
) -> None:
    for layer in experts_of(adapted).values():
        rank = len(layer.lora_A) // layer.num_experts
        layer.lora_A.copy_(layer.lora_A[:rank].repeat(layer.num_experts, 1))
        layer.lora_B.copy_(layer.lora_B[:, :rank].repeat(1, layer.num_experts))
    for rank_ in (None, 3):
        card = export_dense(adapted, tmp_path / f"{rank_}", read_card(folder), lambda: respond(adapted), rank_)
        assert card.dense.effect_error < 1e-4


@torch.no_grad()
def test_svd_is_the_nearest_of_its_rank(adapted: nn.Module) -> None:
    layer = next(iter(experts_of(adapted).values()))
    mean = dense_layer(layer)
    whole = mean.scale * mean.up @ mean.down
    singular = torch.linalg.svdvals(whole)
    for rank in (2, 12):
        cut = dense_layer(layer, rank)
        off = (cut.scale * cut.up @ cut.down - whole).norm()
        torch.testing.assert_close(off, singular[rank:].norm(), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="expected 1 to 12"):
        dense_layer(layer, 13)


def test_dense_export_of_a_plain_lora_is_refused(build: Build, small: AdapterConfig, folder: Path) -> None:
    model = build()
    add_adapter(model, small.model_copy(update={"expert_targets": ()}), seed=0)
    with pytest.raises(ValueError, match="no experts to stand for"):
        export_dense(model, folder, read_card(folder), lambda: torch.zeros(1))


def test_adapter_for_another_base_is_refused(
    folder: Path, build: Build, build_of: dict[str, Build], small: AdapterConfig
) -> None:
    with pytest.raises(ValueError, match="sha256 abababababab, got cdcdcdcdcdcd; load it with its own base"):
        load_adapter(build(), folder, base_sha256="cd" * 32)
    other = next(make for make in build_of.values() if make is not build)()
    with pytest.raises(ValueError, match=f"got a {type(other).__name__}; load it on the base it names"):
        load_adapter(other, folder)
    narrow = build(attention_head_dim=8, axes_dims_rope=(2, 2, 4))
    with pytest.raises(ValueError, match=r"got \(\d+, \d+\), expected \(\d+, \d+\); load it on the base"):
        load_adapter(narrow, folder)
    with pytest.raises(ValueError, match="names differ, first .*; use its own configuration"):
        load_adapter(build(num_layers=3), folder)


def test_second_lora_for_another_base_is_refused(folder: Path, build: Build) -> None:
    with pytest.raises(ValueError, match="of 1 blocks; load it on the base it was trained on"):
        add_plain(build(num_layers=1), folder, "other")
    with pytest.raises(ValueError, match=r"is for a layer of shape \(\d+, \d+\), expected \(\d+, \d+\)"):
        add_plain(build(attention_head_dim=8, axes_dims_rope=(2, 2, 4)), folder, "other")


def test_wrong_rank_is_refused(folder: Path, build: Build, small: AdapterConfig) -> None:
    card = read_card(folder)
    wrong = card.model_copy(update={"adapter": small.model_copy(update={"rank": 8})})
    write_card(folder, wrong, list(card.files))
    with pytest.raises(ValueError, match=r"got \(4, \d+\), expected \(8, \d+\); load it on the base and with the rank"):
        load_adapter(build(), folder)


def test_pair_of_two_ranks_is_refused(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / DIFFUSERS)
    name = next(name for name in tensors if "lora_B" in name)
    save_file({**tensors, name: tensors[name][:, :3].contiguous()}, tmp_path / "mixed.safetensors")
    with pytest.raises(ValueError, match=r"got lora_A \(4, 32\) and lora_B \(32, 3\), expected .* one rank"):
        read_plain(tmp_path / "mixed.safetensors")


def test_unknown_roles_are_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    for roles, message in (
        ({**card["roles"], "mask": 4}, r"got unknown roles \['mask'\], expected .*newer version"),
        ({**card["roles"], "query": 1}, "not told apart"),
    ):
        (folder / CARD).write_text(json.dumps({**card, "roles": roles}))
        with pytest.raises(ValueError, match=message):
            read_card(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ValueError, match="is no card of this version .*copy the adapter anew"):
        read_card(folder)


@pytest.mark.parametrize("name", WEIGHTS)
def test_missing_and_truncated_files_are_refused(folder: Path, build: Build, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-10])
    with pytest.raises(ValueError, match="is damaged: sha256 .*, expected .*; copy or download it anew"):
        load_adapter(build(), folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match="is damaged: sha256 no file"):
        load_adapter(build(), folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -10])
def test_truncated_second_lora_says_how_long_it_should_be(folder: Path, build: Build, kept: int) -> None:
    path = folder / DIFFUSERS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"is damaged: got \d+ bytes, expected (a header of )?\d+ .*; copy"):
        add_plain(build(), path, "other")


def test_values_that_are_not_finite_are_refused(folder: Path, build: Build) -> None:
    tensors = load_file(folder / ROUTER)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] * float("nan")}, folder / ROUTER)
    write_card(folder, read_card(folder), list(read_card(folder).files))
    with pytest.raises(ValueError, match=f"{name} holds values that are not finite"):
        load_adapter(build(), folder)
    plain = load_file(folder / DIFFUSERS)
    name = next(iter(plain))
    save_file({**plain, name: plain[name] / 0}, folder / DIFFUSERS)
    with pytest.raises(ValueError, match="not finite; the file is damaged or its training diverged"):
        add_plain(build(), folder / DIFFUSERS, "other")


def test_pickles_are_refused_unopened(build: Build, tmp_path: Path) -> None:
    torch.save({"lora_A": torch.zeros(1)}, tmp_path / "zip.bin")
    assert zipfile.is_zipfile(tmp_path / "zip.bin")
    torch.save({"lora_A": torch.zeros(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    shutil.copy(tmp_path / "zip.bin", tmp_path / "disguised.safetensors")
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match="is a pickle, .*; expected safetensors, convert it"):
            add_plain(build(), path, "other")


def test_other_tensors_and_half_a_pair_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no tensor of a plain LoRA; expected names like"):
        read_plain(folder / EXPERTS)
    tensors = load_file(folder / DIFFUSERS)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="has no up; the file is not whole"):
        read_plain(tmp_path / "half.safetensors")


def test_state_without_a_layer_is_refused(folder: Path, build: Build, small: AdapterConfig) -> None:
    model = build()
    inject_adapter(model, small)
    with pytest.raises(ValueError, match="names differ, first .*; use its own configuration"):
        load_adapter_state(model, plain_state(read_plain(folder)))

"""Analogies by our adapter, by plain LoRA and by the authors' release, with and without the early filter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from tests.evaluation.peers.conftest import SIZE, differ, loaded, make_case, picture, write_adapter
from viral.config import RunConfig
from viral.evaluation.peers.pictures import examples_of, query_of, sized_as
from viral.evaluation.peers.registry import build_peer
from viral.evaluation.protocols.case import Case
from viral.model.backbone import load_backbone
from viral.sampling.editor import Editor

RELEASED_LAYERS = ("attn.to_q", "attn.to_out.0", "img_mlp.net.2", "img_mod.1", "txt_mlp.net.2")


def test_the_answer_is_what_the_editor_paints_from_the_cases_seed(
    run_config: RunConfig, adapter: Path, cases: list[Case]
) -> None:
    editor = Editor.load(run_config.base, adapter)
    answers = loaded(run_config, kind="analogy", adapter=str(adapter)).answer(cases)
    for case, answer in zip(cases[:3], answers, strict=False):
        painted = editor(examples_of(case), query_of(case), steps=2, seed=case.seed).image
        assert differ(answer, sized_as(painted, case.query)) <= 1  # a batch rounds otherwise


def test_a_case_without_an_example_has_no_answer(run_config: RunConfig, adapter: Path, cases: list[Case]) -> None:
    answers = loaded(run_config, kind="analogy", adapter=str(adapter)).answer(cases)
    assert [answer is None for answer in answers] == [False, False, False, True]


def test_the_example_decides(run_config: RunConfig, adapter: Path) -> None:
    method = loaded(run_config, kind="analogy", adapter=str(adapter))
    one = make_case(0)
    assert differ(*method.answer([one, replace(one, examples=((picture(5), picture(6)),))])) > 0


def write_release(base: Path, folder: Path) -> Path:
    """A plain LoRA file with the names of the authors' release."""
    transformer, generator, tensors = load_backbone(str(base), ("transformer",)).transformer, torch.Generator(), {}
    for name in (f"transformer_blocks.0.{layer}" for layer in RELEASED_LAYERS):
        linear = transformer.get_submodule(name)
        tensors[f"{name}.lora_A.default.weight"] = torch.randn(3, linear.in_features, generator=generator)
        tensors[f"{name}.lora_B.default.weight"] = torch.randn(linear.out_features, 3, generator=generator)
    save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def write_plain(base: Path, folder: Path) -> Path:
    """VIRAL with plain LoRA in the place of experts."""
    return write_adapter(base, folder, num_experts=1, top_k=1)


@pytest.mark.parametrize("write", [write_plain, write_release])
def test_plain_lora_and_the_released_file_answer_too(
    run_config: RunConfig, tiny_base: Path, tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    place = write(tiny_base, tmp_path)
    with_it, without = (
        loaded(run_config, kind="analogy", adapter=str(place), size=SIZE, strength=strength).answer([make_case(0)])
        for strength in (1.0, 0.0)
    )
    assert differ(with_it[0], without[0]) > 0


def test_a_named_adapter_is_that_of_the_configuration(run_config: RunConfig, adapter: Path) -> None:
    named = run_config.model_copy(update={"adapters": {"plain": str(adapter)}})
    peer = build_peer("it", kind="analogy", adapter="plain")
    assert peer.record(named)["adapter_sha256"] == build_peer("it", kind="analogy", adapter=str(adapter)).record(
        named
    )["adapter_sha256"]  # fmt: skip
    with pytest.raises(ValueError, match="no adapter called 'plian', only ours, plain"):
        build_peer("it", kind="analogy", adapter="plian").load("it", named, "cpu")
    with pytest.raises(ValueError, match="there is no adapter at"):
        build_peer("it", kind="analogy").load("it", named, "cpu")


@pytest.mark.parametrize("judge", ["direction", "cycle"])
def test_the_early_filter_finishes_one_of_its_seeds_and_begins_with_the_cases_own(
    run_config: RunConfig, adapter: Path, judge: str
) -> None:
    case, ours = make_case(0), {"kind": "analogy", "adapter": str(adapter)}
    seeds = [replace(case, seed=case.seed + i) for i in range(2)]
    each = loaded(run_config, **ours).answer(seeds)
    early = {"candidates": 2, "preview_steps": 1, "judge": judge}
    (answer,) = loaded(run_config, **ours, filter=early).answer([case])
    assert min(differ(answer, other) for other in each) <= 1


def test_a_filter_that_sees_all_steps_is_refused_before_anything_is_painted(
    run_config: RunConfig, adapter: Path
) -> None:
    early = build_peer("it", kind="analogy", adapter=str(adapter), steps=2, filter={"preview_steps": 2})
    with pytest.raises(ValueError, match=r"preview_steps is 2, expected fewer than the 2 steps.*evaluate.steps=4"):
        early.record(run_config)


def test_an_adapter_that_reads_is_told_the_case_in_words(
    run_config: RunConfig, tiny_base: Path, tmp_path: Path
) -> None:
    method = loaded(run_config, kind="analogy", adapter=str(write_adapter(tiny_base, tmp_path, "instruction")))
    task, own, silent = method.answer(
        [make_case(0), make_case(0, instruction="tint it red"), make_case(0, task="no task of the registry")]
    )
    assert differ(task, own) > 0 and silent is None


def test_guidance_and_several_sizes_in_one_call(run_config: RunConfig, adapter: Path) -> None:
    method = loaded(run_config, kind="analogy", adapter=str(adapter), guidance=2.0, negative="tint it red")
    square = make_case(1, query=picture(3, 48, 48))
    both, alone = method.answer([make_case(0), square]), method.answer([square])
    assert differ(both[1], alone[0]) <= 1 and both[1].shape == (48, 48, 3)


def test_what_weights_answer_is_on_record(run_config: RunConfig, adapter: Path) -> None:
    record = build_peer("it", kind="analogy", adapter=str(adapter)).record(run_config)
    assert len(record["base_sha256"]) == len(record["adapter_sha256"]) == 64 and record["steps"] == 2


def test_query_of_keeps_pixels() -> None:
    case = make_case(0)
    assert isinstance(query_of(case), Pillow.Image) and differ(sized_as(query_of(case), case.query), case.query) == 0

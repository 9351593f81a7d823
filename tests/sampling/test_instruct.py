from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline
from diffusers.pipelines.flux import pipeline_flux_fill
from PIL import Image
from safetensors.torch import save_file

from viral.config import AdapterConfig
from viral.model.adapter import add_adapter, save_adapter
from viral.model.adapter_files import AdapterCard, read_card
from viral.model.backbone import base_hash
from viral.model.flux import load_flux
from viral.sampling.diptych import RELEASED_PROMPT
from viral.sampling.early_filter import early_filter
from viral.sampling.instruct import InstructEditor
from viral.sampling.judges import Candidate, Request, Verdict

SIZE = {"width": 32, "height": 32}


@pytest.fixture(scope="module")
def editor(fill_base: Path) -> InstructEditor:
    return InstructEditor.load(str(fill_base))


@pytest.fixture(scope="module")
def adapter(fill_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with random weights."""
    folder, config = tmp_path_factory.mktemp("adapter"), AdapterConfig(rank=2, expert_rank=2)
    transformer = load_flux(str(fill_base), parts=("transformer",)).transformer
    add_adapter(transformer, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    card = AdapterCard(adapter=config, base="test", base_sha256=base_hash(str(fill_base)), size=32, steps=0)
    save_adapter(transformer, folder, card.model_copy(update={"text": "instruction"}))
    return folder


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))


def test_an_edit_is_the_right_half_of_what_the_pipeline_fills(
    editor: InstructEditor, fill_base: Path, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training-free, with the released prompt; the pipeline draws from the VAE's posterior, we take its mode."""
    retrieve = pipeline_flux_fill.retrieve_latents
    monkeypatch.setattr(
        pipeline_flux_fill, "retrieve_latents", lambda output, generator: retrieve(output, sample_mode="argmax")
    )
    pipeline = FluxFillPipeline.from_pretrained(fill_base)
    pipeline.set_progress_bar_config(disable=True)
    canvas, mask = Image.new("RGB", (64, 32)), Image.new("L", (64, 32))
    canvas.paste(image, (0, 0))
    mask.paste(255, (32, 0, 64, 32))
    noise = torch.randn(16, 4, 8, generator=torch.Generator().manual_seed(4))
    theirs = pipeline(
        RELEASED_PROMPT.format(instruction="tint it red"), image=canvas, mask_image=mask, height=32, width=64,
        num_inference_steps=3, guidance_scale=30.0, max_sequence_length=128,
        latents=pipeline._pack_latents(noise[None], 1, 16, 4, 8),
    ).images[0].crop((32, 0, 64, 32))  # fmt: skip
    ours = editor(image, "tint it red", steps=3, seed=4, template=RELEASED_PROMPT, **SIZE).image
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1


def test_the_result_has_the_sources_size_whatever_the_panels(editor: InstructEditor, image: Image.Image) -> None:
    edit = editor(image.resize((90, 60)), "tint it red", steps=1, width=50)
    assert edit.image.size == (90, 60)
    assert edit.trace["panel"] == [48, 32]


def test_words_seed_guidance_and_caption_change_the_picture(editor: InstructEditor, image: Image.Image) -> None:
    given = np.asarray(editor(image, "tint it red", steps=2, **SIZE).image)
    again = np.asarray(editor(image, "tint it red", steps=2, **SIZE).image)
    others = [
        editor(image, "make it darker", steps=2, **SIZE),
        editor(image, "tint it red", steps=2, seed=1, **SIZE),
        editor(image, "tint it red", steps=2, guidance=1.0, **SIZE),
        editor(image, "tint it red", steps=2, caption=("circle", "red circle"), **SIZE),
    ]
    assert np.array_equal(given, again)
    assert not any(np.array_equal(given, np.asarray(other.image)) for other in others)


def test_each_turn_edits_the_output_of_the_one_before(editor: InstructEditor, image: Image.Image) -> None:
    first, second = editor.turns(image, ["tint it red", "make it darker"], steps=2, seed=3, width=32)
    by_hand = editor(
        editor(image, "tint it red", steps=2, seed=3, **SIZE).image, "make it darker", steps=2, seed=3, **SIZE
    )
    assert second.image.tobytes() == by_hand.image.tobytes() != first.image.tobytes()
    assert [(edit.trace["turn"], edit.trace["instruction"]) for edit in (first, second)] == [
        (0, "tint it red"),
        (1, "make it darker"),
    ]
    with pytest.raises(ValueError, match="no instructions"):
        editor.turns(image, [])


def test_a_captioner_sees_each_turns_source(fill_base: Path, editor: InstructEditor, image: Image.Image) -> None:
    seen: list[bytes] = []

    def captioner(source: Image.Image) -> tuple[str, str]:
        seen.append(source.tobytes())
        return "circle", "red circle"

    edits = InstructEditor(editor.backbone, captioner=captioner).turns(
        image, ["tint it red", "make it darker"], steps=1, **SIZE
    )
    assert seen == [image.tobytes(), edits[0].image.tobytes()]
    assert "the same circle: the left depicts the original red circle" in edits[0].trace["prompt"]


def test_a_problem_of_ones_own_sampler_decodes_to_the_edited_half(editor: InstructEditor, image: Image.Image) -> None:
    problem = editor.problem(image, "tint it red", width=48, height=32)
    assert problem.shape == (16, 4, 12)
    assert [half.size for half in editor.decode(torch.zeros(2, *problem.shape))] == [(48, 32)] * 2


class Brightest:
    """Prefers the brighter picture."""

    name = "brightest"

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        brighter = np.asarray(first.image).sum() >= np.asarray(second.image).sum()
        return Verdict("first" if brighter else "second")


def test_the_early_filter_ends_with_the_winning_seeds_own_edit(editor: InstructEditor, image: Image.Image) -> None:
    request = Request((), image, "tint it red")
    filtered = early_filter(
        editor.problem(image, "tint it red", **SIZE), editor.backbone.scheduler, editor.decode, request, Brightest(),
        seeds=[3, 4, 5], preview_steps=1, steps=3,
    )  # fmt: skip
    own = editor(image, "tint it red", steps=3, seed=filtered.trace["seed"], **SIZE)
    assert editor.decode(filtered.latents)[0].tobytes() == own.image.tobytes()
    edit = editor.filtered(
        image, "tint it red", judge=Brightest(), seeds=[3, 4, 5], preview_steps=1, steps=3, **SIZE
    )  # fmt: skip
    assert edit.image.tobytes() == own.image.tobytes()
    assert edit.trace.items() >= {**own.trace, "evaluations": 6, "judge": "brightest"}.items()
    looks = {seed: editor(image, "tint it red", steps=1, seed=seed, **SIZE).image for seed in (3, 4, 5)}
    assert filtered.trace["seed"] == max(looks, key=lambda seed: np.asarray(looks[seed]).sum())


def test_an_adapter_changes_the_edit_and_sets_the_panels_width(
    fill_base: Path, adapter: Path, editor: InstructEditor, image: Image.Image
) -> None:
    adapted = InstructEditor.load(str(fill_base), adapter)(image, "tint it red", steps=2)
    bare = editor(image, "tint it red", steps=2, width=32)
    assert adapted.trace["panel"] == bare.trace["panel"] == [32, 32]
    assert adapted.image.tobytes() != bare.image.tobytes()
    assert adapted.trace["adapter_sha256"] and not bare.trace["adapter_sha256"]


def test_an_adapter_is_prompted_as_it_was_trained(editor: InstructEditor, adapter: Path, image: Image.Image) -> None:
    card = read_card(adapter).model_copy(update={"prompt": "the right half: {instruction}"})
    own = InstructEditor(editor.backbone, card)
    assert own.prompt(image, "tint it red") == "the right half: tint it red"
    assert own.prompt(image, "tint it red", template="{instruction}") == "tint it red"
    assert InstructEditor(editor.backbone, read_card(adapter)).prompt(image, "x") == editor.prompt(image, "x")


def test_the_authors_file_comes_with_their_prompt_and_width(
    fill_base: Path, image: Image.Image, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = load_flux(str(fill_base), parts=("transformer",)).transformer.x_embedder
    down, up = (torch.randn(shape, generator=generator) for shape in ((2, layer.in_features), (layer.out_features, 2)))
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({"transformer.x_embedder.lora_A.weight": down, "transformer.x_embedder.lora_B.weight": up}, path)
    own = InstructEditor.load(str(fill_base), path, strength=0.5)
    assert own.prompt(image, "tint it red") == RELEASED_PROMPT.format(instruction="tint it red")
    assert own.panel(image).width == 512
    assert own(image, "tint it red", steps=1, **SIZE).trace["strength"] == 0.5


def test_an_adapter_for_another_base_is_refused(flux_base: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match="trained on base"):
        InstructEditor.load(str(flux_base), adapter)


def test_a_callback_can_cancel_between_steps(editor: InstructEditor, image: Image.Image) -> None:
    seen: list[int] = []

    def watch(i: int, latents: torch.Tensor) -> None:
        seen.append(i)
        if i == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        editor(image, "tint it red", steps=5, on_step=watch, **SIZE)
    assert seen == [0, 1]


def test_wrong_requests_and_bases_are_refused(editor: InstructEditor, flux_base: Path, image: Image.Image) -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        editor(image, "tint it red", steps=0)
    with pytest.raises(ValueError, match="instruction is empty"):
        editor(image, "  ")
    with pytest.raises(ValueError, match="load FLUX.1 Fill"):
        InstructEditor.load(str(flux_base))(image, "tint it red", steps=1, **SIZE)
    with pytest.raises(ValueError, match="transformer is not loaded"):
        InstructEditor(load_flux(str(flux_base), parts=("vae",)))

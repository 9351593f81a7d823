import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from viral.config import AdapterConfig
from viral.model.adapter import add_adapter, save_adapter
from viral.model.adapter_files import AdapterCard
from viral.model.backbone import base_hash, load_backbone
from viral.pretrain.pictures import Pictures
from viral.sampling.editor import Editor, fit
from viral.sampling.judge_choice import choose_judge


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, config = tmp_path_factory.mktemp("adapter"), AdapterConfig(rank=2, expert_rank=2)
    transformer = load_backbone(str(tiny_base), parts=("transformer",)).transformer
    add_adapter(transformer, config, seed=0)
    save_adapter(
        transformer,
        folder,
        AdapterCard(adapter=config, base="test", base_sha256=base_hash(str(tiny_base)), size=32, steps=0),
    )
    return folder


@pytest.fixture
def images(pictures: Pictures) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray((pictures(rng) * 255).astype(np.uint8)) for _ in range(3)]


@pytest.fixture(scope="module")
def editor(tiny_base: Path, adapter: Path) -> Editor:
    return Editor.load(str(tiny_base), adapter)


def variant(editor: Editor, **changes: str) -> Editor:
    """The same editor with another card."""
    assert editor.card is not None
    return Editor(editor.backbone, editor.card.model_copy(update=changes), editor.sha256)


def differ(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def test_same_request_gives_the_same_pixels_and_another_seed_others(editor: Editor, images: list[Image.Image]) -> None:
    a, a2, b = images
    first, again, other = (editor(examples=[(a, a2)], query=b, steps=2, seed=s).image for s in (1, 1, 2))
    assert differ(first, again) == 0
    assert differ(first, other) > 0


def test_images_of_different_sizes_meet_in_one_request(editor: Editor, images: list[Image.Image]) -> None:
    wide = images[2].resize((90, 45))
    edit = editor([(images[0].resize((20, 50)), images[1])], wide, steps=1)
    assert edit.image.size == fit(wide, 32, 8).size == (48, 24)


def test_a_callback_sees_each_step_and_can_cancel(editor: Editor, images: list[Image.Image]) -> None:
    seen = []

    def watch(i: int, latents: object) -> None:
        seen.append(i)
        if i == 1:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError):
        editor([(images[0], images[1])], images[2], steps=5, on_step=watch)
    assert seen == [0, 1]


@pytest.mark.parametrize("context", ["full", "stationary"])
def test_seeds_painted_together_are_those_painted_alone(
    editor: Editor, images: list[Image.Image], context: str
) -> None:
    own = variant(editor, context=context)
    problem = own.problem([(images[0], images[1])], images[2])
    assert problem.mode == context
    together = own.paint(problem, [3, 1], steps=2)
    for seed, edit in zip((3, 1), together, strict=True):
        alone = own([(images[0], images[1])], images[2], steps=2, seed=seed)
        assert differ(edit.image, alone.image) <= 1
        assert edit.trace == alone.trace
        assert edit.trace["seed"] == seed


@pytest.mark.parametrize(("numbering", "roles"), [("step", (1, 2, 3, 4, 5)), ("shared", (1, 2, 1, 2, 3))])
def test_further_pairs_take_the_roles_of_the_adapters_card(
    editor: Editor, images: list[Image.Image], numbering: str, roles: tuple[int, ...]
) -> None:
    own = variant(editor, role_numbering=numbering)
    pairs = [(images[0], images[1]), (images[1], images[2])]
    edit = own(pairs, images[2], steps=1)
    assert edit.trace["roles"] == roles
    assert differ(edit.image, own(pairs[:1], images[2], steps=1).image) > 0


def test_each_text_regime_paints_and_the_trace_names_it(editor: Editor, images: list[Image.Image]) -> None:
    example, query, painted = [(images[0], images[1])], images[2], {}
    for regime, words in (("none", None), ("instruction", "tint it red"), ("sentence", None)):
        edit = variant(editor, text=regime)(example, query, words, steps=1)
        assert edit.trace["text"] == regime
        painted[regime] = edit.image
    assert differ(painted["none"], painted["sentence"]) > 0
    with pytest.raises(ValueError, match="takes none"):
        editor(example, query, "tint it red")
    with pytest.raises(ValueError, match="needs one"):
        variant(editor, text="instruction")(example, query)


def test_guidance_costs_a_second_pass_only_where_the_prompts_differ(editor: Editor, images: list[Image.Image]) -> None:
    example, query = [(images[0], images[1])], images[2]
    plain, same = (editor(example, query, steps=2, guidance=g) for g in (1.0, 4.0))
    other = editor(example, query, steps=2, guidance=4.0, negative="make it darker")
    assert [edit.trace["evaluations"] for edit in (plain, same, other)] == [2, 2, 4]
    assert differ(plain.image, same.image) == 0 < differ(plain.image, other.image)


def test_example_guidance_steers_by_the_examples_at_twice_the_cost(editor: Editor, images: list[Image.Image]) -> None:
    example, query = [(images[0], images[1])], images[2]
    plain, guided = (editor(example, query, steps=2, example_guidance=scale) for scale in (1.0, 3.0))
    assert [edit.trace["evaluations"] for edit in (plain, guided)] == [2, 4]
    assert guided.trace["example_guidance"] == 3 and "example_guidance" not in plain.trace
    assert differ(plain.image, guided.image) > 0
    still = [(images[0], images[0])]
    same, steered = (editor(still, query, steps=2, example_guidance=scale) for scale in (1.0, 3.0))
    assert differ(same.image, steered.image) == 0
    with pytest.raises(ValueError, match="without an example"):
        editor([], query, "tint it red", size=32, example_guidance=3.0)


def test_a_base_alone_edits_as_told(tiny_base: Path, editor: Editor, images: list[Image.Image]) -> None:
    base = Editor(editor.backbone, None, None)
    assert base([], images[2], "tint it red", size=32, steps=1).image.size == (32, 32)
    with pytest.raises(ValueError, match="neither a size nor an adapter"):
        base([], images[2], "tint it red")


@pytest.fixture(scope="module")
def released(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with names of the authors' and random values."""
    transformer = load_backbone(str(tiny_base), parts=("transformer",)).transformer
    generator, tensors = torch.Generator().manual_seed(0), {}
    for layer in ("attn.to_q", "attn.to_v", "img_mlp.net.2"):
        for name in (f"transformer_blocks.{i}.{layer}" for i in range(2)):
            linear = transformer.get_submodule(name)
            tensors[f"{name}.lora_A.default.weight"] = torch.randn(3, linear.in_features, generator=generator) * 0.2
            tensors[f"{name}.lora_B.default.weight"] = torch.randn(linear.out_features, 3, generator=generator) * 0.2
    path = tmp_path_factory.mktemp("released") / "model.safetensors"
    save_file(tensors, path)
    return path


def test_the_authors_file_is_spoken_to_as_they_did_and_its_strength_counts(
    tiny_base: Path, released: Path, editor: Editor, images: list[Image.Image]
) -> None:
    example, query = [(images[0], images[1])], images[2]
    whole, none = (Editor.load(str(tiny_base), released, strength=s) for s in (1.0, 0.0))
    painted, blank = (own(example, query, steps=2, size=32) for own in (whole, none))
    assert (painted.trace["text"], painted.trace["roles"], painted.trace["strength"]) == ("sentence", (1, 2, 3), 1.0)
    assert painted.trace["adapter_sha256"] == hashlib.sha256(released.read_bytes()).hexdigest()
    # The adapter of `editor` is untrained, so what it paints is the base's.
    base = Editor(editor.backbone, whole.card, None)(example, query, steps=2, size=32)
    assert differ(blank.image, base.image) == 0 < differ(painted.image, base.image)


def test_a_plain_lora_rides_along_with_an_adapter(
    tiny_base: Path, released: Path, adapter: Path, editor: Editor, images: list[Image.Image]
) -> None:
    example, query = [(images[0], images[1])], images[2]
    both = Editor.load(str(tiny_base), adapter, also=[released])(example, query, steps=2)
    alone = Editor(Editor.load(str(tiny_base), released).backbone, editor.card, None)(example, query, steps=2)
    assert differ(both.image, alone.image) <= 1 < differ(both.image, editor(example, query, steps=2).image)
    assert both.trace["also"] == [hashlib.sha256(released.read_bytes()).hexdigest()]


@pytest.mark.parametrize("judge", ["cycle", "direction"])
@pytest.mark.parametrize("context", ["full", "stationary"])
def test_a_filtered_edit_is_the_winning_seeds_own(
    editor: Editor, images: list[Image.Image], judge: str, context: str
) -> None:
    own, example, query, told = variant(editor, context=context), [(images[0], images[1])], images[2], []
    edit = own.filtered(
        example, query, judge=choose_judge(judge, own), seeds=[4, 5, 6], preview_steps=1, steps=2,
        tournament="knockout", on_event=told.append,
    )  # fmt: skip
    alone = own(example, query, steps=2, seed=edit.trace["seed"])
    assert differ(edit.image, alone.image) == 0 and told
    assert edit.trace.items() >= {**alone.trace, "evaluations": 3 * 1 + 2, "tournament": "knockout"}.items()
    assert len(edit.trace["comparisons"]) == 2 and edit.trace["error"] is None


def test_requests_that_cannot_be_painted_are_refused(
    tiny_base: Path, editor: Editor, images: list[Image.Image]
) -> None:
    with pytest.raises(ValueError, match="0 example pairs"):
        editor([], images[2])
    with pytest.raises(ValueError, match="steps is 0"):
        editor([(images[0], images[1])], images[2], steps=0)
    with pytest.raises(ValueError, match="load all parts"):
        Editor(load_backbone(str(tiny_base), parts=("vae",)), None, None)


def test_an_adapter_for_another_base_is_refused(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "base"
    shutil.copytree(tiny_base, other)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.03"))
    with pytest.raises(ValueError, match="was trained on base"):
        Editor.load(str(other), adapter)


def test_strength_without_an_adapter_is_refused(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match="load it first"):
        Editor.load(str(tiny_base), strength=0.5)

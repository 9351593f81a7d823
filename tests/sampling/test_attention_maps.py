from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from viral.model.flux import FluxBackbone, load_flux
from viral.sampling.attention_maps import (
    attention_inside,
    attention_maps,
    edit_with_maps,
    overlay,
    word_tokens,
)
from viral.sampling.diptych import PAPER_PROMPT, Caption, in_context_prompt, right_half
from viral.sampling.instruct import InstructEditor

INSTRUCTION = "make the red circle darker."
PROMPT = in_context_prompt(INSTRUCTION, Caption("red circle", "red circle"), PAPER_PROMPT)


@pytest.fixture(scope="module")
def backbone(fill_base: Path) -> FluxBackbone:
    return load_flux(str(fill_base))


@pytest.fixture(scope="module")
def editor(backbone: FluxBackbone) -> InstructEditor:
    return InstructEditor(backbone)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3), np.uint8))


def test_tokens_spell_the_word_of_the_instruction_not_of_the_caption(backbone: FluxBackbone) -> None:
    tokens = backbone.tokenizer(PROMPT).input_ids
    red, both = (word_tokens(backbone.tokenizer, PROMPT, INSTRUCTION, word) for word in ("red", "red circle"))
    assert backbone.tokenizer.decode([tokens[i] for i in red]).strip() == "red"
    assert backbone.tokenizer.decode([tokens[i] for i in both]).strip() == "red circle"
    last = len(backbone.tokenizer(PROMPT[: PROMPT.rindex("red")]).input_ids) - 2
    assert min(red) >= last
    with pytest.raises(ValueError, match="has no word 'dark'"):
        word_tokens(backbone.tokenizer, PROMPT, INSTRUCTION, "dark")
    with pytest.raises(ValueError, match="has no word ''"):
        word_tokens(backbone.tokenizer, PROMPT, INSTRUCTION, "")


@torch.no_grad()
def test_attention_to_all_tokens_is_one_per_layer_head_and_step(editor: InstructEditor, image: Image.Image) -> None:
    """The rows of a softmax add up, so every cell of two steps, four layers and two heads gets sixteen."""
    problem = editor.problem(image, INSTRUCTION, width=32)
    text, picture = 128, 3 * 4
    everything = {"all": list(range(text + picture)), "text": list(range(text))}
    with attention_maps(editor.transformer, everything, (3, 4)) as maps:
        for t in (1.0, 0.5):
            problem(torch.randn(1, *problem.shape), torch.tensor([t]))
    torch.testing.assert_close(maps["all"], torch.full((3, 4), 16.0), rtol=1e-5, atol=1e-5)
    assert (maps["text"] > 0).all() and (maps["text"] < 16).all()


def test_maps_follow_the_attention_of_the_model(editor: InstructEditor, image: Image.Image) -> None:
    """Against the softmax of one layer, computed by PyTorch's own attention with unit vectors as values."""
    attn, captured = editor.transformer.single_transformer_blocks[1].attn, {}
    hook = attn.register_forward_hook(lambda module, args, kwargs, output: captured.update(kwargs), with_kwargs=True)
    problem = editor.problem(image, INSTRUCTION, width=32)
    noise = torch.randn(1, *problem.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), attention_maps(editor.transformer, {"red": [5, 6]}, (3, 4)) as maps:
        problem(noise, torch.tensor([0.5]))
        whole = maps["red"].clone()
    hook.remove()
    with torch.no_grad():
        from diffusers.models.embeddings import apply_rotary_emb

        x, rope = captured["hidden_states"], captured["image_rotary_emb"]
        q, k = (
            apply_rotary_emb(norm(layer(x).unflatten(-1, (2, 32))), rope, sequence_dim=1).transpose(1, 2)
            for norm, layer in ((attn.norm_q, attn.to_q), (attn.norm_k, attn.to_k))
        )
        ones = torch.eye(x.shape[1]).expand(1, 2, -1, -1)
        paid = torch.nn.functional.scaled_dot_product_attention(q, k, ones)[0, :, -12:, 5:7].sum((0, 2)).view(3, 4)
        with attention_maps(editor.transformer, {"red": [5, 6]}, (3, 4)) as single:
            attn(x, image_rotary_emb=rope)
    torch.testing.assert_close(single["red"], paid, rtol=1e-5, atol=1e-6)
    assert (whole > paid).all()


def test_maps_lie_over_the_edited_panel_and_leave_the_edit_alone(editor: InstructEditor, image: Image.Image) -> None:
    edit, maps = edit_with_maps(editor, image, INSTRUCTION, ["red", "darker"], steps=2, width=32)
    assert {word: tuple(one.shape) for word, one in maps.items()} == {"red": (3, 2), "darker": (3, 2)}
    assert not torch.equal(maps["red"], maps["darker"])
    assert edit.image.tobytes() == editor(image, INSTRUCTION, steps=2, width=32).image.tobytes()
    assert overlay(edit.image, maps["red"]).size == image.size


def test_the_share_inside_a_mask_is_exact() -> None:
    attention = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    mask = torch.zeros(32, 32)
    mask[:16, :16] = 1
    assert attention_inside(attention, mask) == (0.75, 0.25)
    mask[:16, 16:24] = 1
    assert attention_inside(attention, mask) == (0.875, 0.375)
    with pytest.raises(ValueError, match="not all 0"):
        attention_inside(attention, torch.zeros(32, 32))
    with pytest.raises(ValueError, match=r"holds 0.0..255.0; expected 0..1"):
        attention_inside(attention, mask * 255)


def test_halves_of_a_map_are_those_of_the_diptych() -> None:
    assert torch.equal(right_half(torch.arange(8.0).view(1, 1, 2, 4))[0, 0], torch.tensor([[2.0, 3.0], [6.0, 7.0]]))

"""Where the image looks at chosen words of the instruction, summed over steps and layers (ICEdit, Fig. 3)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention, _get_qkv_projections
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import T5TokenizerFast

from viral.model.flux import AttentionProcessor, attention_wrapped
from viral.sampling.diptych import caption_of, right_half
from viral.sampling.editor import Edit
from viral.sampling.instruct import InstructEditor

AttentionMap = Float[Tensor, "h w"]


def word_tokens(tokenizer: T5TokenizerFast, prompt: str, instruction: str, word: str) -> list[int]:
    """Positions of the tokens that spell `word`, which may be several words, in the prompt's instruction.

    Raises `ValueError` where the instruction does not hold the word as a whole.
    """
    words = instruction.strip().rstrip(".")
    spans = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", words, re.IGNORECASE)]
    if not word or not spans:
        raise ValueError(f"the instruction {instruction!r} has no word {word!r}; choose words that it holds")
    begin = prompt.rindex(words)
    offsets = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
    return [i for i, (first, end) in enumerate(offsets) if any(first < begin + b and end > begin + a for a, b in spans)]


@contextmanager
def attention_maps(
    transformer: FluxTransformer2DModel, tokens: dict[str, list[int]], grid: tuple[int, int]
) -> Iterator[dict[str, AttentionMap]]:
    """Within the block, gather what the image's tokens, a `grid` of rows and columns, pay to the words' tokens.

    A map is the sum over evaluations, layers, heads and images of softmax(q k / sqrt d) from each image token to the
    word's tokens; it grows with every evaluation.
    """
    maps = {word: torch.zeros(grid) for word in tokens}
    with attention_wrapped(transformer, lambda name, own: _Gather(own, tokens, maps)):
        yield maps


def edit_with_maps(
    editor: InstructEditor, image: Image.Image, instruction: str, words: list[str], **arguments: Any
) -> tuple[Edit, dict[str, AttentionMap]]:
    """An edit as `editor` makes it, and for each word its attention map over the edited panel.

    A cell is one token, 16 x 16 pixels of the panel in FLUX.1. Costs about the attention once more.
    """
    caption = caption_of(image, arguments.pop("caption", None), editor.captioner)
    prompt = editor.prompt(image, instruction, caption, arguments.get("template"))
    source = editor.panel(image, arguments.get("width"), arguments.get("height"))
    tokens = {word: word_tokens(editor.backbone.tokenizer, prompt, instruction, word) for word in words}
    cell = 2 * editor.backbone.scale
    with attention_maps(editor.transformer, tokens, (source.height // cell, 2 * source.width // cell)) as maps:
        edit = editor(image, instruction, caption=caption, **arguments)
    return edit, {word: right_half(whole[None, None])[0, 0] for word, whole in maps.items()}


class Inside(NamedTuple):
    """Share of the attention inside a mask, and the mask's share of the area, which even attention would get."""

    attention: float
    area: float


def attention_inside(attention: AttentionMap, mask: Float[Tensor, "y x"]) -> Inside:
    """How much of a word's attention falls into an exact edit mask of any size (1 inside, 0 outside)."""
    if mask.min() < 0 or mask.max() > 1 or not mask.any():
        raise ValueError(f"the mask holds {float(mask.min())}..{float(mask.max())}; expected 0..1 and not all 0")
    covered = F.interpolate(mask[None, None], attention.shape, mode="area")[0, 0].to(attention)
    return Inside(float((attention * covered).sum() / attention.sum()), float(covered.mean()))


def overlay(image: Image.Image, attention: AttentionMap) -> Image.Image:
    """The image, dimmed where a word gets little attention."""
    level = (attention / attention.max() * 255).round().byte().cpu().numpy()
    shade = np.asarray(Image.fromarray(level).resize(image.size, Image.Resampling.BICUBIC))[..., None] / 255
    return Image.fromarray((np.asarray(image.convert("RGB")) * (0.2 + 0.8 * shade)).astype(np.uint8))


class _Gather:
    """Runs a layer and adds what the image's tokens pay to each word to the word's map."""

    def __init__(self, own: AttentionProcessor, tokens: dict[str, list[int]], maps: dict[str, AttentionMap]) -> None:
        self.own, self.tokens, self.maps = own, tokens, maps

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        query, key = _queries_and_keys(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        for q, k in zip(query.unbind(2), key.unbind(2), strict=True):  # head by head: the whole would be gigabytes
            self._add(q, k)
        return self.own(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)

    def _add(self, query: Float[Tensor, "b t d"], key: Float[Tensor, "b t d"]) -> None:
        rows, columns = next(iter(self.maps.values())).shape
        image = query[:, -rows * columns :].float()
        paid = (image @ key.float().transpose(1, 2) * query.shape[-1] ** -0.5).softmax(-1)
        for word, tokens in self.tokens.items():
            self.maps[word] += rearrange(paid[..., tokens].sum((0, 2)), "(h w) -> h w", h=rows).cpu()


def _queries_and_keys(
    attn: FluxAttention, image: Tensor, text: Tensor | None, rope: tuple[Tensor, Tensor] | None
) -> tuple[Float[Tensor, "b t e d"], Float[Tensor, "b t e d"]]:
    """Normed and rotated, the text in front, as diffusers' own processor makes them."""
    query, key, _, text_query, text_key, _ = _get_qkv_projections(attn, image, text)
    query, key = (x.unflatten(-1, (-1, attn.head_dim)) for x in (query, key))
    query, key = attn.norm_q(query), attn.norm_k(key)
    if text is not None:
        text_query, text_key = (x.unflatten(-1, (-1, attn.head_dim)) for x in (text_query, text_key))
        query = torch.cat([attn.norm_added_q(text_query), query], dim=1)
        key = torch.cat([attn.norm_added_k(text_key), key], dim=1)
    return apply_rotary_emb(query, rope, sequence_dim=1), apply_rotary_emb(key, rope, sequence_dim=1)

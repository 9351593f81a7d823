"""A block of Qwen-Image's DiT as two streams, text and images, each in segments that share a time.

diffusers' block, with a slice of the sequence for each time where stock builds a full tensor of shifts, scales and
gates by `torch.where`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import QwenImageTransformer2DModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformerBlock, apply_rotary_emb_qwen
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from jaxtyping import Bool, Complex, Float
from torch import Tensor, cat, nn

Heads = Float[Tensor, "b s heads e"]
Rope = Complex[Tensor, "s half"]


@dataclass(frozen=True)
class Side:
    """What the tokens of one stream bring to every layer: positions, and segments that share a time."""

    text: bool
    rope: Rope
    lengths: list[int]
    times: Float[Tensor, "segments b d"]

    def part(self, start: int, lengths: list[int], times: Float[Tensor, "_segments b d"]) -> "Side":
        """Tokens from `start` on."""
        return Side(self.text, self.rope[start : start + sum(lengths)], lengths, times)


class Stream:
    """One side's way through one block: the block's modules, adapters and all, by what they do."""

    def __init__(self, block: QwenImageTransformerBlock, side: Side) -> None:
        attn: Any = block.attn  # whose type says that each of its layers may be None
        text, self.side, self.heads = side.text, side, attn.heads
        self.norm1, self.norm2 = (block.txt_norm1, block.txt_norm2) if text else (block.img_norm1, block.img_norm2)
        self.norm_q, self.norm_k = (attn.norm_added_q, attn.norm_added_k) if text else (attn.norm_q, attn.norm_k)
        self.qkv = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj) if text else (attn.to_q, attn.to_k, attn.to_v)
        self.out: nn.Module = attn.to_add_out if text else attn.to_out[0]
        self.mlp = block.txt_mlp if text else block.img_mlp
        self.first, self.second = (block.txt_mod if text else block.img_mod)(side.times).chunk(2, -1)

    def project(self, x: Float[Tensor, "b s d"]) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values with their positions."""
        x = self._modulate(self.norm1(x), self.first)
        q, k, v = (rearrange(linear(x), "b s (h e) -> b s h e", h=self.heads) for linear in self.qkv)
        return _rotate(self.norm_q(q), self.side.rope), _rotate(self.norm_k(k), self.side.rope), v

    def advance(self, x: Float[Tensor, "b s d"], seen: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """The tokens after the block, given what their queries saw."""
        x = self._add(x, self.out(seen), self.first)
        return self._add(x, self.mlp(self._modulate(self.norm2(x), self.second)), self.second)

    def _modulate(self, x: Float[Tensor, "b s d"], vectors: Float[Tensor, "g _b _d3"]) -> Float[Tensor, "b s d"]:
        shifts, scales, _ = vectors.unsqueeze(2).chunk(3, -1)
        each = zip(shifts, x.split(self.side.lengths, 1), scales, strict=True)
        return concat([torch.addcmul(shift, piece, 1 + scale) for shift, piece, scale in each])

    def _add(
        self, x: Float[Tensor, "b s d"], change: Float[Tensor, "b s d"], vectors: Float[Tensor, "g _b _d3"]
    ) -> Float[Tensor, "b s d"]:
        """x and the gated change."""
        gates, lengths = vectors.unsqueeze(2).chunk(3, -1)[2], self.side.lengths
        each = zip(x.split(lengths, 1), gates, change.split(lengths, 1), strict=True)
        return concat([torch.addcmul(*piece) for piece in each])


def runner(transformer: QwenImageTransformer2DModel) -> Callable[..., Any]:
    """What calls a layer: with its inputs alone kept for the backward pass where checkpointing is enabled."""
    checkpoint: Any = transformer._gradient_checkpointing_func  # None until it is
    if torch.is_grad_enabled() and transformer.gradient_checkpointing:
        return checkpoint
    return lambda layer, *args: layer(*args)


@apply_forward_hook
def onload(transformer: QwenImageTransformer2DModel) -> None:
    """Have a transformer that diffusers offloads come to its device, as calling it would."""


def project(streams: list[Stream], tokens: list[Tensor]) -> tuple[Heads, Heads, Heads]:
    """Queries, keys and values of all tokens in one sequence."""
    parts = [stream.project(x) for stream, x in zip(streams, tokens, strict=True)]
    q, k, v = (cat(each, 1) for each in zip(*parts, strict=True))
    return q, k, v


def advance(streams: list[Stream], tokens: list[Tensor], seen: Heads) -> list[Tensor]:
    """The tokens after a block, given what attention made of the whole sequence."""
    each = seen.flatten(2).split([x.shape[1] for x in tokens], 1)
    return [stream.advance(x, y) for stream, x, y in zip(streams, tokens, each, strict=True)]


def concat(pieces: list[Tensor]) -> Tensor:
    """Pieces of a sequence in a row; a single one is not copied."""
    return pieces[0] if len(pieces) == 1 else cat(pieces, 1)


def key_mask(mask: Bool[Tensor, "b s"] | None) -> Bool[Tensor, "b 1 1 s"] | None:
    """A mask of keys, where there is one, in the shape that attention broadcasts."""
    return None if mask is None else mask[:, None, None]


def _rotate(x: Heads, rope: Rope) -> Heads:
    return apply_rotary_emb_qwen(x, rope, use_real=False)

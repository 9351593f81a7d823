"""The stationary context: clean images and text that no noisy token can change, so that all steps share them.

Text and context images form one sequence at t = 0 whose tokens see one another and nothing else. It is what the base
computes at t = 0 for those images and words if there is nothing to paint. The target's tokens, at their own t, see
all of it and themselves. Stock differs in three ways, which an adapter for this mode is trained with: its context sees
the target, its text sees the target, and its text is modulated at the target's t. Positions are those of stock.

A layer is therefore two unmasked attentions, and its keys and values of text and context are the same at every step.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from diffusers import QwenImageTransformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformerBlock
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, cat
from torch.nn.functional import pad

from viral.model.roles import set_roles
from viral.model.streams import Heads, Side, Stream, advance, concat, key_mask, onload, project, runner
from viral.model.tokens import Context, Latents, pack, unpack

Joined = Float[Tensor, "b c heads e"]


class KeyValueBuffer:
    """Keys and values of one layer in one allocation: the context's, then room that each target overwrites."""

    def __init__(self, keys: Heads, values: Heads, room: int) -> None:
        self.size = keys.shape[1]
        self.both = pad(torch.stack([keys, values]), (0, 0, 0, 0, 0, room))

    def join(self, keys: Heads, values: Heads) -> tuple[Joined, Joined]:
        """The context's keys and values followed by these, valid until the next call."""
        self.both[0, :, self.size :], self.both[1, :, self.size :] = keys, values
        return self.both[0], self.both[1]


def stationary_velocity(
    transformer: QwenImageTransformer2DModel,
    noisy: Latents,
    context: list[Context],
    roles: tuple[int, ...] | None,
    t: Float[Tensor, " b"],
    text: Float[Tensor, "_b n d"],
    text_mask: Int[Tensor, "_b n"] | None = None,
) -> Latents:
    """Velocity of noisy targets, differentiable, in one pass with their stationary context.

    The context's batch may be a K-th of the targets': target i then belongs to context i // K, whose cost the K
    targets share, each at its own t. Each linear layer sees context and targets in one call.
    """
    count = targets_per_context(noisy, context)
    fixed = Fixed(transformer, context, roles, text, tuple(noisy.shape[2:]))
    targets = rearrange(pack(noisy), "(b k) t c -> b (k t) c", k=count)
    times, zero = fixed.times(t, count), fixed.zero
    image = Side(
        False,
        cat([fixed.context_rope, *[fixed.target_rope] * count]),
        [fixed.context_length, *[fixed.target_length] * count],
        cat([zero.expand(-1, times.shape[1], -1), times]),
    )
    tokens = [fixed.embed_text(), transformer.img_in(cat([fixed.pack_context(), targets], 1))]
    mask = None if text_mask is None else pad(text_mask.bool(), (0, fixed.context_length), value=True)
    run, sides, sizes = runner(transformer), [fixed.text_side, image], (fixed.stationary_length, fixed.target_length)
    *blocks, last = transformer.transformer_blocks
    for block in blocks:
        tokens = run(_layer, block, sides, tokens, *sizes, mask)
    if torch.is_grad_enabled():  # the balance of the last layer's experts counts all tokens
        painted = run(_layer, last, sides, tokens, *sizes, mask)[1][:, fixed.context_length :]
    else:
        side = image.part(fixed.context_length, [fixed.target_length] * count, times)
        _, painted = _last_layer(last, sides, tokens, *sizes, mask, side)
    return fixed.head(painted, times)


class StationaryContext:
    """The context of a request, passed through the model once, at the first call of `velocity`."""

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        context: list[Context],
        roles: tuple[int, ...] | None,
        text: Float[Tensor, "_b n d"],
        grid: tuple[int, int],
    ) -> None:
        self._transformer, self._context = transformer, context
        self._fixed = Fixed(transformer, context, roles, text, grid)

    @torch.no_grad()
    def velocity(self, noisy: Latents, t: Float[Tensor, " b"]) -> Latents:
        """Velocity of noisy targets; target i belongs to context i // K where there are K of each."""
        onload(self._transformer)
        fixed, count = self._fixed, targets_per_context(noisy, self._context)
        times = fixed.times(t, count)
        side = Side(False, cat([fixed.target_rope] * count), [fixed.target_length] * count, times)
        tokens = self._transformer.img_in(rearrange(pack(noisy), "(b k) t c -> b (k t) c", k=count))
        for block, buffer in zip(self._transformer.transformer_blocks, self._buffers, strict=True):
            stream = Stream(block, side)
            seen = _see_context(*stream.project(tokens), fixed.target_length, buffer.join)
            tokens = stream.advance(tokens, seen.flatten(2))
        return fixed.head(tokens, times)

    @cached_property
    def _buffers(self) -> list[KeyValueBuffer]:
        """Keys and values of every layer; the last needs no more than these of the context."""
        fixed, buffers = self._fixed, []
        batch = self._context[0].shape[0]
        zero = fixed.zero.expand(-1, batch, -1)
        sides = [fixed.text_side, Side(False, fixed.context_rope, [fixed.context_length], zero)]
        tokens = [fixed.embed_text(), self._transformer.img_in(fixed.pack_context())]
        blocks = self._transformer.transformer_blocks
        for block in blocks:
            streams = [Stream(block, side) for side in sides]
            q, k, v = project(streams, tokens)
            buffers.append(KeyValueBuffer(k, v, fixed.target_length))
            if block is not blocks[-1]:
                tokens = advance(streams, tokens, dispatch_attention_fn(q, k, v))
        return buffers


class Fixed:
    """What does not change from layer to layer nor from step to step: positions, t = 0, and what is embedded."""

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        context: list[Context],
        roles: tuple[int, ...] | None,
        text: Float[Tensor, "_b n d"],
        grid: tuple[int, ...],
    ) -> None:
        if not transformer.config.zero_cond_t:
            raise ValueError(
                "the stationary context needs a base with zero_cond_t, like Qwen-Image-Edit-2511; use context mode full"
            )
        onload(transformer)
        self.transformer, self.context, self.grid = transformer, context, grid
        self.text = text.expand(context[0].shape[0], -1, -1)
        shapes = [(1, height // 2, width // 2) for height, width in (grid, *(image.shape[2:] for image in context))]
        rope = set_roles(transformer, roles, len(context))
        image_rope, text_rope = rope([shapes], max_txt_seq_len=text.shape[1], device=text.device)
        self.target_length = shapes[0][1] * shapes[0][2]
        self.target_rope, self.context_rope = image_rope[: self.target_length], image_rope[self.target_length :]
        self.context_length = len(self.context_rope)
        self.stationary_length = text.shape[1] + self.context_length
        self.zero = self.times(torch.zeros(1, device=text.device), 1)
        self.text_side = Side(True, text_rope, [text.shape[1]], self.zero)

    def times(self, t: Float[Tensor, " b"], count: int) -> Float[Tensor, "k b_context e"]:
        """Time embeddings of `count` targets per context."""
        dtype = self.text.dtype
        return rearrange(self.transformer.time_text_embed(t.to(dtype), self.text), "(b k) d -> k b d", k=count)

    def embed_text(self) -> Float[Tensor, "b n d"]:
        return self.transformer.txt_in(self.transformer.txt_norm(self.text))

    def pack_context(self) -> Float[Tensor, "b s c"]:
        return cat([pack(image) for image in self.context], 1)

    def head(self, targets: Float[Tensor, "b_context s d"], times: Float[Tensor, "k b_context e"]) -> Latents:
        """Velocities of the targets' last hidden states."""
        states = rearrange(targets, "b (k t) d -> (b k) t d", k=len(times))
        states = self.transformer.norm_out(states, rearrange(times, "k b d -> (b k) d"))
        return unpack(self.transformer.proj_out(states), self.grid[0], self.grid[1])


def targets_per_context(noisy: Latents, context: list[Context]) -> int:
    """How many of the targets share a context; `ValueError` where that is no whole number."""
    batches = {image.shape[0] for image in context}
    if len(batches) != 1 or noisy.shape[0] % next(iter(batches)):
        sizes = [tuple(image.shape) for image in [noisy, *context]]
        raise ValueError(
            f"batch sizes of target and context do not fit: {sizes}; context images come in one batch size, and the "
            "targets in a multiple of it"
        )
    return noisy.shape[0] // batches.pop()


def _layer(
    block: QwenImageTransformerBlock,
    sides: list[Side],
    tokens: list[Tensor],
    stationary: int,
    target: int,
    mask: Bool[Tensor, "_b s"] | None,
) -> list[Tensor]:
    """One layer of text, context and targets; the text's padding is hidden by `mask`."""
    streams = [Stream(block, side) for side in sides]
    q, k, v = project(streams, tokens)
    return advance(streams, tokens, _attend(q, k, v, stationary, stationary, target, mask))


def _last_layer(
    block: QwenImageTransformerBlock,
    sides: list[Side],
    tokens: list[Tensor],
    stationary: int,
    target: int,
    mask: Bool[Tensor, "_b s"] | None,
    painted: Side,
) -> list[Tensor]:
    """Text and targets after the last layer: nothing reads the context's tokens afterwards."""
    streams = [Stream(block, side) for side in sides]
    q, k, v = project(streams, tokens)
    seen = _attend(q, k, v, tokens[0].shape[1], stationary, target, mask)
    own = tokens[1][:, -sum(painted.lengths) :]
    return advance([streams[0], Stream(block, painted)], [tokens[0], own], seen)


def _attend(
    q: Heads, k: Heads, v: Heads, asking: int, stationary: int, target: int, mask: Bool[Tensor, "_b m"] | None
) -> Float[Tensor, "b n heads e"]:
    """What the first `asking` of the stationary tokens see of these, and what every target sees of them and itself."""
    own_k, own_v = (x[:, :stationary] for x in (k, v))
    itself = dispatch_attention_fn(q[:, :asking], own_k, own_v, attn_mask=key_mask(mask))
    targets = (x[:, stationary:] for x in (q, k, v))
    seen = _see_context(*targets, target, lambda k, v: (cat([own_k, k], 1), cat([own_v, v], 1)), mask)
    return cat([itself, seen], 1)


def _see_context(
    q: Heads,
    k: Heads,
    v: Heads,
    target: int,
    join: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    mask: Bool[Tensor, "_b c"] | None = None,
) -> Heads:
    """Attention of every target of `target` tokens to what `join` puts in front of it and to itself."""
    mask = None if mask is None else pad(mask, (0, target), value=True)
    each = zip(*(x.split(target, 1) for x in (q, k, v)), strict=True)
    return concat([dispatch_attention_fn(q, *join(k, v), attn_mask=key_mask(mask)) for q, k, v in each])

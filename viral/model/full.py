"""The full context: every token sees every token, as the base was trained.

It is diffusers' own forward with fewer passes over memory, and the same to float precision.
"""

import torch
from diffusers import QwenImageTransformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformerBlock
from jaxtyping import Bool, Float, Int
from torch import Tensor, cat
from torch.nn.functional import pad

from viral.model.roles import set_roles
from viral.model.streams import Side, Stream, advance, key_mask, onload, project, runner
from viral.model.tokens import Context, Latents, pack, unpack


def full_velocity(
    transformer: QwenImageTransformer2DModel,
    noisy: Latents,
    context: list[Context],
    roles: tuple[int, ...] | None,
    t: Float[Tensor, " b"],
    text: Float[Tensor, "b n d"],
    text_mask: Int[Tensor, "b n"] | None = None,
) -> Latents:
    """Velocity of noisy targets, each with clean context images and a text of its own; differentiable.

    The context is modulated at t = 0 where the base has `zero_cond_t`, else at t.
    """
    onload(transformer)
    images = [noisy, *context]
    shapes = [(1, image.shape[2] // 2, image.shape[3] // 2) for image in images]
    rope, text_rope = set_roles(transformer, roles, len(context))(
        [shapes], max_txt_seq_len=text.shape[1], device=text.device
    )
    own, total = shapes[0][1] * shapes[0][2], len(rope)
    now, zero = (transformer.time_text_embed(time.to(text.dtype), text) for time in (t, 0 * t))
    segments = (
        ([own, total - own], torch.stack([now, zero])) if transformer.config.zero_cond_t else ([total], now[None])
    )
    sides = [Side(True, text_rope, [text.shape[1]], now[None]), Side(False, rope, *segments)]
    tokens = [
        transformer.txt_in(transformer.txt_norm(text)),
        transformer.img_in(cat([pack(image) for image in images], 1)),
    ]
    mask = None if text_mask is None else pad(text_mask.bool(), (0, total), value=True)
    run = runner(transformer)
    *blocks, last = transformer.transformer_blocks
    for block in blocks:
        tokens = run(_layer, block, sides, tokens, mask)
    if torch.is_grad_enabled():  # the balance of the last layer's experts counts all tokens
        target = run(_layer, last, sides, tokens, mask)[1][:, :own]
    else:
        _, target = _last_layer(last, sides, tokens, mask, sides[1].part(0, [own], now[None]))
    velocity = transformer.proj_out(transformer.norm_out(target, now))
    return unpack(velocity, *noisy.shape[2:])


def _layer(
    block: QwenImageTransformerBlock, sides: list[Side], tokens: list[Tensor], mask: Bool[Tensor, "b s"] | None
) -> list[Tensor]:
    streams = [Stream(block, side) for side in sides]
    q, k, v = project(streams, tokens)
    return advance(streams, tokens, dispatch_attention_fn(q, k, v, attn_mask=key_mask(mask)))


def _last_layer(
    block: QwenImageTransformerBlock,
    sides: list[Side],
    tokens: list[Tensor],
    mask: Bool[Tensor, "b s"] | None,
    target: Side,
) -> list[Tensor]:
    """Text and the target's tokens, which stand first: nothing reads the context's afterwards."""
    streams = [Stream(block, side) for side in sides]
    q, k, v = project(streams, tokens)
    own = sum(target.lengths)
    seen = dispatch_attention_fn(q[:, : tokens[0].shape[1] + own], k, v, attn_mask=key_mask(mask))
    return advance([streams[0], Stream(block, target)], [tokens[0], tokens[1][:, :own]], seen)

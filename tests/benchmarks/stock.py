"""The edit as diffusers computes it: packed tokens, the target's first, through the transformer's own forward."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from unittest.mock import patch

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
from diffusers.models.transformers import transformer_qwenimage
from torch import Tensor

from viral.model.roles import use_role_rope
from viral.model.tokens import pack, unpack
from viral.sampling.denoise import schedule, start_noise

CHANNELS, LAYERS, HEADS, HEAD_WIDTH, WORDS, TEXT_WIDTH = 16, 2, 2, 64, 8, 64
SIZES = f"{LAYERS} layers of {HEADS} x {HEAD_WIDTH}, {WORDS} words"


@dataclass(frozen=True)
class Edit:
    """A random transformer, and an analogy of four square images of `side` x `side` tokens with a short text."""

    transformer: QwenImageTransformer2DModel
    side: int
    words: int = WORDS

    @property
    def shape(self) -> tuple[int, int, int]:
        return CHANNELS, 2 * self.side, 2 * self.side

    @cached_property
    def context(self) -> list[Tensor]:
        return [self.noise(seed) for seed in (101, 102, 103)]

    @cached_property
    def text(self) -> Tensor:
        width = self.transformer.config.joint_attention_dim
        return self._place(torch.randn(1, self.words, width, generator=torch.Generator().manual_seed(104)))

    def noise(self, *seeds: int) -> Tensor:
        return self._place(start_noise(list(seeds), self.shape))

    def time(self, *values: float) -> Tensor:
        return self._place(torch.tensor(values))

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.transformer.device, self.transformer.dtype)


def random_edit(side: int) -> Edit:
    """The same at every call."""
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * CHANNELS, out_channels=CHANNELS, num_layers=LAYERS, attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS, joint_attention_dim=TEXT_WIDTH, axes_dims_rope=(16, 24, 24), zero_cond_t=True,
    )  # fmt: skip
    use_role_rope(transformer)
    return Edit(transformer.eval(), side)


class StockVelocity:
    """diffusers' forward as its pipeline calls it: the context is packed once, everything runs at every step."""

    def __init__(self, edit: Edit) -> None:
        self.transformer, self.text, self.side = edit.transformer, edit.text, edit.side
        self.context = torch.cat([pack(image) for image in edit.context], 1)

    def __call__(self, tokens: Tensor, t: Tensor) -> Tensor:
        predicted = self.transformer(
            hidden_states=torch.cat([tokens, self.context], 1),
            timestep=t,
            encoder_hidden_states=self.text,
            img_shapes=[[(1, self.side, self.side)] * 4],
            return_dict=False,
        )[0]
        return predicted[:, : tokens.shape[1]]

    @torch.no_grad()
    def denoise(self, scheduler: FlowMatchEulerDiscreteScheduler, noise: Tensor, steps: int) -> Tensor:
        """Latents after all steps, by the loop of diffusers' pipeline."""
        tokens, own = pack(noise), schedule(scheduler, steps, self.side**2)
        own.set_begin_index(0)
        for i in range(steps):
            t = own.timesteps[i]
            tokens = own.step(self(tokens, t.expand(1).to(tokens) / 1000), t, tokens, return_dict=False)[0]
        return unpack(tokens, 2 * self.side, 2 * self.side)


@contextmanager
def stationary_mask(edit: Edit) -> Iterator[None]:
    """Here diffusers' forward computes the stationary context: a dense mask hides the target, text is at t = 0."""
    own, words = edit.side**2, edit.words
    hidden = torch.zeros(words + 4 * own, dtype=torch.bool, device=edit.text.device)
    hidden[words : words + own] = True
    mask = ~hidden[None, :] | hidden[:, None]
    attention = transformer_qwenimage.dispatch_attention_fn
    zero = edit.transformer.time_text_embed(edit.time(0.0), edit.text)
    with ExitStack() as stack:
        for block in edit.transformer.transformer_blocks:
            hook = block.txt_mod.register_forward_pre_hook(lambda module, inputs: (zero.expand_as(inputs[0]),))
            stack.callback(hook.remove)
        masked = lambda *qkv, attn_mask, **options: attention(*qkv, attn_mask=mask, **options)
        stack.enter_context(patch.object(transformer_qwenimage, "dispatch_attention_fn", masked))
        yield

"""Pretraining of the small edit DiT with its text encoder: an image model that edits as told in words."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from einops import rearrange, reduce
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor

from viral.flow import interpolate, logit_normal, velocity
from viral.model.roles import ANALOGY, Role, use_role_rope
from viral.model.velocity import ContextMode, predict_velocity
from viral.pretrain.lessons import Lesson, Sample
from viral.pretrain.loop import Turn, pretrain
from viral.pretrain.pictures import Picture
from viral.pretrain.tokenizer import PREFIX_TOKENS, prompt_template
from viral.pretrain.vae import BLOCK, CHANNELS
from viral.train.loss import edit_weight

IMAGE_PROMPT = "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"
TARGETS = 2
SHIFT = 5.0
"""Of the times towards noise, where what is to be painted has to be read off context and words: at 1.6 most of the loss
was of removing what little noise was left."""


class Words:
    """Text embeddings as the edit pipeline makes them, with gradients, with or without the images."""

    def __init__(self, encoder: Qwen2_5_VLForConditionalGeneration, processor: Qwen2VLProcessor) -> None:
        self.encoder, self.processor, self.template = encoder, processor, prompt_template()

    def __call__(
        self, words: list[str], images: list[tuple[Picture, ...]] | None
    ) -> tuple[Float[Tensor, "b n d"], Int[Tensor, "b n"] | None]:
        """Hidden states after the template's prefix, and their mask unless all are of one length."""
        pictures = images or [()] * len(words)
        texts = [
            self.template.format("".join(IMAGE_PROMPT.format(i + 1) for i in range(len(own))) + text)
            for text, own in zip(words, pictures, strict=True)
        ]
        flat = [_to_image(picture) for own in pictures for picture in own]
        inputs = self.processor(
            text=texts, images=flat or None, padding=True, padding_side="right", return_tensors="pt"
        )
        hidden = self.encoder(**inputs, output_hidden_states=True).hidden_states[-1][:, PREFIX_TOKENS:]
        mask = inputs["attention_mask"][:, PREFIX_TOKENS:]
        return hidden * mask.unsqueeze(-1), None if mask.all() else mask


def _to_image(picture: Picture) -> Image.Image:
    return Image.fromarray((picture * 255).astype(np.uint8)).resize((112, 112), Image.Resampling.BILINEAR)


class LinearEncoder:
    """The VAE's linear encoder as one product; equal to it to half a percent, a hundred times cheaper."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        strided, half = vae.encoder.down_blocks[3].resample[1], BLOCK // 2
        kernels = strided.weight.detach()[:CHANNELS, : 3 * half * half, :half, :half]
        self.components = rearrange(kernels, "z (c p q) P Q -> z (c P p Q q)", p=half, q=half)
        mean, std = (torch.tensor(v) for v in (vae.config.latents_mean, vae.config.latents_std))
        self.offset, self.std = strided.bias.detach()[:CHANNELS] - mean, std

    def __call__(self, pictures: list[Picture]) -> Float[Tensor, "b z h w"]:
        x = torch.from_numpy(np.stack(pictures)).float() * 2 - 1
        blocks = rearrange(x, "b (h p) (w q) c -> b h w (c p q)", p=BLOCK, q=BLOCK)
        with torch.autocast("cpu", enabled=False):
            return rearrange((blocks @ self.components.T + self.offset) / self.std, "b h w z -> b z h w")


def edit_loss(
    transformer: QwenImageTransformer2DModel, words: Words, encode: LinearEncoder, samples: list[Sample], see: bool,
    generator: torch.Generator, mode: ContextMode = "full",
) -> Float[Tensor, ""]:  # fmt: skip
    """Flow-matching loss of one batch, weighed by `edit_weight`; all samples have as many context pictures.

    In mode `stationary` each sample is painted at `TARGETS` times at once.
    """
    text, mask = words([s.words for s in samples], [s.context for s in samples] if see else None)
    x0 = encode([s.target for s in samples])
    context = [encode([s.context[i] for s in samples]) for i in range(len(samples[0].context))]
    roles = ANALOGY if len(context) == 3 else (Role.EXAMPLE_SOURCE,)
    count = TARGETS if mode == "stationary" else 1
    x0, weight = x0.repeat_interleave(count, 0), edit_weight(context[-1], x0).repeat_interleave(count, 0)
    t, noise = logit_normal(len(x0), generator, SHIFT), torch.randn(x0.shape, generator=generator)
    predicted = predict_velocity(transformer, interpolate(x0, noise, t), context, roles, t, text, mask, mode)
    error = reduce((predicted.float() - velocity(x0, noise)).square(), "b z h w -> b", "mean")
    return (weight * error).mean()


def train(
    transformer: QwenImageTransformer2DModel, words: Words, encode: LinearEncoder, lesson: Lesson, seconds: float,
    state_file: Path, seed: int = 0, modes: tuple[ContextMode, ...] = ("full",),
) -> dict[str, float]:  # fmt: skip
    """Train DiT and text encoder as `pretrain` says; context modes take turns."""
    use_role_rope(transformer)
    model = torch.nn.ModuleDict({"transformer": transformer, "text_encoder": words.encoder})
    model["text_encoder"].lm_head.requires_grad_(False)

    def loss_of(turn: Turn) -> tuple[str, Tensor]:
        with_example, see, mode = bool(turn.step % 3), bool(turn.step % 16 < 2), modes[turn.step % len(modes)]
        samples = lesson(turn.count, with_example, turn.share, turn.rng)
        loss = edit_loss(transformer, words, encode, samples, see, turn.generator, mode)
        return "beside an example" if with_example else "alone", loss

    return pretrain(model, loss_of, seconds, state_file, seed)

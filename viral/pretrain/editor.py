"""Pretraining of the small edit DiT with its text encoder: an image model that edits as told in words."""

import time
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
from viral.pretrain.pictures import Picture
from viral.pretrain.team import share_gradients, team, total
from viral.pretrain.tokenizer import PREFIX_TOKENS, prompt_template
from viral.pretrain.vae import BLOCK, CHANNELS
from viral.train.loss import edit_weight

IMAGE_PROMPT = "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"
BATCH, LEARNING_RATE, TARGETS = 32, 1e-3, 2
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
    """Train DiT and text encoder until `seconds` of processor time are spent in all, resuming from `state_file`.

    Processes of one `torch.distributed` group share each batch. Context modes take turns. Leaves the averaged weights
    in place and returns what it took.
    """
    use_role_rope(transformer)
    model = torch.nn.ModuleDict({"transformer": transformer, "text_encoder": words.encoder})
    model["text_encoder"].lm_head.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    step, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, step, spent = state["average"], state["step"], state["spent"]
    rank, processes = team()
    saved, losses = spent, {False: [], True: []}
    while spent < seconds:
        start = time.process_time()
        rng = np.random.default_rng([seed, step, rank])
        generator = torch.Generator().manual_seed((seed * 2**32 + step) * processes + rank)
        with_example, see, mode = bool(step % 3), bool(step % 16 < 2), modes[step % len(modes)]
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 200, max(0.02, (1 - spent / seconds) / 0.4))
        samples = lesson(BATCH // processes, with_example, spent / seconds, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            loss = edit_loss(transformer, words, encode, samples, see, generator, mode)
        model.zero_grad()
        loss.backward()
        share_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses[with_example].append(loss.item())
        step, spent = step + 1, spent + total(time.process_time() - start)
        with torch.no_grad():
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1 - min(0.999, (1 + step) / (10 + step)))
        if rank == 0 and (spent - saved > 60 or spent >= seconds):
            saved = spent
            _save(state_file, model, optimizer, average, step, spent)
            single, multiple = (np.mean(losses[kind][-50:]) for kind in (False, True))
            print(
                f"editor {spent:6.0f} s {step} steps {step * BATCH} samples loss {single:.4f} {multiple:.4f}",
                flush=True,
            )
    model.load_state_dict({**model.state_dict(), **average})
    return {"samples": float(step * BATCH), "seconds": spent}


def _save(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
    spent: float,
) -> None:
    temporary = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
    torch.save({**state, "step": step, "spent": spent}, temporary)
    temporary.replace(path)

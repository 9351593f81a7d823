"""Pretraining of the small Fill DiT with its text encoders: a painter of what a mask covers, as told in words.

Most canvases are diptychs of a picture and its edit, whose right half is covered; the others are pictures with a box
cut out, without words. FLUX.1 Fill has seen pictures side by side on the web; ours has not seen the web.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from viral.flow import interpolate, logit_normal, velocity
from viral.model.flux import FluxText
from viral.model.flux_fill import FillVelocity, fold_mask
from viral.pretrain.editor import SHIFT, LinearEncoder
from viral.pretrain.fill_vae import linear_code
from viral.pretrain.lessons import Lesson, Sample
from viral.pretrain.loop import Turn, pretrain
from viral.pretrain.pictures import Picture
from viral.pretrain.vae import BLOCK
from viral.sampling.diptych import PAPER_PROMPT, RELEASED_PROMPT, Caption, in_context_prompt, left_half, right_half
from viral.train.loss import edit_weight

TEMPLATES = {RELEASED_PROMPT: 0.5, PAPER_PROMPT: 0.3, "{instruction}": 0.2}
"""How often a diptych is told in which words."""
BOXES = 0.15
"""Share of steps whose canvases are pictures with a box cut out."""
KEPT = 0.1
"""What the error of a cell counts that the mask leaves alone."""
GREY = 0.5
GUIDANCE = (1.0, 60.0)
"""The embedded guidance is drawn from here and means nothing: only a distilled model could follow it."""


class FillWords:
    """Prompts as FLUX.1's pipeline encodes them, with gradients."""

    def __init__(
        self, clip: CLIPTextModel, clip_tokenizer: CLIPTokenizer, t5: T5EncoderModel, t5_tokenizer: T5TokenizerFast
    ) -> None:
        self.clip, self.clip_tokenizer, self.t5, self.t5_tokenizer = clip, clip_tokenizer, t5, t5_tokenizer

    def __call__(self, prompts: list[str]) -> FluxText:
        """Tokens of T5, padded to its full length, and CLIP's pooled vector."""
        told = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return FluxText(
            self.t5(self.t5_tokenizer(prompts, **told).input_ids)[0],
            self.clip(self.clip_tokenizer(prompts, **told).input_ids).pooler_output,
        )


class FillEncoder(LinearEncoder):
    """The VAE's linear encoder as one product."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self.components, self.offset = linear_code(vae)
        self.std = torch.ones(len(self.offset))


@dataclass(frozen=True)
class Canvas:
    """A picture of which a mask covers a part, and what is said of it."""

    picture: Picture
    mask: Bool[np.ndarray, "y x"]
    words: str


def diptych_of(sample: Sample, template: str) -> Canvas:
    """The edit of a sample side by side with its source, the right half covered."""
    (before,), after = sample.context, sample.target
    words = in_context_prompt(sample.words, Caption(), template) if sample.words.strip() else ""
    mask = np.zeros((before.shape[0], 2 * before.shape[1]), bool)
    mask[:, before.shape[1] :] = True
    return Canvas(np.concatenate([before, after], axis=1), mask, words)


def boxed(sample: Sample, rng: np.random.Generator) -> Canvas:
    """A sample's source with a box of a quarter to three quarters of each side cut out."""
    picture = sample.context[-1]
    mask = np.zeros(picture.shape[:2], bool)
    spans = []
    for side in mask.shape:
        length = int(rng.integers(side // 4, 3 * side // 4 + 1))
        start = int(rng.integers(side - length + 1))
        spans.append(slice(start, start + length))
    mask[tuple(spans)] = True
    return Canvas(picture, mask, "")


def fill_loss(
    transformer: FluxTransformer2DModel, words: FillWords, encode: LinearEncoder, canvases: list[Canvas],
    generator: torch.Generator,
) -> Float[Tensor, ""]:  # fmt: skip
    """Flow-matching loss of canvases of one size, diptychs weighed by `edit_weight`."""
    x0 = encode([canvas.picture for canvas in canvases])
    masked, mask = masked_latents(encode, canvases)
    low, high = GUIDANCE
    guidance = low + (high - low) * torch.rand(1, generator=generator).item()
    t, noise = logit_normal(len(x0), generator, SHIFT), torch.randn(x0.shape, generator=generator)
    problem = FillVelocity(transformer, masked, mask, words([canvas.words for canvas in canvases]), guidance)
    error = (problem(interpolate(x0, noise, t), t).float() - velocity(x0, noise)).square()
    painted = reduce(fold_mask(mask, BLOCK), "b p h w -> b 1 h w", "max")
    counted = painted + KEPT * (1 - painted)
    per_canvas = reduce(error * counted, "b z h w -> b", "mean") / reduce(counted, "b 1 h w -> b", "mean")
    is_diptych = x0.shape[-1] > x0.shape[-2]
    return (per_canvas * edit_weight(left_half(x0), right_half(x0)) if is_diptych else per_canvas).mean()


def masked_latents(
    encode: LinearEncoder, canvases: list[Canvas]
) -> tuple[Float[Tensor, "b z h w"], Float[Tensor, "b 1 y x"]]:  # fmt: skip
    """Latents of the canvases with grey under their masks, and the masks."""
    hidden = encode([np.where(canvas.mask[..., None], GREY, canvas.picture) for canvas in canvases])
    masks = torch.from_numpy(np.stack([canvas.mask for canvas in canvases]))
    return hidden, rearrange(masks, "b y x -> b 1 y x").float()


def train_filler(
    transformer: FluxTransformer2DModel, words: FillWords, encode: LinearEncoder, lesson: Lesson, seconds: float,
    state_file: Path,
) -> dict[str, float]:  # fmt: skip
    """Train DiT and both text encoders as `pretrain` says."""
    model = nn.ModuleDict({"transformer": transformer, "clip": words.clip, "t5": words.t5})

    def loss_of(turn: Turn) -> tuple[str, Tensor]:
        # All processes of a team take the same turn: what it is about follows from the step alone.
        boxes = np.random.default_rng(turn.step).random() < BOXES
        samples = lesson(turn.count, False, turn.share, turn.rng)
        templates = turn.rng.choice(list(TEMPLATES), len(samples), p=list(TEMPLATES.values()))
        canvases = [
            boxed(sample, turn.rng) if boxes else diptych_of(sample, str(template))
            for sample, template in zip(samples, templates, strict=True)
        ]
        loss = fill_loss(transformer, words, encode, canvases, turn.generator)
        return "boxes" if boxes else "diptychs", loss

    return pretrain(model, loss_of, seconds, state_file, seed=2)

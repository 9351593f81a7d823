"""The whole making of the small Fill base: VAE, decoder, filler, folder and model card; resumable at every minute."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTokenizer, T5TokenizerFast

from viral.model.flux_fill import FillVelocity
from viral.pretrain import edits, exam, vae
from viral.pretrain.base import COUPLES, photograph_rows
from viral.pretrain.editor import SHIFT
from viral.pretrain.fill_folder import (
    NOISE_TOKEN,
    build_clip,
    build_clip_tokenizer,
    build_scheduler,
    build_t5,
    build_t5_tokenizer,
    build_transformer,
)
from viral.pretrain.fill_vae import build_vae
from viral.pretrain.filler import FillEncoder, FillWords, diptych_of, masked_latents, train_filler
from viral.pretrain.folder import towards_noise
from viral.pretrain.lessons import Sample, SceneEdits
from viral.pretrain.pictures import Pictures, photographs
from viral.pretrain.team import first_alone, team
from viral.pretrain.told_scenes import ToldScenes, told_scenes
from viral.sampling.diptych import PAPER_PROMPT, RELEASED_PROMPT, Caption, in_context_prompt, right_half

LAYERS, HEADS, TEXT_WIDTH = 4, 4, 64
TOKENS, VOCABULARY = 112, 600
"""Of T5's prompts, of which none may lose its end."""
FILL_TOKEN = 2 * NOISE_TOKEN + 4 * vae.BLOCK**2


def make_fill(photos: Path, state: Path, out: Path, decoder_seconds: float, filler_seconds: float) -> None:
    """Train what is left to train and write the base to `out`; `state` keeps the progress between calls.

    Processes that `torchrun` started share the filler's batches; the first of them does the rest.
    """
    state.mkdir(parents=True, exist_ok=True)
    with first_alone():
        pictures, scenes = Pictures(photographs(photos)), told_scenes(state / "scenes", COUPLES)
        autoencoder = _vae(pictures, state)
        decoder = vae.train_decoder(autoencoder, pictures, decoder_seconds, state / "fill_decoder.pt")
        words = build_words(*_tokenizers(pictures, scenes, state))
    transformer = build_transformer(FILL_TOKEN, LAYERS, heads=HEADS, text_width=TEXT_WIDTH)
    encode, lesson = FillEncoder(autoencoder), SceneEdits(pictures, scenes)
    cost = train_filler(transformer, words, encode, lesson, filler_seconds, state / "filler.pt")
    if team()[0] == 0:
        marks = exam.exam(encode, exam.unseen_scenes(state / "exam"), _ways(transformer, words, encode))
        save(out, transformer, autoencoder, words)
        (out / "README.md").write_text(card(pictures, decoder, cost, marks))


def save(
    folder: Path, transformer: FluxTransformer2DModel, autoencoder: AutoencoderKL, words: FillWords,
    dtype: torch.dtype = torch.bfloat16,
) -> None:  # fmt: skip
    """Write a folder that `FluxFillPipeline.from_pretrained` opens, weights rounded to `dtype`."""
    autoencoder.register_to_config(_name_or_path="")  # where it was loaded from is nobody's concern
    FluxFillPipeline(
        scheduler=_scheduler(), vae=autoencoder.to(dtype), text_encoder=words.clip.to(dtype),
        tokenizer=words.clip_tokenizer, text_encoder_2=words.t5.to(dtype), tokenizer_2=words.t5_tokenizer,
        transformer=transformer.to(dtype),
    ).save_pretrained(folder)  # fmt: skip


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1's schedule, as far towards noise as training was."""
    return towards_noise(build_scheduler(), SHIFT)


def _vae(pictures: Pictures, state: Path) -> AutoencoderKL:
    """The VAE with its linear encoder, built once: the filler's latents depend on its every bit."""
    if not (state / "fill_vae" / "config.json").is_file():
        build_vae(pictures).save_pretrained(state / "fill_vae")
    return AutoencoderKL.from_pretrained(state / "fill_vae")


def build_words(clip: CLIPTokenizer, t5: T5TokenizerFast) -> FillWords:
    """Both text encoders, untrained, for their tokenizers."""
    return FillWords(build_clip(clip), clip, build_t5(t5, width=TEXT_WIDTH), t5)


def _tokenizers(pictures: Pictures, scenes: ToldScenes, state: Path) -> tuple[CLIPTokenizer, T5TokenizerFast]:
    """Built once: the encoders depend on every token's number, and T5's differ from one making to another."""
    clip, t5 = state / "fill_clip", state / "fill_t5"
    if not t5.is_dir():
        phrases = sorted({*edits.phrases(pictures), *scenes.phrases()})
        templates = (RELEASED_PROMPT, PAPER_PROMPT)
        told = [[in_context_prompt(phrase, Caption(), way) for way in templates] for phrase in phrases]
        prompts = phrases + [ways[i % 2] for i, ways in enumerate(told)]  # both templates about as often
        made = build_t5_tokenizer(prompts, TOKENS, VOCABULARY)
        tokens, longest = max((len(made(prompt).input_ids), prompt) for ways in told for prompt in ways)
        if tokens > TOKENS:
            raise ValueError(f"the prompt {longest!r} has {tokens} tokens, of which T5 reads {TOKENS}; raise TOKENS")
        build_clip_tokenizer(prompts).save_pretrained(clip)
        made.save_pretrained(t5)
    return CLIPTokenizer.from_pretrained(clip), T5TokenizerFast.from_pretrained(t5)


def _ways(transformer: FluxTransformer2DModel, words: FillWords, encode: FillEncoder) -> dict[str, exam.Way]:
    """Told in the released prompt."""

    @torch.no_grad()
    def told(cases: exam.Cases) -> Tensor:
        samples = [Sample((ask.before,), ask.after, ask.words) for _, ask in cases]
        canvases = [diptych_of(sample, RELEASED_PROMPT) for sample in samples]
        masked, mask = masked_latents(encode, canvases)
        problem = FillVelocity(transformer, masked, mask, words([canvas.words for canvas in canvases]))
        return right_half(exam.in_two_steps(problem, tuple(masked.shape)))

    return {"words": told}


def card(pictures: Pictures, decoder: dict[str, float], filler: dict[str, float], marks: str) -> str:
    """The model card: what it is, what it was made from and what that cost."""
    seen = f"{decoder['images']:.0f} images, {decoder['seconds'] / 3600:.1f} processor hours"
    filled = f"{filler['samples']:.0f} samples, {filler['seconds'] / 3600:.1f} processor hours"
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---
# A small Fill base for VIRAL

A painter of what a mask covers, as told in words, in the layout and of the classes of FLUX.1 Fill
(`FluxFillPipeline.from_pretrained` opens it) and with none of its weights, small enough to ship with the package and to
run on two cores. It is a stand-in for trying the platform, not a product: diptychs of two pictures of 64 x 64 pixels,
the edits that the shipped edit base knows too, told in the prompts of ICEdit, and boxes cut out of pictures.

| part | class | how it was made | cost |
|---|---|---|---|
| vae | AutoencoderKL, 16 channels at a quarter of the side | linear encoder set, decoder trained | {seen} |
| transformer | FluxTransformer2DModel, {LAYERS} double, {LAYERS} single layers of {32 * HEADS} | flow | {filled} |
| text_encoder, text_encoder_2 | CLIPTextModel, T5EncoderModel, 2 layers each | trained with the transformer | |
| tokenizer, tokenizer_2 | CLIPTokenizer, T5TokenizerFast of {TOKENS} tokens | trained on the prompts | |

Remake it with `make pretrain-fill PHOTOS=dir`. Its guidance is an embedding that means nothing.

## Scenes
`viral/scenes`, CC0-1.0. Kept out: the kinds of edit and the combinations that
`viral/data/sources/combinations.py` names, and line drawings.

## What it has learnt
Errors in two steps on scenes that it never saw, as `viral/pretrain/exam.py` takes them: 1 is the best answer that costs
nothing, the picture as it is, another's answer or the mean of the others'.

{marks}

## Photographs
Only photographs whose licence allows it; the demo's are not among them. Crops of them, and shapes drawn by ourselves,
were all it saw besides.

{photograph_rows(pictures.photos)}
"""

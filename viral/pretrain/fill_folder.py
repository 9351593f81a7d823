"""Small complete FLUX bases in diffusers' layout: small configurations of FLUX.1's own classes, random weights."""

import json
import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

CHANNELS, SCALE = 16, 8
"""Latent channels and pixels per latent cell of FLUX.1's VAE, which the small one keeps."""
TEXT_WIDTH, POOLED_WIDTH = 32, 24
NOISE_TOKEN = 4 * CHANNELS
FILL_TOKEN = 2 * NOISE_TOKEN + 4 * SCALE**2
"""Channels of one token: noise alone, and noise, masked picture and folded mask (384)."""
CLIP_END, CLIP_START = "<|endoftext|>", "<|startoftext|>"


def build_transformer(
    token_channels: int = FILL_TOKEN, layers: int = 2, seed: int = 0, *, heads: int = 2, text_width: int = TEXT_WIDTH
) -> FluxTransformer2DModel:
    """A DiT of `layers` double and as many single blocks, 32 x heads wide, with FLUX.1's embedded guidance."""
    torch.manual_seed(seed)
    return FluxTransformer2DModel(
        in_channels=token_channels, out_channels=NOISE_TOKEN, num_layers=layers, num_single_layers=layers,
        attention_head_dim=32, num_attention_heads=heads, joint_attention_dim=text_width,
        pooled_projection_dim=POOLED_WIDTH, guidance_embeds=True, axes_dims_rope=(8, 12, 12),
    )  # fmt: skip


def build_vae(seed: int = 0) -> AutoencoderKL:
    """An autoencoder with FLUX.1's factor of 8, channels, scaling and shift."""
    torch.manual_seed(seed)
    stages = 4
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=(8,) * stages, layers_per_block=1, norm_num_groups=4, latent_channels=CHANNELS,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1's schedule: shifted by resolution."""
    return FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=256, base_shift=0.5, max_image_seq_len=4096, max_shift=1.15, num_train_timesteps=1000,
        shift=3.0, use_dynamic_shifting=True,
    )  # fmt: skip


def build_clip_tokenizer(texts: list[str]) -> CLIPTokenizer:
    """A byte-pair tokenizer of CLIP's 77 tokens, trained on `texts`."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [CLIP_START, CLIP_END, *(f"{letter}</w>" for letter in alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=special, initial_alphabet=alphabet, end_of_word_suffix="</w>",
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator([text.lower() for text in texts], trainer)
    state = json.loads(bpe.to_str())["model"]
    return CLIPTokenizer(vocab=state["vocab"], merges=[tuple(pair) for pair in state["merges"]], model_max_length=77)


def build_t5_tokenizer(texts: list[str], length: int, size: int = 400) -> T5TokenizerFast:
    """A unigram tokenizer of at most `length` tokens, trained on `texts`; its vocabulary is in T5's order."""
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = T5TokenizerFast().backend_tokenizer.pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=list(string.printable.strip()),
    )  # fmt: skip
    unigram.train_from_iterator(texts, trainer)
    vocab = [tuple(entry) for entry in json.loads(unigram.to_str())["model"]["vocab"]]
    return T5TokenizerFast(vocab=vocab, extra_ids=0, model_max_length=length)


def build_clip(tokenizer: CLIPTokenizer, seed: int = 0) -> CLIPTextModel:
    """The encoder of the pooled prompt."""
    torch.manual_seed(seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=POOLED_WIDTH, intermediate_size=48, projection_dim=POOLED_WIDTH,
            num_hidden_layers=2, num_attention_heads=2, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def build_t5(tokenizer: T5TokenizerFast, seed: int = 0, width: int = TEXT_WIDTH) -> T5EncoderModel:
    """The encoder of the prompt's tokens."""
    torch.manual_seed(seed)
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=width, d_kv=16, d_ff=2 * width, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def save_fill(folder: Path, texts: list[str], seed: int = 0, length: int = 128) -> None:
    """Write a folder that `FluxFillPipeline.from_pretrained` opens, tokenizers trained on `texts`."""
    transformer = build_transformer(FILL_TOKEN, seed=seed)
    FluxFillPipeline(transformer=transformer, **_shared(texts, seed, length)).save_pretrained(folder)


def save_text_to_image(folder: Path, texts: list[str], seed: int = 0, length: int = 128) -> None:
    """Write a folder that `FluxPipeline.from_pretrained` opens, laid out as FLUX.1-dev."""
    transformer = build_transformer(NOISE_TOKEN, seed=seed)
    FluxPipeline(transformer=transformer, **_shared(texts, seed, length)).save_pretrained(folder)


def _shared(texts: list[str], seed: int, length: int) -> dict[str, Any]:
    clip, t5 = build_clip_tokenizer(texts), build_t5_tokenizer(texts, length)
    return {
        "scheduler": build_scheduler(), "vae": build_vae(seed), "text_encoder": build_clip(clip, seed),
        "tokenizer": clip, "text_encoder_2": build_t5(t5, seed), "tokenizer_2": t5,
    }  # fmt: skip

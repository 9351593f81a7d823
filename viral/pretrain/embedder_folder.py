"""The embedder's folder in open_clip's layout: model, tokenizer, preprocessing, card."""

import json
from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from viral.pretrain.edited_scenes import HELD_OUT, EditedScenes

WORDS, VOCABULARY = 48, 768
"""Tokens of a text, and entries of the tokenizer."""
PAD, END = "<|pad|>", "<|endoftext|>"
SIDE = 64
MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {
        "context_length": WORDS, "vocab_size": VOCABULARY, "width": 64, "heads": 2, "layers": 2, "pool_type": "eos",
        "eos_id": 1, "hf_tokenizer_name": "viral/embedded_clip",
    },
}  # fmt: skip
"""A ModifiedResNet of CLIP and its text transformer, as `open_clip.CLIP` takes it."""
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of our own in lower case: CLIP's vocabulary alone would weigh more than the model."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[PAD, END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, eos_token=END, model_max_length=WORDS)


def save_embedder(out: Path, model: open_clip.CLIP, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write model, configuration and tokenizer in open_clip's layout, weights in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_file(half, out / "open_clip_model.safetensors")
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(out)
    for path in out.iterdir():
        path.chmod(0o644)  # safetensors writes for its user alone


def card(model: open_clip.CLIP, scenes: EditedScenes, took: dict[str, float], read: dict[str, float]) -> str:
    """The model card: what it is, what it was made from and what that cost."""
    told, kinds = scenes.instructions, len(set(scenes.kinds.tolist()))
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"""---
license: apache-2.0
library_name: open_clip
pipeline_tag: zero-shot-image-classification
---
# The embedded embedder

A small CLIP (`open_clip.create_model_from_pretrained("local-dir:...")` opens it) of {weights:.1f} M weights in half
precision: a ModifiedResNet on {SIDE} x {SIDE} pixels, a text transformer of two layers, vectors of
{MODEL["embed_dim"]} numbers. It is trained for the same edit of two pictures to be the same step f(after) - f(before),
which points where the instruction does. It stands in where ViT-L/14 is absent: for trying the platform on a
laptop. It has seen the scene world of `viral/scenes` and nothing else; of photographs it knows light and colour.

| | |
|---|---|
| data | {len(told)} edits of {kinds} kinds, each done to two scenes: {len(told) * 4} pictures with captions |
| instructions | {len(set(told))}; of kinds with {HELD_OUT} instructions or more, one in {HELD_OUT} was held out |
| licence of the data | CC0-1.0, all of it rendered by this program |
| image tower | {took["steps"]:.0f} steps, {took["pictures"]:.0f} pictures seen |
| text tower | {read["steps"]:.0f} steps on the locked image tower |
| cost | {(took["seconds"] + read["seconds"]) / 60:.0f} minutes of one processor core, and about ten to render |
| command | `python jobs/pretrain_clip.py` |
"""

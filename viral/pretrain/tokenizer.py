"""A byte-level BPE of our own for the small base: Qwen's vocabulary alone would be larger than the base."""

import json
import re

from diffusers import QwenImageEditPlusPipeline
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PREFIX_TOKENS = 64
"""The pipeline drops this many tokens of its template before the user's words."""


def prompt_template() -> str:
    """The template that the edit pipeline wraps around the words, with a `{}` in their place."""
    return QwenImageEditPlusPipeline(None, None, None, None, None, None).prompt_template_encode


def build_tokenizer(texts: list[str], size: int = 1500) -> Qwen2Tokenizer:
    """A tokenizer of at most `size` entries besides the special ones, trained on the template and `texts`.

    Each piece of the template becomes one token, as in Qwen's vocabulary, so that its prefix is 64 tokens long.
    """
    template = prompt_template()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([re.sub(r"<\|[a-z_]+\|>", "", template)] * 100 + texts, trainer)
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in state["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=state["vocab"], merges=merges, extra_special_tokens=list(SPECIAL))
    found = len(tokenizer(template.split("{}")[0])["input_ids"])
    if found != PREFIX_TOKENS:
        raise ValueError(
            f"the template's prefix has {found} tokens, expected {PREFIX_TOKENS}; change the tokenizer's size ({size})"
        )
    return tokenizer

"""Words from outside cannot speak to the model in its own signs."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from serve.prompts import harmless

SIGNS = ["<|image_pad|>", "<|vision_start|>", "<|im_end|>", "<|endoftext|>", "</s>", "<pad>", "<unk>", "<extra_id_0>"]


@pytest.mark.parametrize("words", ["make it red", "a < b > c", "größer — 更亮", "two\nlines\tand 1", "👩‍🎨 می‌خواهم"])
def test_ordinary_words_stay_as_they_are(words):
    assert harmless(words) == words


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_of_tokenizers_are_broken(sign):
    assert sign not in harmless(f"make it {sign} red")
    assert sign not in harmless(sign.replace("<", "<\x00")) and sign not in harmless("<" + sign)


def test_no_special_token_survives_the_tokenizers_of_the_bases(tiny_base: Path, fill_base: Path):
    folders = [tiny_base / "tokenizer", fill_base / "tokenizer", fill_base / "tokenizer_2"]
    for tokenizer in map(AutoTokenizer.from_pretrained, folders):
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        text = " ".join([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), *SIGNS])
        assert special & set(tokenizer(text, add_special_tokens=False).input_ids), "the test would prove nothing"
        said = set(tokenizer(harmless(text), add_special_tokens=False).input_ids)
        assert not special & said - {tokenizer.unk_token_id}


@pytest.mark.parametrize("odd", ["\x00", "\x1b[2J", "\x7f", "\ud800"])
def test_control_characters_are_dropped(odd):
    assert harmless(f"make{odd} it red").startswith("make")
    assert odd[0] not in harmless(f"make{odd} it red")

"""Words that come from outside, made safe for the tokenizers behind: no special token of theirs survives."""

import re

# <|image_pad|>, </s>, <pad>, <tool_call>: all begin with a bracket and have no space after it. The wide and the small
# bracket become the plain one in tokenizers that normalise (NFKC).
_OPENING = re.compile(r"([<＜﹤])(?=\S)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def harmless(text: str) -> str:
    """The text without control characters, and with a space after each `<`: "<|im_end|>" becomes "< |im_end|>"."""
    return _OPENING.sub(r"\1 ", _CONTROL.sub("", text)).strip()

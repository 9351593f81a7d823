"""What a vision-language judge is shown and asked: versioned wording around images, and reading its JSON."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image, Resampling

from viral.sampling.judges import Request

Part = str | Image
"""A stretch of a message: words or an image."""

LONGEST = 10_000
"""Characters at an answer's end among which its JSON is looked for."""


class AnswerError(ValueError):
    """A model answered in another form than it was asked for."""


@dataclass(frozen=True)
class Prompt:
    """Wording with `{names}` where images and the user's words go; whoever changes it gives it another id."""

    id: str
    text: str
    example: str = "Example of the edit, before: {a}, after: {a2}\n"
    """One example pair; repeated in the place of `{examples}`."""
    words: str = "The edit in words: {instruction}\n"
    """What stands in the place of `{words}` when there is an instruction."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\0".join((self.text, self.example, self.words)).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The id and the first digits of the sha256, for traces and reports."""
        return f"{self.id}@{self.sha256[:12]}"

    def fill(self, request: Request, **images: Image) -> list[Part]:
        """The message about a request: its examples, words and query, and further images by their names."""
        examples = [part for a, a2 in request.examples for part in _fill(self.example, {"a": [a], "a2": [a2]})]
        words = _fill(self.words, {"instruction": [request.instruction]}) if request.instruction else []
        values = {"examples": examples, "words": words, "query": [request.query]}
        return _fill(self.text, values | {name: [image] for name, image in images.items()})


def _fill(text: str, values: dict[str, list[Part]]) -> list[Part]:
    parts: list[Part] = []
    for i, piece in enumerate(re.split(r"\{(\w+)\}", text)):
        parts += values[piece] if i % 2 else [piece] if piece else []
    return parts


_PAIRWISE = """Image B was to be edited.
{examples}{words}Image B: {query}
Two candidates for the edited image B:
Candidate 1: {first}
Candidate 2: {second}
The better candidate makes the edit completely, keeps everything else as it is in image B, and has fewer flaws. \
Candidates may be unfinished, so slight blur does not count.
"""
PAIRWISE_TOKEN = Prompt("pairwise-token-1", _PAIRWISE + "Which candidate is better? Answer with its number, 1 or 2.")
PAIRWISE_JSON = Prompt(
    "pairwise-json-1",
    _PAIRWISE + 'Which candidate is better? Answer with JSON alone: {"reason": "one short sentence", "better": 1}, '
    'where better is 1, 2 or "tie".',
)


def shrink(image: Image, max_side: int) -> Image:
    """The image as RGB with sides of at most `max_side` pixels, its aspect kept."""
    image = image.convert("RGB")
    image.thumbnail((max_side, max_side), Resampling.BICUBIC)
    return image


def read_object(text: str, key: str) -> dict[str, Any]:
    """The last JSON object with `key` in an answer, whatever stands around it; `AnswerError` when there is none."""
    text = text[-LONGEST:]
    decoder, found, at = json.JSONDecoder(), None, text.find("{")
    while at >= 0:
        end = at + 1
        try:
            value, after = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            pass
        else:
            if key in value:
                found, end = value, after
        at = text.find("{", end)
    if found is None:
        raise AnswerError(f"expected a JSON object with {key!r} in the answer, got {text[:200]!r}; ask a larger model")
    return found

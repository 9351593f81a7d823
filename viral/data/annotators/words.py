"""The wording that models are asked with: each text under an id that changes when it does, with its hash."""

import hashlib
import re
from dataclasses import dataclass

from PIL import Image

from viral.sampling.judge_prompt import Part


@dataclass(frozen=True)
class Wording:
    """A text with `{names}` in which pictures and words are put."""

    id: str
    text: str

    @property
    def record(self) -> dict[str, str]:
        """Id and hash, kept with every answer."""
        return {"prompt": self.id, "prompt_sha256": hashlib.sha256(self.text.encode()).hexdigest()[:16]}

    def fill(self, **values: str | Image.Image) -> list[Part]:
        """The message, pictures in their places."""
        pieces = re.split(r"\{(\w+)\}", self.text)
        return [values[piece] if i % 2 else piece for i, piece in enumerate(pieces) if i % 2 or piece]


ENTITIES = Wording(
    "entities-1",
    "{picture}The picture is {width} pixels wide and {height} high. List its salient objects, at most 12. Answer with "
    'JSON alone: [{"category": "dog", "box": [left, top, right, bottom]}], boxes in pixels, the category one or two '
    "common words in the singular.",
)
INSTRUCTION = Wording(
    "instruction-1",
    "Image 1 is before: {before}Image 2 is after: {after}Write the shortest imperative instruction that turns image 1 "
    "into image 2 and would make sense for other images. Do not describe unchanged content. Answer with the "
    "instruction only.",
)
SCENE = Wording(
    "analogous-scene-1",
    "You write prompts for a text-to-image model. Given an editing instruction and a caption of the image it was "
    "applied to, describe ONE new scene that (1) has a different subject, setting and composition, (2) contains "
    "everything the instruction needs so it can be applied word for word, (3) does not already show the result of the "
    "edit, (4) is one English sentence of 25 to 60 words, photographic detail, no text overlays. Answer with the "
    "sentence only. Caption: {caption} Instruction: {instruction}",
)

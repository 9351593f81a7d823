"""What is said beside the images: three regimes, of which an adapter knows the one it was trained with.

`none` says one constant. `instruction` says a sentence of the request's. Both are encoded without the images, so that
training can draw any two pairs at random and read their text from a cache. `sentence` is how the authors' released
adapter is spoken to: a fixed sentence beside the images, as the vision-language encoder sees them.
"""

from typing import Literal

import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from jaxtyping import Float
from PIL import Image
from torch import Tensor

TextRegime = Literal["none", "instruction", "sentence"]

NONE = " "
"""The words of `none`, and what guidance steers away from: Qwen-Image-Edit's own negative prompt."""


def sentence(pairs: int) -> str:
    """The authors' sentence for one example pair, and what it becomes for more (ours)."""
    if pairs == 1:
        return "Edit image 3 based on the transformation from image 1 to image 2."
    shown = " and ".join(f"from image {2 * k + 1} to image {2 * k + 2}" for k in range(pairs))
    return f"Edit image {2 * pairs + 1} based on the transformations {shown}."


class TextEncoder:
    """Encodes the text of requests in one regime; what is said without images is encoded once."""

    def __init__(self, texts: QwenImageEditPlusPipeline, regime: TextRegime) -> None:
        self.texts, self.regime = texts, regime
        self._known: dict[str, Tensor] = {}

    def __call__(self, instruction: str | None, images: list[Image.Image]) -> Float[Tensor, "1 n d"]:
        """Text of a request with `images` A_1, A_1', ..., B; `ValueError` for an instruction too many or too few."""
        if (instruction is not None) != (self.regime == "instruction"):
            raise ValueError(
                f"got the instruction {instruction!r}, but text regime {self.regime!r} "
                f"{'needs one' if self.regime == 'instruction' else 'takes none'}; it comes with the adapter"
            )
        fixed = sentence(len(images) // 2) if self.regime == "sentence" else NONE
        return self.say(instruction or fixed, images)

    def say(self, words: str, images: list[Image.Image]) -> Float[Tensor, "1 n d"]:
        """These words as the regime encodes them: beside the images under `sentence`, else alone."""
        if self.regime == "sentence":
            return self._encode(words, [self._fit(image) for image in images])
        if words not in self._known:
            self._known[words] = self._encode(words, None)
        return self._known[words]

    @torch.no_grad()
    def _encode(self, words: str, images: list[Image.Image] | None) -> Float[Tensor, "1 n d"]:
        return self.texts.encode_prompt(words, image=images)[0]

    def _fit(self, image: Image.Image) -> Image.Image:
        """The image as the pipeline shows it to the encoder."""
        width, height = edit_plus.calculate_dimensions(edit_plus.CONDITION_IMAGE_SIZE, image.width / image.height)
        return self.texts.image_processor.resize(image.convert("RGB"), height, width)

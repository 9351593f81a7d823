"""The diptych of in-context editing (ICEdit 3.1): source on the left, the edit to be painted on the right."""

from collections.abc import Callable
from string import Formatter
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor


class Caption(NamedTuple):
    """What the source shows, in the words of the in-context prompt."""

    subject: str = "scene"
    description: str = "image"


Captioner = Callable[[Image.Image], tuple[str, str]]
"""Names subject and description of a source image."""


PAPER_PROMPT = (
    "a side-by-side image of the same {subject}: the left depicts the original {description}, "
    "while the right mirrors the left but applies {instruction}."
)
"""The paper's in-context prompt (3.1)."""
RELEASED_PROMPT = (
    "A diptych with two side-by-side images of the same scene. "
    "On the right, the scene is exactly the same as on the left but {instruction}"
)
"""What the released code says instead, and the released adapters were trained with."""
WIDTH = 512
FIELDS = {"subject", "description", "instruction"}


def caption_of(image: Image.Image, given: tuple[str, str] | None, captioner: Captioner | None) -> Caption:
    """The caption that the request gives, else the captioner's, else "scene" and "image"."""
    if given is None and captioner is not None:
        given = captioner(image)
    return Caption(*given) if given else Caption()


def in_context_prompt(instruction: str, caption: Caption, template: str) -> str:
    """The prompt of an edit; `template` may be one's own, such as "{instruction}" alone.

    Raises `ValueError` for an empty instruction and for a template without {instruction} or with unknown fields.
    """
    words = instruction.strip().rstrip(".")
    if not words:
        raise ValueError("the instruction is empty; say what is to be changed, e.g. 'make the sky red'")
    fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    if "instruction" not in fields or fields - FIELDS:
        raise ValueError(
            f"the prompt's template has the fields {sorted(fields)}; it needs 'instruction' and may have "
            "'subject' and 'description'"
        )
    return template.format(instruction=words, subject=caption.subject, description=caption.description)


def panel(image: Image.Image, width: int | None, height: int | None, multiple: int) -> Image.Image:
    """The source at the size of one half of the diptych, each side rounded to the nearest `multiple`.

    Of `width` and `height` in pixels the one left out follows the image's aspect; with neither, the width is 512, as
    in the released code. Raises `ValueError` for sides that are not positive.
    """
    if not all(side is None or side > 0 for side in (width, height)):
        raise ValueError(f"the panel is {width} x {height} pixels; give positive sides or leave them out")
    aspect = image.width / image.height
    wide = width or (height * aspect if height else WIDTH)
    high = height or wide / aspect
    size = tuple(max(multiple, round(side / multiple) * multiple) for side in (wide, high))
    rgb = image.convert("RGB")
    return rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BICUBIC)


def diptych(source: Float[Tensor, "b 3 y x"]) -> tuple[Float[Tensor, "b 3 y x2"], Float[Tensor, "1 1 y x2"]]:
    """The canvas of width 2x, grey on the right, and its fixed mask, 1 on the right: I_IC and M of ICEdit's eq. 1."""
    empty = torch.zeros_like(source)
    mask = torch.cat([empty[:1, :1], torch.ones_like(empty[:1, :1])], dim=-1)
    return torch.cat([source, empty], dim=-1), mask


def right_half(canvas: Float[Tensor, "b c h w2"]) -> Float[Tensor, "b c h w"]:
    """The edited half of a diptych of pixels or latents."""
    return rearrange(canvas, "b c h (side w) -> side b c h w", side=2)[1]


def left_half(canvas: Float[Tensor, "b c h w2"]) -> Float[Tensor, "b c h w"]:
    """The source's half of a diptych of pixels or latents."""
    return rearrange(canvas, "b c h (side w) -> side b c h w", side=2)[0]

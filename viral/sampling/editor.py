"""The editor: show it one pair and an image, it paints the fourth. Evaluation, batch jobs and serving share it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from viral.model.adapter import AdapterCard, adapter_sha256, load_adapter
from viral.model.backbone import Backbone, base_hash, load_backbone
from viral.model.roles import ANALOGY
from viral.sampling.denoise import denoise

TEXT_NONE = " "
"""The words of the text regime `none`: one constant, so that its embedding is computed once."""


@dataclass(frozen=True)
class Edit:
    """A painted image and how it came about."""

    image: Image.Image
    trace: dict[str, Any]


def to_tensor(image: Image.Image) -> Float[Tensor, "1 3 y x"]:
    """RGB in -1..1."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return rearrange(pixels, "y x c -> 1 c y x") / 127.5 - 1


def to_images(x: Float[Tensor, "b 3 y x"]) -> list[Image.Image]:
    """Eight-bit images of RGB in -1..1."""
    pixels = rearrange((x.float().clamp(-1, 1) + 1) * 127.5, "b c y x -> b y x c").round().byte().cpu().numpy()
    return [Image.fromarray(p) for p in pixels]


def fit(image: Image.Image, size: int, multiple: int) -> Image.Image:
    """The image at an area of about size x size pixels, its aspect kept, sides multiples of `multiple`."""
    scale = size / (image.width * image.height) ** 0.5
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in image.size)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


class Editor:
    """A base with an adapter, ready to edit: `Editor.load(base, adapter)([(a, a2)], b).image`."""

    def __init__(self, backbone: Backbone, card: AdapterCard | None, sha256: str | None) -> None:
        self.backbone, self.card, self.sha256 = backbone, card, sha256
        self.text = backbone.encode_text([TEXT_NONE])

    @classmethod
    def load(
        cls, base: str, adapter: Path | None = None, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "Editor":
        """Load a base folder or hub id and an adapter folder; `ValueError` where they do not belong together."""
        backbone = load_backbone(base, device=device, dtype=dtype)
        if adapter is None:
            return cls(backbone, None, None)
        assert backbone.transformer is not None
        card = load_adapter(backbone.transformer, Path(adapter))
        found = base_hash(base)
        if card.base_sha256 != found:
            raise ValueError(
                f"adapter {adapter} was trained on base {card.base} ({card.base_sha256[:12]}), "
                f"not on {base} ({found[:12]}); "
                "load it with its own base or train it anew"
            )
        return cls(backbone, card, adapter_sha256(Path(adapter)))

    def __call__(
        self,
        examples: list[tuple[Image.Image, Image.Image]],
        query: Image.Image,
        *,
        steps: int = 12,
        seed: int = 0,
        size: int | None = None,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Edit:
        """Paint what `query` becomes by the change that the example pair shows.

        `size` is the side of the square whose area the images are brought to (default: what the adapter was trained
        on). The output has the query's aspect. The same arguments give the same pixels.
        """
        if len(examples) != 1:
            raise ValueError(f"got {len(examples)} example pairs; this adapter takes exactly one, (A, A')")
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1")
        size = size or (self.card.size if self.card else 64)
        images = [fit(image, size, 2 * self.backbone.scale) for image in (*examples[0], query)]
        context = [self.backbone.encode_images(to_tensor(image).to(self.text.device)) for image in images]
        assert self.backbone.transformer is not None
        latents = denoise(
            self.backbone.transformer,
            self.backbone.scheduler,
            context,
            ANALOGY,
            self.text,
            [seed],
            steps,
            on_step=on_step,
        )
        image = to_images(self.backbone.decode_latents(latents))[0]
        trace = {
            "seed": seed, "steps": steps, "size": list(image.size), "evaluations": steps, "adapter_sha256": self.sha256,
            "base": str(self.card.base if self.card else self.backbone.folder.name),
        }  # fmt: skip
        return Edit(image, trace)

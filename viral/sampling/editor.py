"""The editor: show it one pair and an image, it paints the fourth. Evaluation, batch jobs and serving share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from viral.config import ModelConfig
from viral.model.adapter import adapter_sha256, load_adapter
from viral.model.adapter_files import AdapterCard
from viral.model.backbone import Backbone, base_hash, load_backbone
from viral.model.roles import roles_of
from viral.model.text import NONE, TextEncoder
from viral.model.velocity import EditVelocity
from viral.sampling.denoise import denoise, start_noise

Pair = tuple[Image.Image, Image.Image]
"""An example (A, A') of the change that is wanted."""


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

    def __init__(
        self, backbone: Backbone, card: AdapterCard | None, sha256: str | None, device: str | torch.device = "cpu"
    ) -> None:
        if backbone.transformer is None or backbone.vae is None or backbone.texts is None:
            raise ValueError("an editor needs a transformer, a VAE and a text encoder; load all parts of the base")
        self.backbone, self.card, self.sha256, self.device = backbone, card, sha256, torch.device(device)
        self.transformer = backbone.transformer
        self.text = TextEncoder(backbone.texts, card.text if card else "instruction")

    @classmethod
    def load(
        cls,
        base: str,
        adapter: Path | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        config: ModelConfig = ModelConfig(),
    ) -> "Editor":
        """Load a base folder or hub id and an adapter folder; `ValueError` where they do not belong together.

        Without an adapter the base edits as told by an instruction. `dtype` overrides the configured one.
        """
        backbone = load_backbone(base, device=device, dtype=dtype, config=config)
        card = None
        if adapter is not None:
            assert backbone.transformer is not None
            card = load_adapter(backbone.transformer, Path(adapter), base_hash(base, config))
        backbone.offload(config, device)
        return cls(backbone, card, None if adapter is None else adapter_sha256(Path(adapter)), device)

    def __call__(
        self,
        examples: Sequence[Pair],
        query: Image.Image,
        instruction: str | None = None,
        *,
        steps: int = 12,
        seed: int = 0,
        size: int | None = None,
        guidance: float = 1.0,
        negative: str = NONE,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Edit:
        """Paint what `query` becomes by the change that the example pairs show.

        `size` is the side of the square whose area the images are brought to (default: what the adapter was trained
        on). The output has the query's aspect. `guidance` above 1 steers away from the words `negative`. `on_step` is
        called after each step and may raise to cancel. The same arguments give the same pixels.
        """
        problem = self.problem(examples, query, instruction, size=size, guidance=guidance, negative=negative)
        return self.paint(problem, [seed], steps, on_step)[0]

    def problem(
        self,
        examples: Sequence[Pair],
        query: Image.Image,
        instruction: str | None = None,
        *,
        size: int | None = None,
        guidance: float = 1.0,
        negative: str = NONE,
    ) -> EditVelocity:
        """What is to be denoised for a request, with the adapter's roles, text regime and context mode."""
        size = size or (self.card.size if self.card else None)
        if size is None:
            raise ValueError("got neither a size nor an adapter that was trained on one; give the size in pixels")
        images = [image for pair in examples for image in pair] + [query]
        text = self.text(instruction, images)
        return EditVelocity(
            self.transformer,
            [self._encode(image, size) for image in images],
            self._roles(len(examples)),
            text,
            mode=self.card.context if self.card else "full",
            guidance=guidance,
            negative=self.text.say(negative, images) if guidance > 1 else None,
        )

    def paint(
        self,
        problem: EditVelocity,
        seeds: list[int],
        steps: int,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> list[Edit]:
        """Paint a problem from one noise per seed, in one batch that shares the context."""
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1")
        noise = start_noise(seeds, problem.shape).to(self.device)
        images = self.decode(denoise(problem, self.backbone.scheduler, noise, steps, on_step=on_step))
        return [
            Edit(image, self._trace(problem, seed, steps, image)) for seed, image in zip(seeds, images, strict=True)
        ]

    def decode(self, latents: Float[Tensor, "b z h w"]) -> list[Image.Image]:
        """Images of latents."""
        return to_images(self.backbone.decode_latents(latents))

    def _encode(self, image: Image.Image, size: int) -> Float[Tensor, "1 z h w"]:
        pixels = to_tensor(fit(image, size, 2 * self.backbone.scale))
        return self.backbone.encode_images(pixels.to(self.device))

    def _roles(self, pairs: int) -> tuple[int, ...] | None:
        """The adapter's roles; without one images are numbered in order."""
        return roles_of(pairs, self.card.role_numbering, self.card.roles) if self.card else None

    def _trace(self, problem: EditVelocity, seed: int, steps: int, image: Image.Image) -> dict[str, Any]:
        return {
            "seed": seed, "steps": steps, "size": list(image.size), "evaluations": steps * len(problem.texts),
            "guidance": problem.guidance, "context": problem.mode, "text": self.text.regime, "roles": problem.roles,
            "adapter_sha256": self.sha256, "base": str(self.card.base if self.card else self.backbone.folder.name),
        }  # fmt: skip

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
from viral.model.adapter_files import AdapterCard
from viral.model.attach import Attached, attach
from viral.model.backbone import Backbone, load_backbone
from viral.model.out_of_memory import naming_painting_remedies
from viral.model.roles import roles_of
from viral.model.text import NONE, TextEncoder
from viral.model.tokens import Context
from viral.model.velocity import EditVelocity, ExampleGuided, Problem
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.early_filter import early_filter
from viral.sampling.judges import Judge, Request

Pair = tuple[Image.Image, Image.Image]
"""An example (A, A') of the change that is wanted."""
RELEASED = {"text": "sentence", "size": 1024}
"""What VIRAL's released file does not say: it is spoken to in a sentence, on a base made for this area."""


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
        self,
        backbone: Backbone,
        card: AdapterCard | None,
        sha256: str | None,
        device: str | torch.device = "cpu",
        *,
        strength: float = 1.0,
        also: tuple[str, ...] = (),
    ) -> None:
        if backbone.transformer is None or backbone.vae is None or backbone.texts is None:
            raise ValueError("an editor needs a transformer, a VAE and a text encoder; load all parts of the base")
        self.backbone, self.card, self.sha256, self.device = backbone, card, sha256, torch.device(device)
        self.attached = Attached(card, sha256, strength, also)
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
        *,
        strength: float = 1.0,
        also: Sequence[Path] = (),
    ) -> "Editor":
        """Load a base folder or hub id and an adapter; `ValueError` where they do not belong together.

        The adapter is a folder of ours or the authors' released file, and counts `strength` times; plain LoRA files
        in `also` ride along. Without it the base edits as told by an instruction. `dtype` overrides the configured one.
        """
        backbone = load_backbone(base, device=device, dtype=dtype, config=config)
        assert backbone.transformer is not None
        own = attach(backbone.transformer, base, config, adapter, strength, also, **RELEASED)
        backbone.offload(config, device)
        return cls(backbone, own.card, own.sha256, device, strength=own.strength, also=own.also)

    @naming_painting_remedies
    def __call__(
        self,
        examples: Sequence[Pair],
        query: Image.Image,
        instruction: str | None = None,
        *,
        steps: int = 12,
        seed: int = 0,
        on_step: Callable[[int, Tensor], None] | None = None,
        **asked: Any,
    ) -> Edit:
        """Paint what `query` becomes by the change that the example pairs show.

        `asked` holds what `problem` takes besides: size, guidance, negative, example_guidance. `on_step` is called
        after each step and may raise to cancel. The same arguments give the same pixels.
        """
        problem = self.problem(examples, query, instruction, **asked)
        return self.paint(problem, [seed], steps, on_step)[0]

    @naming_painting_remedies
    def filtered(
        self,
        examples: Sequence[Pair],
        query: Image.Image,
        instruction: str | None = None,
        *,
        judge: Judge,
        seeds: list[int],
        preview_steps: int,
        steps: int = 12,
        size: int | None = None,
        guidance: float = 1.0,
        negative: str = NONE,
        example_guidance: float = 1.0,
        **how: Any,
    ) -> Edit:
        """The edit of the seed whose preview a judge prefers; `how` and the trace are those of `early_filter`."""
        problem = self.problem(
            examples, query, instruction,
            size=size, guidance=guidance, negative=negative, example_guidance=example_guidance,
        )  # fmt: skip
        found = early_filter(
            problem, self.backbone.scheduler, self.decode, Request(tuple(examples), query, instruction), judge,
            seeds=seeds, preview_steps=preview_steps, steps=steps, device=self.device, **how,
        )  # fmt: skip
        image = self.decode(found.latents)[0]
        return Edit(image, self._trace(problem, image, found.trace))

    def problem(
        self,
        examples: Sequence[Pair],
        query: Image.Image,
        instruction: str | None = None,
        *,
        size: int | None = None,
        guidance: float = 1.0,
        negative: str = NONE,
        example_guidance: float = 1.0,
    ) -> Problem:
        """What is to be denoised for a request, with the adapter's roles, text regime and context mode.

        `size` is the side of the square whose area the images are brought to (default: what the adapter was trained
        on). The output has the query's aspect. `guidance` above 1 steers away from the words `negative`, and
        `example_guidance` away from the change undone (`ExampleGuided`); each doubles the cost.
        """

        def shown(pairs: Sequence[Pair]) -> EditVelocity:
            images = [image for pair in pairs for image in pair] + [query]
            return self.velocity(
                [self.encode(image, size) for image in images],
                self.text(instruction, images),
                guidance=guidance,
                negative=self.text.say(negative, images) if guidance > 1 else None,
            )

        if example_guidance == 1:
            return shown(examples)
        if not examples:
            raise ValueError(f"example_guidance is {example_guidance} without an example; show one, or leave it at 1")
        return ExampleGuided(shown(examples), shown([(after, before) for before, after in examples]), example_guidance)

    def velocity(self, context: list[Context], text: Float[Tensor, "1 n d"], **options: Any) -> EditVelocity:
        """`EditVelocity` of encoded images A_1, A_1', ..., B with the adapter's roles and context mode.

        Without an adapter images are numbered in order, as stock does.
        """
        card, pairs = self.card, len(context) // 2
        roles = roles_of(pairs, card.role_numbering, card.roles) if card else None
        return EditVelocity(self.transformer, context, roles, text, mode=card.context if card else "full", **options)

    def paint(
        self,
        problem: Problem,
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
            Edit(image, self._trace(problem, image, {"seed": seed, "steps": steps, "evaluations": steps}))
            for seed, image in zip(seeds, images, strict=True)
        ]

    def decode(self, latents: Float[Tensor, "b z h w"]) -> list[Image.Image]:
        """Images of latents."""
        return to_images(self.backbone.decode_latents(latents))

    def encode(self, image: Image.Image, size: int | None = None) -> Float[Tensor, "1 z h w"]:
        """Latents of an image at the area of a square of side `size` (default: what the adapter was trained on)."""
        size = size or (self.card.size if self.card else None)
        if size is None:
            raise ValueError("got neither a size nor an adapter that was trained on one; give the size in pixels")
        pixels = to_tensor(fit(image, size, 2 * self.backbone.scale))
        return self.backbone.encode_images(pixels.to(self.device))

    def _trace(self, problem: Problem, image: Image.Image, sampling: dict[str, Any]) -> dict[str, Any]:
        return {
            **sampling, **self.attached.trace, "base": str(self.card.base if self.card else self.backbone.folder.name),
            "evaluations": sampling["evaluations"] * problem.evaluations, "size": list(image.size),
            "text": self.text.regime, **problem.trace,
        }  # fmt: skip

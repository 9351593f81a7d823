"""The instruction editor: ICEdit on FLUX.1 Fill, with an adapter or with the prompt alone.

FLUX.1 Fill [dev] is under the FLUX.1 [dev] Non-Commercial License: neither it nor what is derived from it may be used
commercially.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from viral.config import ModelConfig
from viral.model.adapter_files import AdapterCard
from viral.model.attach import Attached, attach
from viral.model.flux import FluxBackbone, load_flux
from viral.model.flux_fill import FillVelocity
from viral.model.out_of_memory import naming_painting_remedies
from viral.model.tokens import Latents
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.diptych import (
    PAPER_PROMPT,
    RELEASED_PROMPT,
    WIDTH,
    Captioner,
    caption_of,
    diptych,
    in_context_prompt,
    panel,
    right_half,
)
from viral.sampling.early_filter import early_filter
from viral.sampling.editor import Edit, to_images, to_tensor
from viral.sampling.judges import Judge, Request

RELEASED = {"text": "instruction", "prompt": RELEASED_PROMPT, "size": WIDTH}
"""What ICEdit's released files do not say."""


class InstructEditor:
    """FLUX.1 Fill that edits one image as told: `InstructEditor.load(base, adapter)(image, "make it red").image`.

    Without an adapter it is the paper's training-free framework. The captioner names subject and description of an
    image whose request does not; without either they are "scene" and "image".
    """

    def __init__(
        self,
        backbone: FluxBackbone,
        card: AdapterCard | None = None,
        sha256: str | None = None,
        captioner: Captioner | None = None,
        *,
        strength: float = 1.0,
        also: tuple[str, ...] = (),
    ) -> None:
        if backbone.transformer is None:
            raise ValueError("the transformer is not loaded; ask load_flux for all parts")
        self.backbone, self.card, self.sha256, self.captioner = backbone, card, sha256, captioner
        self.attached = Attached(card, sha256, strength, also)
        self.transformer = backbone.transformer

    @classmethod
    def load(
        cls,
        base: str,
        adapter: Path | None = None,
        *,
        captioner: Captioner | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        config: ModelConfig = ModelConfig(),
        strength: float = 1.0,
        also: Sequence[Path] = (),
    ) -> "InstructEditor":
        """Load a base folder or hub id, held as `config` says, and an adapter.

        The adapter is a folder of ours or one of the authors' released files, and counts `strength` times; plain LoRA
        files in `also` ride along. `ValueError` where base and adapter do not belong together, and where `config` does
        not accept the base's licence.
        """
        backbone = load_flux(base, device=device, dtype=dtype, config=config)
        assert backbone.transformer is not None
        own = attach(backbone.transformer, base, config, adapter, strength, also, **RELEASED)
        backbone.offload(config, device)
        return cls(backbone, own.card, own.sha256, captioner, strength=own.strength, also=own.also)

    @naming_painting_remedies
    def __call__(
        self,
        image: Image.Image,
        instruction: str,
        *,
        steps: int = 28,
        seed: int = 0,
        guidance: float = 30.0,
        width: int | None = None,
        height: int | None = None,
        caption: tuple[str, str] | None = None,
        template: str | None = None,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Edit:
        """The image, at its own size, as the instruction changes it: I_t = D(I_IC, M, T_IC), ICEdit's eq. 1.

        `width` and `height` are those of one panel in pixels (see `panel`). `template` is by default what the adapter
        was trained with, else the paper's. Other defaults: 28 steps are the released code's, guidance 30 is FLUX.1
        Fill's own; the released adapters want 50. The same arguments give the same pixels.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1")
        prompt = self.prompt(image, instruction, caption, template)
        problem = self._problem(self.panel(image, width, height), prompt, guidance)
        noise = start_noise([seed], problem.shape).to(self.transformer.device)
        latents = denoise(problem, self.backbone.scheduler, noise, steps, on_step=on_step)
        sampling = {"seed": seed, "steps": steps, "evaluations": steps, "guidance": guidance, "prompt": prompt}
        return self._edit(image, latents, sampling)

    @naming_painting_remedies
    def filtered(
        self,
        image: Image.Image,
        instruction: str,
        *,
        judge: Judge,
        seeds: list[int],
        preview_steps: int,
        steps: int = 28,
        guidance: float = 30.0,
        width: int | None = None,
        height: int | None = None,
        caption: tuple[str, str] | None = None,
        template: str | None = None,
        **how: Any,
    ) -> Edit:
        """The edit of the seed whose preview a judge prefers; `how` and the trace are those of `early_filter`."""
        prompt = self.prompt(image, instruction, caption, template)
        found = early_filter(
            self._problem(self.panel(image, width, height), prompt, guidance), self.backbone.scheduler, self.decode,
            Request((), image, instruction), judge, seeds=seeds, preview_steps=preview_steps, steps=steps,
            device=self.transformer.device, **how,
        )  # fmt: skip
        return self._edit(image, found.latents, {**found.trace, "guidance": guidance, "prompt": prompt})

    def turns(self, image: Image.Image, instructions: list[str], **arguments: Any) -> list[Edit]:
        """One edit per instruction, each made on the output of the one before; arguments are those of a single edit.

        The image is brought to the panel's size once, so that no later turn resamples it; the results have that size.
        A `caption` holds for every turn.
        """
        if not instructions:
            raise ValueError("no instructions; give one per turn")
        sides = {name: arguments.pop(name, None) for name in ("width", "height")}
        source = self.panel(image, **sides)
        edits: list[Edit] = []
        for turn, instruction in enumerate(instructions):
            edit = self(source, instruction, width=source.width, height=source.height, **arguments)
            edits.append(Edit(edit.image, {"turn": turn, "instruction": instruction, **edit.trace}))
            source = edit.image
        return edits

    def problem(
        self,
        image: Image.Image,
        instruction: str,
        *,
        guidance: float = 30.0,
        width: int | None = None,
        height: int | None = None,
        caption: tuple[str, str] | None = None,
        template: str | None = None,
    ) -> FillVelocity:
        """The denoising problem of an edit, for samplers of one's own such as the early filter."""
        prompt = self.prompt(image, instruction, caption, template)
        return self._problem(self.panel(image, width, height), prompt, guidance)

    def decode(self, latents: Latents) -> list[Image.Image]:
        """The edited panels of diptychs, cut from their right halves."""
        return to_images(right_half(self.backbone.decode_latents(latents)))

    def prompt(
        self, image: Image.Image, instruction: str, caption: tuple[str, str] | None = None, template: str | None = None
    ) -> str:
        """The in-context prompt T_IC."""
        template = template or (self.card.prompt if self.card else None) or PAPER_PROMPT
        return in_context_prompt(instruction, caption_of(image, caption, self.captioner), template)

    def panel(self, image: Image.Image, width: int | None = None, height: int | None = None) -> Image.Image:
        """The source as the left panel; its width is what the adapter was trained at where the request names none."""
        if width is None and height is None and self.card is not None:
            width = self.card.size
        return panel(image, width, height, 2 * self.backbone.scale)

    def _edit(self, image: Image.Image, latents: Latents, sampling: dict[str, Any]) -> Edit:
        painted = self.decode(latents)[0]
        trace = {
            **sampling, **self.attached.trace, "panel": list(painted.size), "size": list(image.size),
            "base": str(self.card.base if self.card else self.backbone.folder.name),
        }  # fmt: skip
        return Edit(painted.resize(image.size, Image.Resampling.BICUBIC), trace)

    def _problem(self, source: Image.Image, prompt: str, guidance: float) -> FillVelocity:
        canvas, mask = diptych(to_tensor(source))
        masked, text = self.backbone.encode_images(canvas), self.backbone.encode_text([prompt])
        return FillVelocity(self.transformer, masked, mask, text, guidance)

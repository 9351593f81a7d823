"""The instruction editor: ICEdit on FLUX.1 Fill, with an adapter or with the prompt alone.

FLUX.1 Fill [dev] is under the FLUX.1 [dev] Non-Commercial License: neither it nor what is derived from it may be used
commercially.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from viral.config import ModelConfig
from viral.model.adapter import adapter_sha256, load_adapter
from viral.model.adapter_files import AdapterCard
from viral.model.backbone import base_hash
from viral.model.flux import FluxBackbone, load_flux
from viral.model.flux_fill import FillVelocity
from viral.model.tokens import Latents
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.diptych import (
    PAPER_PROMPT,
    Captioner,
    caption_of,
    diptych,
    in_context_prompt,
    panel,
    right_half,
)
from viral.sampling.editor import Edit, to_images, to_tensor


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
    ) -> None:
        if backbone.transformer is None:
            raise ValueError("the transformer is not loaded; ask load_flux for all parts")
        self.backbone, self.card, self.sha256, self.captioner = backbone, card, sha256, captioner
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
    ) -> "InstructEditor":
        """Load a base folder or hub id, held as `config` says, and an adapter folder.

        `ValueError` where the two do not belong together, and where `config` does not accept the base's licence.
        """
        backbone = load_flux(base, device=device, dtype=dtype, config=config)
        card = sha256 = None
        if adapter is not None:
            assert backbone.transformer is not None
            card = load_adapter(backbone.transformer, Path(adapter), base_hash(base, config))
            sha256 = adapter_sha256(Path(adapter))
        backbone.offload(config, device)
        return cls(backbone, card, sha256, captioner)

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
        template: str = PAPER_PROMPT,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Edit:
        """The image, at its own size, as the instruction changes it: I_t = D(I_IC, M, T_IC), ICEdit's eq. 1.

        `width` and `height` are those of one panel in pixels (see `panel`). Defaults: 28 steps are the released
        code's, guidance 30 is FLUX.1 Fill's own; the released adapters want 50 and `RELEASED_PROMPT`. The same
        arguments give the same pixels.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1")
        prompt = self.prompt(image, instruction, caption, template)
        problem = self._problem(self.panel(image, width, height), prompt, guidance)
        noise = start_noise([seed], problem.shape).to(self.transformer.device)
        painted = self.decode(denoise(problem, self.backbone.scheduler, noise, steps, on_step=on_step))[0]
        trace: dict[str, Any] = {
            "seed": seed, "steps": steps, "guidance": guidance, "prompt": prompt, "panel": list(painted.size),
            "size": list(image.size), "evaluations": steps, "adapter_sha256": self.sha256,
            "base": str(self.card.base if self.card else self.backbone.folder.name),
        }  # fmt: skip
        return Edit(painted.resize(image.size, Image.Resampling.BICUBIC), trace)

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
        template: str = PAPER_PROMPT,
    ) -> FillVelocity:
        """The denoising problem of an edit, for samplers of one's own such as the early filter."""
        prompt = self.prompt(image, instruction, caption, template)
        return self._problem(self.panel(image, width, height), prompt, guidance)

    def decode(self, latents: Latents) -> list[Image.Image]:
        """The edited panels of diptychs, cut from their right halves."""
        return to_images(right_half(self.backbone.decode_latents(latents)))

    def prompt(self, image: Image.Image, instruction: str, caption: tuple[str, str] | None, template: str) -> str:
        """The in-context prompt T_IC."""
        return in_context_prompt(instruction, caption_of(image, caption, self.captioner), template)

    def panel(self, image: Image.Image, width: int | None = None, height: int | None = None) -> Image.Image:
        """The source as the left panel; its width is what the adapter was trained at where the request names none."""
        if width is None and height is None and self.card is not None:
            width = self.card.size
        return panel(image, width, height, 2 * self.backbone.scale)

    def _problem(self, source: Image.Image, prompt: str, guidance: float) -> FillVelocity:
        canvas, mask = diptych(to_tensor(source))
        masked, text = self.backbone.encode_images(canvas), self.backbone.encode_text([prompt])
        return FillVelocity(self.transformer, masked, mask, text, guidance)

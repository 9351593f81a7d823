"""ICEdit's training-free framework on a text-to-image DiT (3.1): invert the source and keep what attention gave its
tokens; inject that into the left half of a diptych, while the right half is painted from noise.

By "attention values" we take what a layer's attention returns for a token. Injecting V alone, which the words could
also mean, does not hold the left half: its queries still drift. FLUX.1 [dev] is under the FLUX.1 [dev] Non-Commercial
License.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from viral.config import ModelConfig
from viral.model.flux import AttentionProcessor, FluxBackbone, FluxText, attention_wrapped, load_flux
from viral.model.flux_text_to_image import TextVelocity
from viral.model.tokens import Latents
from viral.sampling.denoise import denoise, schedule, start_noise
from viral.sampling.diptych import (
    PAPER_PROMPT,
    Captioner,
    caption_of,
    in_context_prompt,
    left_half,
    panel,
    right_half,
)
from viral.sampling.editor import Edit, to_images, to_tensor

Attended = dict[str, Float[Tensor, "b t d"]]
"""By name of the layer, what its attention gave to an image's tokens."""


@dataclass(frozen=True)
class Inversion:
    """The noise that a source comes from, and what was kept on the way, step by step from t = 1."""

    noise: Float[Tensor, "b z h w"]
    sigmas: Float[Tensor, " n"]
    attended: tuple[Attended, ...]
    """On the CPU: FLUX.1's 57 layers in 28 steps of 512 x 512 pixels make 10 GB in bf16."""


@torch.no_grad()
def invert(
    velocity: TextVelocity, scheduler: FlowMatchEulerDiscreteScheduler, source: Latents, steps: int, passes: int = 3
) -> Inversion:
    """Run the flow backwards, from a clean source at t = 0 to its noise at t = 1, on the schedule of its diptych.

    Each Euler step is undone by fixed point: x_i = x_(i+1) + (s_i - s_(i+1)) v(x_i, s_i), evaluated `passes` times, so
    that what is kept belongs to the very point at which the diptych will use it. Costs steps x passes evaluations.
    """
    if tuple(source.shape[1:]) != velocity.shape:
        raise ValueError(
            f"the source has latents of {tuple(source.shape[1:])}, expected {velocity.shape}; "
            "make the velocity for the source's size"
        )
    if passes < 1:
        raise ValueError(f"passes is {passes}; it must be at least 1")
    tokens = (velocity.shape[1] // 2) * (velocity.shape[2] // 2)
    sigmas = schedule(scheduler, steps, 2 * tokens).sigmas.to(source.device)
    attended: list[Attended] = [{} for _ in range(steps)]
    latents = source.float()
    for i in reversed(range(steps)):
        clean, t = latents, sigmas[i].expand(len(latents))
        for _ in range(passes):
            with attention_wrapped(velocity.transformer, lambda name, own, i=i: _Keep(own, name, tokens, attended[i])):
                latents = clean + (sigmas[i] - sigmas[i + 1]) * velocity(latents, t)
    return Inversion(latents, sigmas[:-1], tuple(attended))


class InjectedVelocity:
    """A diptych's velocity, its left half attended as the source was when inverted (implements `Velocity`).

    With the inversion's pooled words and guidance the left half repeats the source exactly, to the precision of the
    inversion; the right half and the words look at it. Raises `ValueError` where the diptych is not twice as wide as
    the source, or has other layers.
    """

    def __init__(self, velocity: TextVelocity, inversion: Inversion) -> None:
        channels, height, width = inversion.noise.shape[1:]
        if velocity.shape != (channels, height, 2 * width):
            raise ValueError(
                f"the diptych has latents of {velocity.shape}, the inverted source {(channels, height, width)}; "
                "the diptych must be twice as wide"
            )
        if inversion.attended[0].keys() != velocity.transformer.attn_processors.keys():
            raise ValueError("the source was inverted with a transformer of other layers; invert with this one")
        self.velocity, self.inversion, self.shape = velocity, inversion, velocity.shape

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        step = int((self.inversion.sigmas.to(t) - t[0]).abs().argmin())
        attended, grid = self.inversion.attended[step], (self.shape[1] // 2, self.shape[2] // 2)
        with attention_wrapped(self.velocity.transformer, lambda name, own: _Inject(own, grid, attended[name])):
            return self.velocity(latents, t)


class InversionEditor:
    """FLUX.1-dev that edits without training: `InversionEditor.load(base)(image, "make it red").image`."""

    def __init__(self, backbone: FluxBackbone, captioner: Captioner | None = None) -> None:
        if backbone.transformer is None:
            raise ValueError("the transformer is not loaded; ask load_flux for all parts")
        self.backbone, self.captioner, self.transformer = backbone, captioner, backbone.transformer

    @classmethod
    def load(
        cls,
        base: str,
        *,
        captioner: Captioner | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        config: ModelConfig = ModelConfig(),
    ) -> "InversionEditor":
        """Load a text-to-image base, a folder or hub id; `ValueError` where `config` does not accept its licence."""
        backbone = load_flux(base, device=device, dtype=dtype, config=config)
        backbone.offload(config, device)
        return cls(backbone, captioner)

    def __call__(
        self,
        image: Image.Image,
        instruction: str,
        *,
        steps: int = 28,
        seed: int = 0,
        guidance: float = 3.5,
        passes: int = 3,
        width: int | None = None,
        height: int | None = None,
        caption: tuple[str, str] | None = None,
        template: str = PAPER_PROMPT,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Edit:
        """The image, at its own size, as the instruction changes it; arguments are those of `InstructEditor`.

        The trace's `left_error` is the distance (root mean square) of the left half's latents from the source's, of
        which the deviation is about 1. `guidance` is FLUX.1-dev's own default.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1")
        words = caption_of(image, caption, self.captioner)
        prompt = in_context_prompt(instruction, words, template)
        source = panel(image, width, height, 2 * self.backbone.scale)
        latents = self.backbone.encode_images(to_tensor(source))
        inversion, problem = self._invert(latents, words.description, prompt, steps, passes, guidance)
        noise = torch.cat([inversion.noise, start_noise([seed], tuple(latents.shape[1:])).to(inversion.noise)], dim=-1)
        painted = denoise(InjectedVelocity(problem, inversion), self.backbone.scheduler, noise, steps, on_step=on_step)
        result = to_images(right_half(self.backbone.decode_latents(painted)))[0]
        trace = {
            "seed": seed, "steps": steps, "guidance": guidance, "prompt": prompt, "panel": list(result.size),
            "size": list(image.size), "evaluations": steps * (passes + 1), "base": self.backbone.folder.name,
            "left_error": float((left_half(painted) - latents).square().mean().sqrt()),
        }  # fmt: skip
        return Edit(result.resize(image.size, Image.Resampling.BICUBIC), trace)

    def _invert(
        self, source: Latents, description: str, prompt: str, steps: int, passes: int, guidance: float
    ) -> tuple[Inversion, TextVelocity]:
        """The source inverted under its description, but with the pooled words and the guidance of its diptych."""
        text, shape = self.backbone.encode_text([prompt]), tuple(source.shape[1:])
        described = FluxText(self.backbone.encode_text([description]).tokens, text.pooled)
        alone = TextVelocity(self.transformer, shape, described, guidance)
        both = TextVelocity(self.transformer, (shape[0], shape[1], 2 * shape[2]), text, guidance)
        return invert(alone, self.backbone.scheduler, source, steps, passes), both


class _Keep:
    """Runs a layer and keeps what its attention gave to the image, the last `tokens`."""

    def __init__(self, own: AttentionProcessor, name: str, tokens: int, attended: Attended) -> None:
        self.own, self.name, self.tokens, self.attended = own, name, tokens, attended

    def __call__(self, *inputs: Any) -> Any:
        output = self.own(*inputs)
        image = output[0] if isinstance(output, tuple) else output
        self.attended[self.name] = image[:, -self.tokens :].cpu()
        return output


class _Inject:
    """Runs a layer and writes what was kept over what its attention gave to the left half of the image."""

    def __init__(self, own: AttentionProcessor, grid: tuple[int, int], kept: Float[Tensor, "b t d"]) -> None:
        self.own, self.grid, self.kept = own, grid, kept

    def __call__(self, *inputs: Any) -> Any:
        output = self.own(*inputs)
        image, *text = output if isinstance(output, tuple) else (output,)
        rows, columns = self.grid
        grid = rearrange(image[:, -rows * columns :], "b (y x) d -> b y x d", y=rows).clone()
        grid[:, :, : columns // 2] = rearrange(self.kept.to(grid), "b (y x) d -> b y x d", y=rows)
        image = torch.cat([image[:, : -rows * columns], rearrange(grid, "b y x d -> b (y x) d")], dim=1)
        return (image, *text) if text else image

"""FLUX.1 Fill: the picture around a mask and the mask itself, beside the noise in every token's channels.

FLUX.1 Fill [dev] is under the FLUX.1 [dev] Non-Commercial License.
"""

from math import isqrt

from diffusers import FluxTransformer2DModel
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, cat

from viral.model.flux import FluxText, predict_flux_velocity
from viral.model.tokens import Latents, pack

Mask = Float[Tensor, "b 1 y x"]
"""In pixels: 1 is painted anew, 0 is kept."""


def fold_mask(mask: Mask, scale: int) -> Float[Tensor, "b m h w"]:
    """The mask at the latents' grid without loss: the scale x scale pixels of a cell become its channels."""
    return rearrange(mask, "b 1 (h p) (w q) -> b (p q) h w", p=scale, q=scale)


class FillVelocity:
    """Fill's velocity for one masked picture (implements `Velocity`).

    `masked` are the latents of the picture with zeros (grey) under the mask. A token's channels are noise, masked
    picture and folded mask: 64 + 64 + 256 = 384 in FLUX.1 Fill. Raises `ValueError` for a mask that is not of the
    picture's size or not binary, and for a transformer with other channels.
    """

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        masked: Latents,
        mask: Mask,
        text: FluxText,
        guidance: float = 30.0,
    ) -> None:
        batch, channels, height, width = masked.shape
        scale = mask.shape[-1] // width
        if mask.shape[-2:] != (height * scale, width * scale):
            raise ValueError(
                f"mask of {tuple(mask.shape[-2:])} pixels does not cover latents of {(height, width)} cells; "
                "give both at the picture's size"
            )
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError("the mask holds values other than 0 and 1; round it first")
        condition = cat([pack(masked), pack(fold_mask(mask, scale).to(masked)).expand(batch, -1, -1)], dim=-1)
        expected = 4 * channels + condition.shape[-1]
        if transformer.config.in_channels != expected:
            raise ValueError(
                f"the transformer takes tokens of {transformer.config.in_channels} channels, a masked picture has "
                f"{expected}; load FLUX.1 Fill, or take TextVelocity for a text-to-image model"
            )
        self.transformer, self.text, self.guidance = transformer, text, guidance
        self.shape = (channels, height, width)
        self._condition = condition

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        return predict_flux_velocity(self.transformer, latents, self._condition, t, self.text, self.guidance)


def fill_right(
    transformer: FluxTransformer2DModel, masked: Latents, text: FluxText, guidance: float = 30.0
) -> FillVelocity:
    """The velocity for diptychs given as latents of their masked canvas; the right half is painted."""
    _, channels, height, width = masked.shape
    scale = isqrt(transformer.config.in_channels // 4 - 2 * channels)  # what noise and picture leave is the mask's
    mask = masked.new_zeros(len(masked), 1, height * scale, width * scale)
    mask[..., width * scale // 2 :] = 1
    return FillVelocity(transformer, masked, mask, text, guidance)

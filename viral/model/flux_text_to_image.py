"""FLUX.1 [dev], text to image: the model that the framework by inversion edits with."""

from diffusers import FluxTransformer2DModel
from jaxtyping import Float
from torch import Tensor

from viral.model.flux import FluxText, predict_flux_velocity
from viral.model.tokens import Latents


class TextVelocity:
    """The velocity of a picture of `shape` (z h w) described by a prompt (implements `Velocity`)."""

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        shape: tuple[int, int, int],
        text: FluxText,
        guidance: float = 3.5,
    ) -> None:
        if transformer.config.in_channels != 4 * shape[0]:
            raise ValueError(
                f"the transformer takes tokens of {transformer.config.in_channels} channels, noise alone has "
                f"{4 * shape[0]}; load a text-to-image model such as FLUX.1-dev, or take FillVelocity for FLUX.1 Fill"
            )
        self.transformer, self.shape, self.text, self.guidance = transformer, shape, text, guidance

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        return predict_flux_velocity(self.transformer, latents, None, t, self.text, self.guidance)

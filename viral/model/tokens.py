"""Latent grids and the tokens that the transformers read: one token is 2x2 cells."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

Latents = Float[Tensor, "b z h w"]
Context = Float[Tensor, "_b z _h _w"]
"""A context image, whose sides may be others than the target's, and whose batch may serve several targets each."""


def pack(latents: Latents) -> Float[Tensor, "b t c"]:
    """Tokens of 2x2 latent cells."""
    return rearrange(latents, "b z (h p) (w q) -> b (h w) (z p q)", p=2, q=2)


def unpack(tokens: Float[Tensor, "b t c"], height: int, width: int) -> Latents:
    """Inverse of `pack` for a latent grid of height x width cells."""
    return rearrange(tokens, "b (h w) (z p q) -> b z (h p) (w q)", h=height // 2, w=width // 2, p=2, q=2)

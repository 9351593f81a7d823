"""One evaluation of the edit DiT on latent images."""

from diffusers import QwenImageTransformer2DModel
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, cat

from viral.model.roles import Role, RoleRope

Latents = Float[Tensor, "b z h w"]
Context = Float[Tensor, "b z _h _w"]
"""A context image, whose sides may be others than the target's."""


def pack(latents: Latents) -> Float[Tensor, "b t c"]:
    """Tokens of 2x2 latent cells."""
    return rearrange(latents, "b z (h p) (w q) -> b (h w) (z p q)", p=2, q=2)


def unpack(tokens: Float[Tensor, "b t c"], height: int, width: int) -> Latents:
    """Inverse of `pack` for a latent grid of height x width cells."""
    return rearrange(tokens, "b (h w) (z p q) -> b z (h p) (w q)", h=height // 2, w=width // 2, p=2, q=2)


def predict_velocity(
    transformer: QwenImageTransformer2DModel,
    noisy: Latents,
    context: list[Context],
    roles: tuple[int, ...],
    t: Float[Tensor, " b"],
    text: Float[Tensor, "#b n d"],
    text_mask: Int[Tensor, "#b n"] | None = None,
) -> Latents:
    """Velocity of the noisy target at times t, given clean context images with their roles.

    Every token sees every token; context tokens are modulated at t = 0. Context images may differ in size among
    themselves, not within the batch. Raises `ValueError` where roles and images do not match in number.
    """
    if len(roles) != len(context):
        raise ValueError(f"{len(context)} context images came with {len(roles)} roles; give one role per image")
    images = [noisy, *context]
    if any(image.shape[0] != noisy.shape[0] for image in context):
        sizes = [tuple(image.shape) for image in images]
        raise ValueError(f"batch sizes of target and context differ: {sizes}; repeat the context per target")
    rope = transformer.pos_embed
    if not isinstance(rope, RoleRope):
        raise ValueError("the transformer has no RoleRope; load it with viral.model.backbone.load_backbone")
    rope.roles = (int(Role.TARGET), *map(int, roles))
    shapes = [(1, image.shape[2] // 2, image.shape[3] // 2) for image in images]
    tokens = transformer(
        hidden_states=cat([pack(image) for image in images], dim=1),
        timestep=t,
        encoder_hidden_states=text.expand(noisy.shape[0], -1, -1),
        encoder_hidden_states_mask=text_mask,
        img_shapes=[shapes] * noisy.shape[0],
        return_dict=False,
    )[0]
    height, width = noisy.shape[2:]
    return unpack(tokens[:, : (height // 2) * (width // 2)], height, width)

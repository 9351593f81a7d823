"""Roles on the rope: the frame axis of Qwen's position code says what an image is for, not where it stands.

The role dimension is the paper's extra axis of MSRoPE; it has no parameters, so checkpoints stay interchangeable
with stock diffusers, and the roles 0, 1, 2, 3 in this order are bit-equal to it.
"""

from enum import IntEnum

import torch
from diffusers import QwenImageTransformer2DModel
from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope
from torch import Tensor


class Role(IntEnum):
    """Frame index of each image of an analogy, as in the authors' release."""

    TARGET = 0
    EXAMPLE_SOURCE = 1
    EXAMPLE_TARGET = 2
    QUERY = 3


ANALOGY = (Role.EXAMPLE_SOURCE, Role.EXAMPLE_TARGET, Role.QUERY)
"""Roles of the context images A, A', B."""


class RoleRope(QwenEmbedRope):
    """Qwen's rope with a role in place of the image's index; `roles[i]` belongs to image i, the target first."""

    roles: tuple[int, ...] | None = None

    def _compute_video_freqs(
        self, frame: int, height: int, width: int, idx: int = 0, device: torch.device | None = None
    ) -> Tensor:
        role = idx if self.roles is None else self.roles[idx]
        return super()._compute_video_freqs(frame, height, width, role, device)


def use_role_rope(transformer: QwenImageTransformer2DModel) -> None:
    """Put a `RoleRope` in the place of the transformer's rope; without roles it computes the same."""
    transformer.pos_embed = RoleRope(theta=10000, axes_dim=list(transformer.config.axes_dims_rope), scale_rope=True)

"""Roles on the rope: the frame axis of Qwen's position code says what an image is for, not where it stands.

The role dimension is the paper's extra axis of MSRoPE; it has no parameters, so checkpoints stay interchangeable
with stock diffusers, and the roles 0, 1, 2, 3 in this order are bit-equal to it.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal

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


RoleNumbering = Literal["step", "shared"]
ROLE_TABLE = {role.name.lower(): int(role) for role in Role}
"""Role by what an image is for; saved with every adapter."""


def role_table(roles: Literal["rope", "none"]) -> dict[str, int]:
    """The paper's table; for `none` one of zeros, with which nothing tells the images apart."""
    return dict(ROLE_TABLE) if roles == "rope" else dict.fromkeys(ROLE_TABLE, 0)


def roles_of(pairs: int, numbering: RoleNumbering = "step", table: Mapping[str, int] = ROLE_TABLE) -> tuple[int, ...]:
    """Roles of the context A_1, A_1', ..., A_K, A_K', B for K = `pairs` examples.

    `step` moves every further pair and the query up by two, to 1+2k, 2+2k and 1+2K; `shared` gives all pairs the
    roles of the first, so that an adapter trained on one pair meets no role it has not seen. A table of zeros gives all
    images the role 0. Raises `ValueError` for no pairs, a table without a role that is needed, and a table whose roles
    collide otherwise.
    """
    if pairs < 1:
        raise ValueError(f"got {pairs} example pairs; an analogy needs at least one, (A, A')")
    missing = ROLE_TABLE.keys() - table.keys()
    if missing:
        raise ValueError(f"the role table lacks {sorted(missing)}; it names {sorted(ROLE_TABLE)}")
    if not any(table.values()):
        return (0,) * (2 * pairs + 1)
    stride = {"step": 2, "shared": 0}[numbering]
    each = [(table["example_source"] + stride * k, table["example_target"] + stride * k) for k in range(pairs)]
    roles = (*(role for pair in each for role in pair), table["query"] + stride * (pairs - 1))
    distinct = roles if numbering == "step" else (*each[0], roles[-1])
    if len({table["target"], *distinct}) != len(distinct) + 1:
        raise ValueError(f"{pairs} pairs numbered by {numbering!r} get colliding roles {roles} from {dict(table)}")
    return roles


ANALOGY = roles_of(1)
"""Roles of the context images A, A', B."""


def trained_roles(roles: Literal["rope", "none"]) -> tuple[int, ...]:
    """Those of A, A', B in training, which shows one pair."""
    return roles_of(1, table=role_table(roles))


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


def set_roles(transformer: QwenImageTransformer2DModel, roles: tuple[int, ...] | None, images: int) -> RoleRope:
    """The transformer's rope with roles for `images` context images; none numbers them in order, as stock does."""
    rope = transformer.pos_embed
    if not isinstance(rope, RoleRope):
        raise ValueError("the transformer has no RoleRope; load it with viral.model.backbone.load_backbone")
    if roles is not None and len(roles) != images:
        raise ValueError(f"{images} context images came with {len(roles)} roles; give one role per image")
    largest = len(rope.pos_freqs) - 1
    if roles is not None and not all(0 <= role <= largest for role in roles):
        raise ValueError(f"roles {roles} are not all within 0 and {largest}, the frames that the rope knows")
    rope.roles = None if roles is None else (int(Role.TARGET), *map(int, roles))
    return rope

"""The velocity field that an edit DiT predicts beside its context images."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from diffusers import QwenImageTransformer2DModel
from jaxtyping import Float, Int
from torch import Tensor, cat

from viral.model.context import StationaryContext, stationary_velocity, targets_per_context
from viral.model.full import full_velocity
from viral.model.roles import set_roles
from viral.model.tokens import Context, Latents, pack, unpack

ContextMode = Literal["full", "stationary"]


@runtime_checkable
class Velocity(Protocol):
    """A denoising problem with its conditions fixed."""

    shape: tuple[int, int, int]
    """z, h, w of the target's latents."""

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        """dx_t/dt = noise - x0 of noisy latents at times t, of which 1 is noise and 0 data."""
        ...


def predict_velocity(
    transformer: QwenImageTransformer2DModel,
    noisy: Latents,
    context: list[Context],
    roles: tuple[int, ...] | None,
    t: Float[Tensor, " b"],
    text: Float[Tensor, "_b n d"],
    text_mask: Int[Tensor, "_b n"] | None = None,
    mode: ContextMode = "full",
) -> Latents:
    """Velocity of noisy targets at times t, given clean context images with their roles; differentiable.

    In mode `full` every token sees every token, the context's being modulated at t = 0; `stationary` is described in
    `viral.model.context`. Context images may differ in size among themselves, not within the batch. Their batch may be
    a K-th of the targets': target i belongs to context i // K, and so does text of the context's batch. Without roles
    images are numbered in order, as stock does. Raises `ValueError` for conditions that do not fit one another.
    """
    count = targets_per_context(noisy, context)
    check_conditions(transformer, tuple(noisy.shape[1:]), context, text)
    if mode == "stationary":
        return stationary_velocity(transformer, noisy, context, roles, t, text, text_mask)
    images = [image.repeat_interleave(count, 0) for image in context]
    mask = None if text_mask is None else _per_target(text_mask, len(noisy))
    return full_velocity(transformer, noisy, images, roles, t, _per_target(text, len(noisy)), mask)


def _per_target(text: Tensor, targets: int) -> Tensor:
    return text.repeat_interleave(targets // len(text), 0)


def check_conditions(
    transformer: QwenImageTransformer2DModel,
    shape: tuple[int, ...],
    context: list[Context],
    text: Float[Tensor, "_b n d"],
) -> None:
    """Raise `ValueError` unless a target of `shape` (z, h, w), context and text fit the model and one another."""
    channels, width = transformer.config.in_channels // 4, transformer.config.joint_attention_dim
    for name, (z, h, w) in [("target", shape), *[("context", tuple(image.shape[1:])) for image in context]]:
        if z != channels or h % 2 or w % 2 or not h * w:
            raise ValueError(
                f"{name} latents are {z, h, w}, expected {channels} channels and even sides; encode images whose sides "
                "are multiples of twice the VAE's scale"
            )
    if text.shape[2] != width:
        raise ValueError(f"text is {text.shape[2]} wide, expected {width}; encode it with this base's text encoder")
    if text.shape[0] not in (1, context[0].shape[0]):
        raise ValueError(f"got {text.shape[0]} texts for {context[0].shape[0]} contexts; give one, or one for each")


def guide(v: Latents, negative: Latents, scale: float) -> Latents:
    """Classifier-free guidance negative + scale (v - negative), each token brought back to the length it has in v."""
    v_tokens, other = pack(v), pack(negative)
    guided = other + scale * (v_tokens - other)
    guided = guided * (v_tokens.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
    return unpack(guided, v.shape[2], v.shape[3])


class EditVelocity:
    """The `Velocity` of Qwen-Image-Edit for fixed context images, roles and text.

    `grid` is the target's latent height and width, that of the last context image by default. `guidance` above 1 steers
    away from the `negative` text at twice the cost, unless both texts are equal, where it changes nothing and is
    skipped. Contexts come in a batch of b; latents in a batch of b K, of which the i-th belongs to context i // K.
    Mode `stationary` runs without gradients. Raises `ValueError` for conditions that do not fit one another.
    """

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        context: list[Context],
        roles: tuple[int, ...] | None,
        text: Float[Tensor, "_b n d"],
        *,
        mode: ContextMode = "full",
        grid: tuple[int, int] | None = None,
        guidance: float = 1.0,
        negative: Float[Tensor, "_c m d"] | None = None,
    ) -> None:
        if not context:
            raise ValueError("got no context image; an edit needs at least the image to edit")
        if guidance < 1 or (guidance > 1 and negative is None):
            raise ValueError(
                f"guidance is {guidance} {'without' if negative is None else 'with'} a negative text; "
                "give a scale of at least 1, and a text to steer away from where it is larger"
            )
        self.transformer, self.roles, self.mode, self.guidance = transformer, roles, mode, guidance
        # Not where the weights are, which wait elsewhere under offloading.
        place = {"device": context[0].device, "dtype": transformer.dtype}
        self.context = [image.to(**place) for image in context]
        texts = [text] if negative is None or guidance == 1 or torch.equal(text, negative) else [text, negative]
        self.texts = [each.to(**place) for each in texts]
        self.shape = (transformer.config.in_channels // 4, *(grid or context[-1].shape[2:]))
        for each in self.texts:
            check_conditions(transformer, self.shape, self.context, each)
        set_roles(transformer, roles, len(context))
        self._branches = [self._branch(each) for each in self.texts]

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        if tuple(latents.shape[1:]) != self.shape:
            raise ValueError(f"latents are {tuple(latents.shape[1:])}, expected {self.shape}; make them by start_noise")
        v, *negative = [branch(latents.to(self.context[0]), t.to(self.context[0].device)) for branch in self._branches]
        return guide(v, negative[0], self.guidance) if negative else v

    def _branch(self, text: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        if self.mode == "stationary":
            return StationaryContext(self.transformer, self.context, self.roles, text, self.shape[1:]).velocity
        return lambda latents, t: predict_velocity(self.transformer, latents, self.context, self.roles, t, text)

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """What problems must share to run in one batch: shape, context, roles, text length, mode and guidance."""
        sizes = tuple(tuple(image.shape[1:]) for image in self.context)
        words = tuple(text.shape[1] for text in self.texts)
        return id(self.transformer), self.shape, sizes, self.roles, words, self.mode, self.guidance

    @property
    def evaluations(self) -> int:
        """Forward passes of the model that one call takes."""
        return len(self.texts)

    @property
    def trace(self) -> dict[str, Any]:
        """How it is put, in plain values."""
        return {"guidance": self.guidance, "context": self.mode, "roles": self.roles}

    @classmethod
    def stack(cls, problems: Sequence["EditVelocity"]) -> "EditVelocity":
        """One problem of several, whose latents come in their order; `ValueError` where they are not of one kind."""
        first = problems[0]
        if any(other.kind != first.kind for other in problems):
            raise ValueError("these problems are of several kinds and do not fit one batch; split them with `batches`")
        text, *negative = [
            cat([text.expand(len(problem.context[0]), -1, -1) for text, problem in zip(texts, problems, strict=True)])
            for texts in zip(*(problem.texts for problem in problems), strict=True)
        ]
        return cls(
            first.transformer,
            [cat(images) for images in zip(*(problem.context for problem in problems), strict=True)],
            first.roles,
            text,
            mode=first.mode,
            grid=first.shape[1:],
            guidance=first.guidance if negative else 1.0,
            negative=negative[0] if negative else None,
        )


class ExampleGuided:
    """A problem steered by its examples: v + (s - 1) (v - v'), v' being the velocity of the change undone.

    Classifier-free guidance whose condition is the example and not the words: `undone` is `problem` with every example
    turned round, A' before A, so that what is added is what sets the change apart from its reverse. Where an example
    changes nothing nothing is added. s = 1 is the problem itself; each call costs both. `ValueError` for s below 1.
    """

    def __init__(self, problem: EditVelocity, undone: EditVelocity, scale: float) -> None:
        if scale < 1:
            raise ValueError(f"example_guidance is {scale}; give at least 1, which is none")
        self.problem, self.undone, self.scale, self.shape = problem, undone, scale, problem.shape

    def __call__(self, latents: Latents, t: Float[Tensor, " b"]) -> Latents:
        v = self.problem(latents, t)
        return v + (self.scale - 1) * (v - self.undone(latents, t))

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """As of `EditVelocity`."""
        return self.problem.kind, self.undone.kind, self.scale

    @property
    def evaluations(self) -> int:
        """As of `EditVelocity`."""
        return self.problem.evaluations + self.undone.evaluations

    @property
    def trace(self) -> dict[str, Any]:
        """As of `EditVelocity`."""
        return {**self.problem.trace, "example_guidance": self.scale}

    @classmethod
    def stack(cls, problems: Sequence["ExampleGuided"]) -> "ExampleGuided":
        """As of `EditVelocity`."""
        stacked = EditVelocity.stack([each.problem for each in problems])
        return cls(stacked, EditVelocity.stack([each.undone for each in problems]), problems[0].scale)


Problem = EditVelocity | ExampleGuided
"""What an editor denoises."""


def batches(problems: Sequence[Problem]) -> list[tuple[list[int], Problem]]:
    """The problems in as few batches as their kinds allow, each with the places that its problems had."""
    places: dict[tuple[Hashable, ...], list[int]] = {}
    for i, problem in enumerate(problems):
        places.setdefault(problem.kind, []).append(i)
    return [(own, type(problems[own[0]]).stack([problems[i] for i in own])) for own in places.values()]  # pyright: ignore[reportArgumentType] -- one kind is of one class

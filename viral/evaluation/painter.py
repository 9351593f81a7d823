"""What a base paints for rows of latents: B' beside an analogy, or the right half of a diptych."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from viral.config import ModelConfig
from viral.data.latents import LatentPair
from viral.model.architecture import is_fill
from viral.model.backbone import Backbone, load_backbone
from viral.model.flux import FluxBackbone, FluxText, load_flux
from viral.model.flux_fill import fill_right
from viral.model.roles import ANALOGY
from viral.model.velocity import ContextMode, EditVelocity, Velocity
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.diptych import left_half, right_half
from viral.sampling.editor import to_images
from viral.train.batch import stack, texts_of

GUIDANCE = 30.0
"""FLUX.1 Fill's own."""

Picture = UInt8[np.ndarray, "_ _ 3"]
Row = tuple[LatentPair, LatentPair]
"""The example and the query of one picture; a diptych is the query alone."""


class Painter(ABC):
    """A base, bare or with an adapter, that answers rows of latents."""

    COLUMNS: tuple[str, ...]
    """Names of what `show` gives."""

    def __init__(self, backbone: Backbone | FluxBackbone) -> None:
        self.backbone = backbone
        self.transformer = backbone.transformer

    def __call__(self, rows: Sequence[Row], seeds: Sequence[int], steps: int) -> list[Picture]:
        """The picture of each row, from noise of its own seed.

        Rows of one size and text that follow one another are painted together.
        """
        work = zip(rows, seeds, strict=True)
        return [picture for _, same in groupby(work, _shapes) for picture in self._paint(list(same), steps)]

    @abstractmethod
    def show(self, row: Row, output: Picture) -> tuple[Picture, ...]:
        """An output between what is known of its row, as the VAE gives that back."""

    @abstractmethod
    def _velocity(self, rows: list[Row]) -> Velocity:
        """The denoising problem of rows of one size."""

    @abstractmethod
    def _cut(self, painted: Float[Tensor, "b 3 _y _x"]) -> Float[Tensor, "b 3 _h _w"]:
        """What of a painted picture is the answer."""

    def _paint(self, work: list[tuple[Row, int]], steps: int) -> Iterator[Picture]:
        velocity = self._velocity([row for row, _ in work])
        noise = start_noise([seed for _, seed in work], velocity.shape).to(self.transformer.device)
        painted = denoise(velocity, self.backbone.scheduler, noise, steps)
        yield from _pictures(self._cut(self.backbone.decode_latents(painted)))

    def _place(self, values: list[np.ndarray]) -> Tensor:
        """Arrays of one shape as the transformer takes them."""
        return stack(values).to(self.transformer.device, self.transformer.dtype)


class AnalogyPainter(Painter):
    """Qwen-Image-Edit: A : A' :: B : B'. `text` is what is said where a row says nothing."""

    COLUMNS = ("A", "A'", "B", "output", "truth")

    def __init__(
        self,
        backbone: Backbone,
        text: Float[np.ndarray, "n d"],
        mode: ContextMode = "full",
        roles: tuple[int, ...] = ANALOGY,
    ) -> None:
        super().__init__(backbone)
        self._text, self._mode, self._roles = text, mode, roles

    def show(self, row: Row, output: Picture) -> tuple[Picture, ...]:
        example, query = row
        latents = self._place([example.source, example.target, query.source, query.target])
        *context, truth = _pictures(self.backbone.decode_latents(latents))
        return (*context, output, truth)

    def _velocity(self, rows: list[Row]) -> Velocity:
        examples, queries = zip(*rows, strict=True)
        parts = [[e.source for e in examples], [e.target for e in examples], [q.source for q in queries]]
        context, (text, _) = [self._place(part) for part in parts], texts_of(list(queries), self._text)
        return EditVelocity(self.transformer, context, self._roles, text, mode=self._mode)

    def _cut(self, painted: Float[Tensor, "b 3 _y _x"]) -> Float[Tensor, "b 3 _h _w"]:
        return painted


class DiptychPainter(Painter):
    """FLUX.1 Fill: the source of a pair, edited as its words say."""

    COLUMNS = ("source", "output", "truth")

    def show(self, row: Row, output: Picture) -> tuple[Picture, ...]:
        canvas = self.backbone.decode_latents(self._place([row[1].target]))
        source, truth = (next(_pictures(half(canvas))) for half in (left_half, right_half))
        return source, output, truth

    def _velocity(self, rows: list[Row]) -> Velocity:
        pairs = [pair for _, pair in rows]
        text = FluxText(*(self._place([getattr(pair, name) for pair in pairs]) for name in ("text", "pooled")))
        return fill_right(self.transformer, self._place([pair.source for pair in pairs]), text, GUIDANCE)

    def _cut(self, painted: Float[Tensor, "b 3 _y _x"]) -> Float[Tensor, "b 3 _h _w"]:
        return right_half(painted)


def load_base(base: str, device: str, config: ModelConfig) -> Backbone | FluxBackbone:
    """What a painter needs of a base of either method."""
    load = load_flux if is_fill(base, config) else load_backbone
    return load(base, ("transformer", "vae"), device, config=config)


def painter_of(
    backbone: Backbone | FluxBackbone,
    text: Float[np.ndarray, "n d"],
    mode: ContextMode = "full",
    roles: tuple[int, ...] = ANALOGY,
) -> Painter:
    """The painter of a base; text, mode and roles are those of analogies."""
    if isinstance(backbone, FluxBackbone):
        return DiptychPainter(backbone)
    return AnalogyPainter(backbone, text, mode, roles)


def _shapes(work: tuple[Row, int]) -> tuple:
    query = work[0][1]
    return query.target.shape, None if query.text is None else query.text.shape


def _pictures(images: Float[Tensor, "b 3 y x"]) -> Iterator[Picture]:
    return (np.asarray(image) for image in to_images(images))

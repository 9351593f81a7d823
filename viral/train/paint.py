"""How the two methods paint the fixed test rows of a validation, from latents to pictures."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from viral.config import RunConfig
from viral.data.latents import LatentPair, LatentTable
from viral.model.backbone import load_backbone
from viral.model.flux import FluxText, load_flux
from viral.model.flux_fill import fill_right
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity
from viral.sampling.denoise import denoise, start_noise
from viral.sampling.diptych import left_half, right_half
from viral.sampling.editor import to_images
from viral.train.batch import stack, texts_of
from viral.train.loss import Transformer

STEPS = 8
"""Denoising steps of a validation picture; enough to see what is learnt, cheap beside the training."""
GUIDANCE = 30.0
"""FLUX.1 Fill's own."""

Picture = UInt8[np.ndarray, "_ _ 3"]
Row = tuple[LatentPair, LatentPair]
"""The example and the query of one picture; a diptych is the query alone."""


class AnalogyPainter:
    """Qwen-Image-Edit: A, A', B, what the adapter paints, and the truth."""

    COLUMNS = ("A", "A'", "B", "output", "truth")

    def __init__(self, config: RunConfig, table: LatentTable) -> None:
        self._backbone = load_backbone(
            config.base_folder(), ("transformer", "vae"), _device(config), config=config.model
        )
        self._mode, self._constant = config.train.context, table.text

    @property
    def transformer(self) -> Transformer:
        """What the adapter goes into."""
        return self._backbone.transformer

    def __call__(self, rows: list[Row]) -> Iterator[tuple[Picture, ...]]:
        """The columns of each row; rows of one size and text are painted together."""
        for _, same in groupby(rows, lambda row: (row[1].target.shape, row[1].text is None or row[1].text.shape)):
            yield from self._paint(list(same))

    def _paint(self, rows: list[Row]) -> Iterator[tuple[Picture, ...]]:
        latents = [stack([a.source for a, _ in rows]), stack([a.target for a, _ in rows])]
        latents += [stack([b.source for _, b in rows]), stack([b.target for _, b in rows])]
        place = {"device": self.transformer.device, "dtype": self.transformer.dtype}
        *context, truth = (each.to(**place) for each in latents)
        text = texts_of([b for _, b in rows], self._constant)[0].to(**place)
        velocity = EditVelocity(self.transformer, context, ANALOGY, text, mode=self._mode)
        output = denoise(velocity, self._backbone.scheduler, _noise(len(rows), velocity.shape, place["device"]), STEPS)
        yield from _pictures([self._backbone.decode_latents(each) for each in (*context, output, truth)])


class DiptychPainter:
    """FLUX.1 Fill: the source, what the adapter makes of it as told, and the truth."""

    COLUMNS = ("source", "output", "truth")

    def __init__(self, config: RunConfig, table: LatentTable) -> None:
        self._backbone = load_flux(config.base_folder(), ("transformer", "vae"), _device(config), config=config.model)

    @property
    def transformer(self) -> Transformer:
        """What the adapter goes into."""
        return self._backbone.transformer

    def __call__(self, rows: list[Row]) -> Iterator[tuple[Picture, ...]]:
        """The columns of each row; rows of one size are painted together."""
        for _, same in groupby(rows, lambda row: row[1].target.shape):
            yield from self._paint([pair for _, pair in same])

    def _paint(self, pairs: list[LatentPair]) -> Iterator[tuple[Picture, ...]]:
        device = self.transformer.device
        masked, truth = (stack([getattr(pair, name) for pair in pairs]).to(device) for name in ("source", "target"))
        text = FluxText(*(stack([getattr(pair, name) for pair in pairs]).to(device) for name in ("text", "pooled")))
        velocity = fill_right(self.transformer, masked, text, GUIDANCE)
        output = denoise(velocity, self._backbone.scheduler, _noise(len(pairs), velocity.shape, device), STEPS)
        decoded, known = (self._backbone.decode_latents(each) for each in (output, truth))
        yield from _pictures([left_half(known), right_half(decoded), right_half(known)])


def _device(config: RunConfig) -> str:
    return "cuda" if config.train.gpus else "cpu"


def _noise(count: int, shape: tuple[int, int, int], device: torch.device) -> Float[Tensor, "b z h w"]:
    return start_noise(list(range(count)), shape).to(device)


def _pictures(columns: list[Float[Tensor, "b 3 y x"]]) -> Iterator[tuple[Picture, ...]]:
    return zip(*([np.array(image) for image in to_images(column)] for column in columns), strict=True)

"""Answers that cost nothing, and what the VAE itself loses: what a score has to be read against."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow
from pydantic import Field, model_validator

from viral.config import RunConfig
from viral.data.images import encode_png, pixels_of
from viral.data_config import Place
from viral.evaluation.answers import mean_images, through_vae
from viral.evaluation.peers.painted import base_folder
from viral.evaluation.peers.peer import Peer
from viral.evaluation.peers.pictures import pillow, sized_as
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.protocols.method import Method
from viral.model.architecture import is_fill
from viral.model.backbone import Backbone, base_hash, load_backbone
from viral.model.flux import FluxBackbone, load_flux
from viral.model.licences import Licence, accept
from viral.sampling.editor import fit
from viral.storage import Storage

Answer = Literal["copy_query", "copy_example", "mean", "truth"]


class Free(Peer):
    """The query, the example's target, the task's mean target, or (a bound, not an answer) the truth itself."""

    kind: Literal["free"]
    answer: Answer
    vae: bool = False
    """Whether the VAE of the base takes it in and gives it back, as it does with everything that is painted."""
    base: Place | None = None
    """Folder or hub id (the run's base)."""
    size: int | None = Field(None, ge=16)
    """Side of the square to whose area the VAE gets it (the picture's own, rounded to what the VAE takes)."""
    means: str | None = None
    """Place of the mean targets that `write_means` leaves."""

    @model_validator(mode="after")
    def _check(self) -> "Free":
        if (self.answer == "mean") != (self.means is not None):
            raise ValueError("`means` is the place of the mean targets: give it for the answer mean and for no other")
        return self

    def licences(self, config: RunConfig) -> tuple[Licence, ...]:
        """That of the base, where its VAE is used."""
        return (accept(self._base(config), config.model.accept_licences, config.model.revision),) if self.vae else ()

    def record(self, config: RunConfig) -> dict[str, Any]:
        """Settings, the means and, where its VAE is used, the base by their hashes."""
        base = base_hash(self._base(config), config.model) if self.vae else None
        means = None if self.means is None else _means_sha256(Storage(self.means))
        return {**self.settings, "means": means, "base_sha256": base}

    def load(self, name: str, config: RunConfig, device: str) -> "FreeMethod":
        """The answer, with a VAE where it has to pass one."""
        self.licences(config)
        means = None if self.means is None else Storage(self.means)
        return FreeMethod(name, self, means, self._vae(config, device) if self.vae else None, device)

    def _base(self, config: RunConfig) -> str:
        return self.base or base_folder(config)

    def _vae(self, config: RunConfig, device: str) -> Backbone | FluxBackbone:
        load = load_flux if is_fill(self._base(config), config.model) else load_backbone
        return load(self._base(config), ("vae",), device, config=config.model)


class FreeMethod(Method):
    """Answers wherever there is what it copies."""

    def __init__(
        self, name: str, peer: Free, means: Storage | None, vae: Backbone | FluxBackbone | None, device: str
    ) -> None:
        super().__init__(name)
        self._peer, self._vae, self._device = peer, vae, device
        self._mean = cache(lambda task: _read_mean(means, task))

    def answer(self, cases: Sequence[Case]) -> list[Image | None]:
        """One by one."""
        return [self._sized(self._copied(case), case) for case in cases]

    def _copied(self, case: Case) -> Image | None:
        match self._peer.answer:
            case "copy_query":
                return case.query
            case "copy_example":
                return case.examples[0][1] if case.examples else None
            case "mean":
                return self._mean(case.task)
            case "truth":
                return case.truth

    def _sized(self, copied: Image | None, case: Case) -> Image | None:
        if copied is None:
            return None
        copy = sized_as(pillow(copied), case.query)
        return copy if self._vae is None else sized_as(self._through(self._vae, pillow(copy)), case.query)

    def _through(self, vae: Backbone | FluxBackbone, picture: Pillow.Image) -> Pillow.Image:
        size = self._peer.size or round((picture.width * picture.height) ** 0.5)
        (seen,) = through_vae(vae, [np.asarray(fit(picture, size, 2 * vae.scale))], self._device)
        return pillow(seen)


def write_means(cases: Iterable[Case], place: Storage) -> None:
    """Write the mean of each task's example targets, which no method has to guess, as TASK.png."""
    for task, mean in mean_images(_targets(cases)).items():
        place.write(f"{task}.png", encode_png(mean))


def _targets(cases: Iterable[Case]) -> Iterator[tuple[str, Image]]:
    first: dict[str, Image] = {}
    for case in cases:
        for _, target in case.examples:
            like = first.setdefault(case.task, target)
            yield case.task, sized_as(pillow(target), like)


def _means_sha256(means: Storage) -> str:
    return hashlib.sha256(b"".join(name.encode() + means.read(name) for name in means.list())).hexdigest()


def _read_mean(means: Storage | None, task: str) -> Image | None:
    assert means is not None
    return pixels_of(means.read(f"{task}.png")) if means.exists(f"{task}.png") else None

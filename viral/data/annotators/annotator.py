"""What every annotator is: a description of a model, from which each actor builds what adds labels to a picture."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import cv2
import numpy as np

from viral.data.annotators.weights import FILES, Weights, find_weights
from viral.data_config import Config
from viral.tasks import Image, Labelled

Labeller = Callable[[Labelled], Labelled]
"""Adds labels to a picture; `ValueError` says why it could not."""


class Annotator(Config, ABC):
    """A model that labels pictures. Its fields are its configuration."""

    gives: ClassVar[tuple[str, ...]]
    """The labels it adds, of `viral.tasks.LABELS`; none for one that paints targets."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What names the model for good: kept with every row, and part of the table's fingerprint."""

    @abstractmethod
    def labeller(self, device: str) -> Labeller:
        """Load the model, on every actor once; `ValueError` says how to get weights that are missing."""


class Network(Annotator):
    """An annotator whose weights lie in a folder or on the hub."""

    files: ClassVar[tuple[str, ...]] = FILES
    model: str
    """Folder or hub id."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    def weights(self) -> Weights:
        """Its weights on this node, fetched if they are not there."""
        return find_weights(self.model, self.revision, self.files)

    def record(self) -> dict[str, Any]:
        """Model, commit and sha256."""
        return self.weights().record


def annotated(labelled: Labelled, name: str, record: dict[str, Any]) -> Labelled:
    """The picture with a line in `about` that says who labelled it."""
    done = {**labelled.about.get("annotators", {}), name: record}
    return replace(labelled, about={**labelled.about, "annotators": done})


def on_multiples(image: Image, step: int, detect: Callable[[Image, int], Image]) -> Image:
    """What `detect(image, side)` paints when the sides are multiples of `step`, cut back to the picture.

    controlnet_aux's detectors round sides and resize, which moves what they paint; with such sides, asked for in
    their own resolution, they do neither.
    """
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(detect(padded, min(padded.shape[:2]))[:height, :width])

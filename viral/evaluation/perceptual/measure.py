"""A perceptual metric with its network, and what it keeps of each case."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image as Pillow

from viral.evaluation.perceptual.metric import Against
from viral.evaluation.protocols.case import Case, Image

Rows = Float[np.ndarray, "n k"]
"""What a measure keeps of each case: its figure, or for a distance between sets the vectors of both images."""


class Measure(ABC):
    """Scores outputs for their cases."""

    @abstractmethod
    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        """One row for each case; NaN where a model's reply could not be read."""


def compared(case: Case, against: Against) -> Image:
    """The picture that an output is compared with; `ValueError` where the case has none."""
    picture = case.query if against == "query" else case.truth
    if picture is None:
        raise ValueError(f"case {case.case_id} has no truth to compare with; give it one or choose a metric of sources")
    return picture


def pictures(images: Sequence[Image]) -> list[Pillow.Image]:
    """As embedders take them."""
    return [Pillow.fromarray(image) for image in images]

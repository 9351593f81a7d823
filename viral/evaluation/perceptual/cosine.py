"""How alike two images, an image and a caption, or two changes are, by the angle between an embedder's vectors."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import cosine_similarity

from viral.evaluation.perceptual.measure import Measure, Rows, compared, pictures
from viral.evaluation.perceptual.metric import Against
from viral.evaluation.protocols.case import Case, Image
from viral.sampling.embedder import ClipEmbedder

Embed = Callable[[list[Pillow.Image]], Float[Tensor, "n d"]]


class ImageCosine(Measure):
    """cos(f(output), f(other)) with the truth or the query as the other, -1..1; 1 less that as a `distance`."""

    def __init__(self, embed: Embed, against: Against, distance: bool = False) -> None:
        self._embed, self._against, self._distance = embed, against, distance

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        others = [compared(case, self._against) for case in cases]
        cosine = _rows(self._embed(pictures(outputs)), self._embed(pictures(others)))
        return 1 - cosine if self._distance else cosine


class CaptionCosine(Measure):
    """cos(f(output), g(caption of the output)), -1..1 and not clipped or scaled as CLIPScore is."""

    def __init__(self, embedder: ClipEmbedder) -> None:
        self._embedder = embedder

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        captions = [_told(case, case.caption, "caption") for case in cases]
        return _rows(self._embedder(pictures(outputs)), self._embedder.words(captions))


class StepCosine(Measure):
    """cos(f(output) - f(query), g(output's caption) - g(query's caption)): did the picture change as the words did.

    An output that is the query scores 0. The query's caption is the label `source_caption`.
    """

    def __init__(self, embedder: ClipEmbedder) -> None:
        self._embedder = embedder

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        after = [_told(case, case.caption, "caption") for case in cases]
        before = [_told(case, case.labels.get("source_caption"), "label source_caption") for case in cases]
        seen = self._embedder(pictures(outputs)) - self._embedder(pictures([case.query for case in cases]))
        return _rows(seen, self._embedder.words(after) - self._embedder.words(before))


def _rows(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Rows:
    return cosine_similarity(one, other, dim=1).double().cpu().numpy()[:, np.newaxis]


def _told(case: Case, words: str | None, what: str) -> str:
    if not words:
        raise ValueError(f"case {case.case_id} has no {what}, which the metric compares with; give it one")
    return words

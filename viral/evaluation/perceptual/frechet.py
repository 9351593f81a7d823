"""FID (Heusel et al., 2017): the Fréchet distance between two sets of images, as Gaussians of their features."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from viral.evaluation.perceptual.cosine import Embed
from viral.evaluation.perceptual.measure import Measure, Rows, compared, pictures
from viral.evaluation.protocols.case import Case, Image


class Frechet(Measure):
    """Of each case the features of output and truth, side by side, for `frechet_distance` of the two sets."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        truths = [compared(case, "truth") for case in cases]
        both = [self._embed(pictures(images)).double().cpu().numpy() for images in (outputs, truths)]
        return np.concatenate(both, axis=1)


def frechet_distance(one: Float[np.ndarray, "n d"], other: Float[np.ndarray, "m d"]) -> float:
    """|mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), covariances over n - 1; at least 2 images each.

    It falls with the number of images and compares only between sets of one size. With S = R'R the last trace is the
    sum of the singular values of R1 R2', so no root of a matrix that is singular for want of images is taken.
    """
    apart = one.mean(axis=0) - other.mean(axis=0)
    roots = [np.linalg.qr(x - x.mean(axis=0), mode="r") / np.sqrt(len(x) - 1) for x in (one, other)]
    spread = sum(float((root**2).sum()) for root in roots)
    shared = np.linalg.norm(roots[0] @ roots[1].T, ord="nuc")
    return max(float(apart @ apart + spread - 2 * shared), 0.0)

"""K-Means in blocks of matrix products: beside the points it holds one block of distances, so 1.5M x 768 fit 24 GB."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

BLOCK = 1 << 26
"""Distances at a time: 256 MB."""
SEEDED_FROM = 16
"""Points per centre that k-means++ draws from: all of them once a centre would cost more than the clustering."""

Points = Float[Tensor, "n d"]
Centres = Float[Tensor, "k d"]


@dataclass(frozen=True)
class Clusters:
    """Centres, which of them each point is nearest to, and the sum of the squared distances."""

    centres: Centres
    labels: Int[Tensor, " n"]
    inertia: float


def cluster(points: Points, count: int, seed: int, iterations: int = 25) -> Clusters:
    """K-Means by Lloyd's iteration from k-means++ centres: the same for the same seed on the same device."""
    return refine(points, seed_centres(points, count, seed), iterations)


def seed_centres(points: Points, count: int, seed: int) -> Centres:
    """Centres by greedy k-means++: each is the best of a few points, drawn by squared distance to the centres before.

    `ValueError` where there are fewer points than centres.
    """
    if not 0 < count <= len(points):
        raise ValueError(f"{count} clusters were asked for of {len(points)} points; ask for 1 to {len(points)}")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed means the same on every device
    drawn = torch.randperm(len(points), generator=generator)[: SEEDED_FROM * count]
    points = points[drawn.to(points.device)]
    lengths = _square(points)
    chances = torch.rand(count, 2 + int(math.log(count)), generator=generator, dtype=torch.float64).to(points.device)
    chosen = [int(chances[0, 0] * len(points))]
    distances = _distances(points, lengths, points[chosen])[:, 0]
    for chance in chances[1:]:
        weights = distances.double().cumsum(0)
        # Where every point is equal to one that is taken, the last one comes again.
        places = torch.searchsorted(weights, chance * weights[-1], right=True).clamp(max=len(points) - 1)
        left = distances[:, None].minimum(_distances(points, lengths, points[places]))
        best = int(left.sum(0).argmin())
        chosen.append(int(places[best]))
        distances = left[:, best]
    return points[chosen]


def refine(points: Points, centres: Centres, iterations: int) -> Clusters:
    """Lloyd's iteration from given centres, until no point changes sides or `iterations` times."""
    lengths = _square(points)
    labels, distances = _assign(points, lengths, centres)
    for _ in range(iterations):
        centres = _means(points, labels, distances, len(centres))
        before = labels
        labels, distances = _assign(points, lengths, centres)
        if torch.equal(labels, before):
            break
    return Clusters(centres, labels, float(distances.double().sum()))


def _assign(
    points: Points, lengths: Float[Tensor, " n"], centres: Centres
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """The nearest centre of every point, and the squared distance to it."""
    rows = max(1, BLOCK // len(centres))
    nearest = [_without_lengths(block, centres).min(1) for block in points.split(rows)]
    distances = torch.cat([each.values for each in nearest]) + lengths
    return torch.cat([each.indices for each in nearest]), distances.clamp(min=0)


def _distances(points: Points, lengths: Float[Tensor, " n"], centres: Centres) -> Float[Tensor, "n k"]:
    """Squared distances |x|^2 + |c|^2 - 2 x c, of which rounding may leave a little less than 0."""
    return (_without_lengths(points, centres) + lengths[:, None]).clamp(min=0)


def _without_lengths(points: Points, centres: Centres) -> Float[Tensor, "n k"]:
    """Squared distances less each point's own |x|^2, which makes no centre nearer."""
    return torch.addmm(_square(centres), points, centres.T, alpha=-2)


def _square(points: Points) -> Float[Tensor, " n"]:
    return torch.linalg.vector_norm(points, dim=1).square()


def _means(points: Points, labels: Int[Tensor, " n"], distances: Float[Tensor, " n"], count: int) -> Centres:
    """Mean of every cluster; an empty one begins anew at one of the points that are farthest from their centres.

    Each cluster is added up by itself in the order of its points, so no sum depends on the order of threads.
    """
    sizes = torch.bincount(labels, minlength=count)
    starts = sizes.cumsum(0) - sizes
    means = F.embedding_bag(labels.argsort(stable=True), points, starts, mode="mean")
    empty = sizes == 0
    means[empty] = points[distances.topk(int(empty.sum())).indices]
    return means

"""Exact nearest neighbours by cosine, in blocks of matrix products: 1.5M x 768 need no index."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

QUERIES, KEYS = 4096, 4096
"""One block of similarities: 64 MB."""
GROUP = 64

Points = Float[Tensor, "n d"]


@dataclass(frozen=True)
class Neighbours:
    """Of every query the k most similar points, the most similar first; number -1 where there are fewer."""

    ids: Int[Tensor, "q k"]
    similarity: Float[Tensor, "q k"]
    """Cosine; minus infinity where there is no point."""


def nearest(queries: Float[Tensor, "q d"], points: Points, count: int) -> Neighbours:
    """The `count` points of largest cosine to each query."""
    return _search(queries, points, count, themselves=False)


def nearest_within(points: Points, labels: Int[Tensor, " n"], count: int) -> Neighbours:
    """For each point the `count` others of its cluster with the largest cosine."""
    ids = torch.full((len(points), count), -1, dtype=torch.long, device=points.device)
    similarity = torch.full((len(points), count), -torch.inf, device=points.device)
    sizes = torch.bincount(labels)
    for rows in labels.argsort(stable=True).split(sizes[sizes > 0].tolist()):
        found = _search(points[rows], points[rows], count, themselves=True)
        ids[rows] = torch.where(found.ids < 0, -1, rows[found.ids])
        similarity[rows] = found.similarity
    return Neighbours(ids, similarity)


def _search(queries: Float[Tensor, "q d"], points: Points, count: int, themselves: bool) -> Neighbours:
    """With `themselves` the queries are the points, and none is its own neighbour."""
    blocks = [
        _search_block(block * _inverse_length(block)[:, None], points, count, start if themselves else None)
        for start, block in zip(range(0, len(queries), QUERIES), queries.split(QUERIES), strict=True)
    ]
    return Neighbours(torch.cat([each.ids for each in blocks]), torch.cat([each.similarity for each in blocks]))


def _search_block(queries: Float[Tensor, "q d"], points: Points, count: int, own: int | None) -> Neighbours:
    """Search of one block of queries of length 1, the first of which is point `own`.

    The best so far compete with each block of points. Their lengths divide the products, as a table of all points at
    length 1 would be written and read once more.
    """
    best = queries.new_full((len(queries), count), -torch.inf)
    ids = torch.full((len(queries), count), -1, dtype=torch.long, device=points.device)
    for start, keys in zip(range(0, len(points), KEYS), points.split(KEYS), strict=True):
        similarity = (queries @ keys.T).mul_(_inverse_length(keys))
        if own is not None and -len(queries) < own - start < len(keys):
            similarity.diagonal(own - start).fill_(-torch.inf)
        values, places = _largest(similarity, count)
        best, kept = torch.cat([best, values], 1).topk(count)
        ids = torch.cat([ids, places + start], 1).gather(1, kept)
    return Neighbours(ids.masked_fill(best == -torch.inf, -1), best)


def _largest(values: Float[Tensor, "q n"], count: int) -> tuple[Float[Tensor, "q k"], Int[Tensor, "q k"]]:
    """Values and places of the largest of each row, at most `count`.

    They lie in the `count` groups whose maxima are the largest, so one pass finds the few values to sort.
    """
    groups = values.shape[1] // GROUP
    if groups <= count:
        largest = values.topk(min(count, values.shape[1]))
        return largest.values, largest.indices
    grouped = rearrange(values[:, : groups * GROUP], "q (g e) -> q g e", e=GROUP)
    chosen = grouped.amax(2).topk(count).indices
    inside = torch.arange(GROUP, device=values.device)
    places = rearrange(chosen[:, :, None] * GROUP + inside, "q k e -> q (k e)")
    rest = torch.arange(groups * GROUP, values.shape[1], device=values.device)  # too few for a group
    places = torch.cat([places, rest.expand(len(values), -1)], 1)
    largest = values.gather(1, places).topk(count)
    return largest.values, places.gather(1, largest.indices)


def _inverse_length(points: Points) -> Float[Tensor, " n"]:
    """For vectors of length 0 so small that they stay 0, equally far from all."""
    return torch.linalg.vector_norm(points, dim=1).clamp(min=1e-12).reciprocal()

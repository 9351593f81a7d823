"""Quadruplets mined from pairs: whose steps f(target) - f(source) in an embedding space point the same way.

VIRAL's eq. 12 and what its section 4 does with it: K-Means over the steps, the nearest neighbours of each inside its
cluster, and two filters: sources must differ, instructions must agree.
"""

import math
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from viral.data.clusters import cluster
from viral.data.neighbours import nearest_within
from viral.data_config import MiningConfig

ROWS = 1 << 16
"""Candidates of one block of cosines."""
FEWEST, MOST = 8, 512
"""Clusters at the least and at the most."""
STEPS_OF_ONE = 25
"""Iterations of K-Means."""


@dataclass(frozen=True)
class Vectors:
    """Embeddings of n pairs in one space, of length 1: both pictures, and the instruction."""

    sources: Float[Tensor, "n d"]
    targets: Float[Tensor, "n d"]
    words: Float[Tensor, "n d"]

    def steps(self) -> Float[Tensor, "n d"]:
        """(f(target) - f(source)) in float32, each scaled to length 1, block by block: 1.5M x 768 take 4.6 GB once."""
        steps = torch.empty(self.sources.shape, device=self.sources.device)
        for block, source, target in zip(*(x.split(ROWS) for x in (steps, self.sources, self.targets)), strict=True):
            block.copy_(F.normalize(target.float() - source.float(), dim=1))
        return steps


@dataclass(frozen=True)
class Candidates:
    """Pairs of pairs and how they compare, the numbers of the first ascending, its nearest first."""

    a: Int[Tensor, " m"]
    b: Int[Tensor, " m"]
    step: Float[Tensor, " m"]
    """Cosine of the two steps."""
    alike: Float[Tensor, " m"]
    """Cosine of the two sources."""
    words: Float[Tensor, " m"]
    """Cosine of the two instructions."""
    crossed: Float[Tensor, " m"]
    """The lesser of the cosines of either step with the other's instruction."""

    def __len__(self) -> int:
        return len(self.a)

    def where(self, kept: Bool[Tensor, " m"]) -> "Candidates":
        """Those that are marked."""
        return Candidates(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def mine(vectors: Vectors, config: MiningConfig, seed: int) -> Candidates:
    """Of each pair the nearest candidate that passes the filters, each two pairs once; `ValueError` for one pair."""
    found = find_candidates(vectors, config, seed)
    return each_once(first_of_each(found.where(passes(found, config))))


def find_candidates(vectors: Vectors, config: MiningConfig, seed: int) -> Candidates:
    """The nearest steps of every pair inside its cluster, with all cosines that filters ask for."""
    count = len(vectors.sources)
    if count < 2:
        raise ValueError(f"mining needs two pairs with an instruction or more, got {count}; make more pairs")
    steps = vectors.steps()  # of length 1, so that a cluster holds gentle and drastic edits of one direction
    labels = cluster(steps, config.clusters or cluster_count(count), seed, STEPS_OF_ONE).labels
    near = nearest_within(steps, labels, min(config.neighbours, count - 1))
    a = torch.arange(count).repeat_interleave(near.ids.shape[1])
    b, step = near.ids.flatten().cpu(), near.similarity.flatten().cpu()
    a, b, step = a[b >= 0], b[b >= 0], step[b >= 0]
    words = _centred(vectors.words)
    crossed = torch.minimum(_cosines(steps, a, words, b), _cosines(steps, b, words, a))
    alike = _cosines(vectors.sources, a, vectors.sources, b)
    return Candidates(a, b, step, alike, _cosines(vectors.words, a, vectors.words, b), crossed)


def cluster_count(pairs: int) -> int:
    """K from the number of pairs: the root of half of it, between `FEWEST` and `MOST`, and never more than pairs."""
    return min(pairs, MOST, max(FEWEST, round(math.sqrt(pairs / 2))))


def passes(found: Candidates, config: MiningConfig) -> Bool[Tensor, " m"]:
    """Candidates whose sources differ enough and whose instructions agree, in words and with the other's step."""
    agree = (found.words >= config.least_words) & (found.crossed >= config.least_crossed)
    return agree & (found.alike <= config.most_alike)


def first_of_each(found: Candidates) -> Candidates:
    """The nearest candidate of every pair that has one left."""
    first = torch.ones(len(found), dtype=torch.bool)
    first[1:] = found.a[1:] != found.a[:-1]
    return found.where(first)


def each_once(found: Candidates) -> Candidates:
    """Every two pairs once: (a, b) and (b, a) hold the same pictures, and training draws either as the example."""
    ends = torch.stack([torch.minimum(found.a, found.b), torch.maximum(found.a, found.b)], 1)
    _, inverse = torch.unique(ends, dim=0, return_inverse=True)
    place = torch.arange(len(found))
    firsts = torch.full((int(inverse.max()) + 1 if len(found) else 0,), len(found))
    firsts.scatter_reduce_(0, inverse, place, "amin")
    return found.where(torch.isin(place, firsts))


def _centred(words: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Vectors of texts without what all texts share, which steps, being differences, have lost."""
    mean = words.mean(0, dtype=torch.float32)
    centred = torch.empty_like(words)
    for block, own in zip(centred.split(ROWS), words.split(ROWS), strict=True):
        block.copy_(F.normalize(own.float() - mean, dim=1))
    return centred


def _cosines(
    x: Float[Tensor, "n d"], rows: Int[Tensor, " m"], y: Float[Tensor, "n d"], others: Int[Tensor, " m"]
) -> Float[Tensor, " m"]:
    """Cosines of rows of `x` with rows of `y`, in blocks; all have length 1."""
    blocks = zip(rows.split(ROWS), others.split(ROWS), strict=True)
    return torch.cat([einsum(x[i].float(), y[j].float(), "m d, m d -> m").cpu() for i, j in blocks])

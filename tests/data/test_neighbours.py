"""Exact neighbours: those of scikit-learn, of all points or of one's own cluster."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from viral.data import neighbours
from viral.data.neighbours import nearest, nearest_within


@pytest.fixture
def points() -> Tensor:
    return torch.randn(700, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[(4096, 16384), (100, 90)], ids=["one block", "many blocks"], autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "QUERIES", request.param[0])
    monkeypatch.setattr(neighbours, "KEYS", request.param[1])


@pytest.mark.parametrize("count", [1, 5, 40])
def test_neighbours_are_those_of_scikit_learn(points: Tensor, count: int) -> None:
    queries = torch.randn(150, 8, generator=torch.Generator().manual_seed(1))
    theirs = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="cosine").fit(points.double().numpy())
    distances, ids = theirs.kneighbors(queries.double().numpy())
    ours = nearest(queries, points, count)
    assert torch.equal(ours.ids, torch.from_numpy(ids))
    assert torch.allclose(ours.similarity, 1 - torch.from_numpy(distances).float(), atol=1e-5)


def test_neighbours_within_a_cluster_are_never_oneself(points: Tensor) -> None:
    points[400:500] = points[300:400]  # twins, which are neighbours of each other
    labels = torch.randint(3, (700,), generator=torch.Generator().manual_seed(2))
    found = nearest_within(points, labels, 4)
    assert (found.ids != torch.arange(700)[:, None]).all()
    assert torch.equal(labels[found.ids], labels[:, None].expand(-1, 4))
    unit = torch.nn.functional.normalize(points)
    similarity = (unit @ unit.T).masked_fill(labels[:, None] != labels, -torch.inf).fill_diagonal_(-torch.inf)
    assert torch.allclose(found.similarity, similarity.topk(4).values, atol=1e-6)


def test_clusters_of_few_points_have_few_neighbours(points: Tensor) -> None:
    found = nearest_within(points[:3], torch.tensor([4, 4, 1]), 2)
    assert found.ids.tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert found.similarity[2].tolist() == [-torch.inf, -torch.inf]
    assert nearest(points[:2], points[:1], 2).ids.tolist() == [[0, -1], [0, -1]]

"""K-Means: Lloyd's iteration as scikit-learn takes it, seeds, blocks, empty clusters."""

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from viral.data import clusters
from viral.data.clusters import cluster, refine, seed_centres


@pytest.fixture
def points() -> Tensor:
    """Points around ten centres."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(10, 16, generator=generator)
    return centres[torch.randint(10, (500,), generator=generator)] + torch.randn(500, 16, generator=generator)


def test_iterations_are_those_of_scikit_learn(points: Tensor) -> None:
    start = points[:20]
    theirs = KMeans(20, init=start.numpy(), n_init=1, max_iter=4, tol=0).fit(points.numpy())
    ours = refine(points, start, 4)
    assert torch.equal(ours.labels, torch.from_numpy(theirs.labels_).long())
    assert torch.allclose(ours.centres, torch.from_numpy(theirs.cluster_centers_), atol=1e-5)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)


def test_seeded_centres_find_the_clusters_that_are_there(points: Tensor) -> None:
    found = cluster(points, 10, seed=0)
    assert found.inertia < 1.2 * 16 * len(points)
    assert torch.equal(cluster(points, 10, seed=0).labels, found.labels)
    assert not torch.equal(seed_centres(points, 10, seed=1), seed_centres(points, 10, seed=0))


def test_blocks_change_nothing(points: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cluster(points, 7, seed=3)
    monkeypatch.setattr(clusters, "BLOCK", 7 * 30)
    split = cluster(points, 7, seed=3)
    assert torch.equal(split.labels, whole.labels)
    assert torch.allclose(split.centres, whole.centres, atol=1e-5)


def test_a_cluster_that_nobody_chose_begins_anew(points: Tensor) -> None:
    far = torch.full((1, 16), 1e4)
    found = refine(points, torch.cat([points[:4], far]), 10)
    assert (torch.bincount(found.labels, minlength=5) > 0).all()


def test_equal_points_cluster_too() -> None:
    found = cluster(torch.ones(6, 3), 3, seed=0)
    assert found.inertia == 0
    assert torch.equal(found.centres, torch.ones(3, 3))


@pytest.mark.parametrize("count", [0, 501])
def test_more_clusters_than_points_are_refused(points: Tensor, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} clusters were asked for of 500 points"):
        cluster(points, count, seed=0)

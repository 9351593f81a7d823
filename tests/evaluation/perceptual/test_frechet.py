import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance

from tests.evaluation.perceptual.cases import case, noise
from viral.evaluation.perceptual.frechet import Frechet, frechet_distance


def sets(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix, rng.normal(size=(m, d)) @ mix.T + 0.5


def test_the_distance_is_that_of_the_matrix_root() -> None:
    one, other = sets(50, 40, 6)
    covariances = [np.cov(x, rowvar=False) for x in (one, other)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    expected = apart + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


class Flat(torch.nn.Module):
    """Features that torchmetrics gets: the first pixels of an image."""

    num_features = 5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :5].double()


def test_the_distance_is_that_of_torchmetrics() -> None:
    rng = np.random.default_rng(1)
    one, other = (rng.integers(256, size=(n, 3, 4, 4)).astype(np.uint8) for n in (20, 30))
    theirs = FrechetInceptionDistance(Flat()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(one), real=True)
    theirs.update(torch.from_numpy(other), real=False)
    ours = frechet_distance(*(x.reshape(len(x), -1)[:, :5].astype(float) for x in (one, other)))
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-4)


def test_fewer_images_than_features_have_a_distance() -> None:
    """Where the root of a singular matrix is in doubt: two sets that differ by a shift alone."""
    one, _ = sets(5, 5, 40)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + 0.5) == pytest.approx(40 * 0.25, rel=1e-6)


def test_sets_that_are_equal_in_another_order_are_no_distance_apart() -> None:
    pixels = lambda images: torch.stack([torch.from_numpy(np.array(image)).float().mean((0, 1)) for image in images])
    cases = [case(seed, truth=noise(seed)) for seed in range(4)]
    rows = Frechet(pixels)(cases, [noise(seed) for seed in (3, 1, 0, 2)])
    assert rows.shape == (4, 6) and frechet_distance(*np.split(rows, 2, axis=1)) == pytest.approx(0, abs=1e-6)

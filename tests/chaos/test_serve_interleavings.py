"""Two adapters on one base, in many orders."""

from tests.serve.test_adapters import folders, interleave, load, painted

__all__ = ["folders", "load", "painted"]


def test_200_random_interleavings_of_two_adapters_equal_sequential_runs(load, folders, painted):
    interleave(load, folders, painted, keep=2, rounds=200)

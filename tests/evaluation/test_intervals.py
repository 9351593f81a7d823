import numpy as np
import pytest
from scipy.stats import bootstrap

from viral.evaluation.intervals import grouped_interval, paired_interval


def test_a_method_against_itself_has_an_interval_that_contains_zero():
    scores = np.random.default_rng(0).normal(size=40)
    interval = paired_interval(scores - scores, 2000, seed=0)
    assert interval.low <= 0 <= interval.high


def test_chance_differences_have_an_interval_that_contains_zero():
    differences = np.random.default_rng(0).normal(size=40)
    interval = paired_interval(differences - differences.mean(), 2000, seed=0)
    assert interval.low < 0 < interval.high


def test_a_clearly_better_method_has_an_interval_above_zero():
    interval = paired_interval(np.random.default_rng(0).normal(1.0, 0.5, size=40), 2000, seed=0)
    assert 0 < interval.low < interval.mean < interval.high


def test_intervals_agree_with_scipy():
    differences = np.random.default_rng(1).normal(0.3, 1.0, size=48)
    ours = paired_interval(differences, 20_000, seed=0)
    theirs = bootstrap((differences,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_the_same_seed_gives_the_same_interval():
    differences = np.arange(10.0)
    assert paired_interval(differences, 500, seed=3) == paired_interval(differences, 500, seed=3)


def test_no_difference_at_all_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        paired_interval(np.array([]), 500, seed=0)


def test_groups_of_one_value_each_are_resampled_as_values_are():
    values = np.random.default_rng(2).normal(size=30)
    grouped = grouped_interval(values, [str(i) for i in range(30)], 4000, seed=0)
    plain = paired_interval(values, 4000, seed=0)
    assert (grouped.mean, grouped.low, grouped.high) == pytest.approx((plain.mean, plain.low, plain.high), abs=0.05)


def test_values_of_one_group_count_no_more_than_the_group():
    values = np.repeat(np.random.default_rng(3).normal(size=10), 20)
    together = grouped_interval(values, [str(i // 20) for i in range(200)], 2000, seed=0)
    apart = grouped_interval(values, [str(i) for i in range(200)], 2000, seed=0)
    assert together.high - together.low > 3 * (apart.high - apart.low)

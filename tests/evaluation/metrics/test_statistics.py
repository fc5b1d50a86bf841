"""Intervals and tests: values by hand, theory, and scipy's tests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import nnrec.evaluation.metrics.statistics
from nnrec.evaluation import metrics


def test_the_interval_of_a_mean_is_what_theory_says():
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    low, high = metrics.bootstrap_interval(values, draws=4000)
    # Mean +- 1.96 standard errors; the quantiles of 4,000 draws vary by about 3% of that.
    error = 1.96 * values.std() / np.sqrt(2000)
    assert [low, high] == pytest.approx([values.mean() - error, values.mean() + error], abs=0.06 * error)
    narrow = metrics.bootstrap_interval(values, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_the_interval_of_two_users():
    # Resamples of (0, 1): mean 0, 1/2, 1 with chances 1/4, 1/2, 1/4. The middle 40% is 1/2, the middle 90% everything.
    values = np.array([0.0, 1.0])
    assert metrics.bootstrap_interval(values, confidence=0.4).tolist() == [0.5, 0.5]
    assert metrics.bootstrap_interval(values, confidence=0.9).tolist() == [0, 1]


def test_the_interval_of_a_ratio():
    # Two users with squared errors 8 of 2 ratings and 1 of 1: 4, 9 / 3 = 3 or 1.
    errors, counts = np.array([8.0, 1.0]), np.array([2, 1])
    assert metrics.bootstrap_interval(errors, counts, confidence=0.4).tolist() == [3, 3]
    assert metrics.bootstrap_interval(errors, counts, confidence=0.9).tolist() == [1, 4]


def test_users_without_a_value_are_left_out():
    # Three users, one with a value: every draw that holds it has mean 7, the others are passed over.
    values = np.array([[7.0, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    assert np.array_equal(metrics.bootstrap_interval(values), [[7, np.nan], [7, np.nan]], equal_nan=True)
    assert metrics.bootstrap_interval(np.array([7.0])).tolist() == [7, 7]


def test_intervals_by_name_share_their_resamples(monkeypatch):
    rng = np.random.default_rng(1)
    values = {"a": rng.random(50), "b": rng.random(50)}
    values["b"][::3] = np.nan
    found = metrics.bootstrap_intervals(values, draws=200, seed=3)
    # The result does not depend on the number of draws held at a time.
    monkeypatch.setattr(nnrec.evaluation.metrics.statistics, "RESAMPLED_ENTRIES", 120)
    for name, value in values.items():
        expected = metrics.bootstrap_interval(value, draws=200, seed=3)
        assert found[name] == pytest.approx(tuple(expected))
        assert metrics.bootstrap_interval(value, draws=200, seed=4)[0] != expected[0]
    assert metrics.bootstrap_intervals({}) == {}


def test_bootstrap_refuses_what_it_cannot_draw_from():
    with pytest.raises(ValueError, match=r"Received: shapes \(\(0,\), None\)"):
        metrics.bootstrap_interval(np.empty(0))
    with pytest.raises(ValueError, match=r"Received: shapes \(\(3,\), \(2,\)\)"):
        metrics.bootstrap_interval(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="confidence lies between 0 and 1. Received: 95"):
        metrics.bootstrap_interval(np.ones(3), confidence=95)


def test_paired_test_by_hand():
    # Differences 1 1 1 1 1: of the 32 sign patterns 2 are as extreme, 1/16. The sixth user lacks a value.
    a, b = np.array([2.0, 3, 4, 5, 6, np.nan]), np.array([1.0, 2, 3, 4, 5, 9])
    found = metrics.paired_test(a, b)
    assert found.p_value == pytest.approx(1 / 16, abs=0.008)
    assert found[:3] == (1.0, 1.0, 1.0)
    assert found.num_users == 5
    # Differences 3 1 -1 and 0: |sum| >= 3 for +++ and ++- and +-+ (5, 3, 3) and the negatives, 6 of 8.
    found = metrics.paired_test(np.array([3.0, 1, 0, 2]), np.array([0.0, 0, 1, 2]))
    assert found.p_value == pytest.approx(6 / 8, abs=0.015)
    assert found.difference == pytest.approx(3 / 4)


def test_paired_test_agrees_with_scipy():
    rng = np.random.default_rng(2)
    a = rng.random(40)
    b = a + rng.normal(0.06, 0.2, 40)
    found = metrics.paired_test(a, b)
    expected = scipy.stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", vectorized=True, n_resamples=9999, rng=np.random.default_rng(3)
    )
    assert 0.005 < found.p_value < 0.5
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert found.low < found.difference < found.high
    swapped = metrics.paired_test(b, a)
    assert swapped.difference == pytest.approx(-found.difference)
    assert swapped.p_value == pytest.approx(found.p_value, abs=0.02)


def test_equal_models_do_not_differ():
    # Differences .3 -.2 -.1: their sum is 0 but for rounding, and no pattern of signs is less extreme.
    assert metrics.paired_test(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])) == (0, 0, 0, 1, 3)
    assert metrics.paired_test(np.array([0.3, 0.1, 0.2]), np.array([0.0, 0.3, 0.3])).p_value == 1


def test_chance_is_found_as_often_as_the_level_says():
    rng = np.random.default_rng(5)
    found = [metrics.paired_test(*rng.random((2, 30)), draws=400).p_value for _ in range(300)]
    # Expected .1 of 300, standard deviation .017.
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.06)


def test_paired_test_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match=r"Received: shapes \(3,\) and \(2,\)"):
        metrics.paired_test(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="No user has both values. Received: 2 users"):
        metrics.paired_test(np.array([1, np.nan]), np.array([np.nan, 1]))


def test_holm():
    # Ascending .01 .02 .03 .5: times 4, 3, 2, 1 .04 .06 .06 .5.
    assert metrics.holm(np.array([0.5, 0.01, 0.03, 0.02])) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    # .4 * 2 = .8, then .3 is not less: the larger of .8 and .45; all at most 1.
    assert metrics.holm(np.array([0.45, 0.4])) == pytest.approx([0.8, 0.8])
    assert metrics.holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert metrics.holm(np.array([0.03])) == pytest.approx([0.03])
    assert metrics.holm(np.empty(0)).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_below_bonferroni(p_values):
    p = np.array(p_values)
    adjusted = metrics.holm(p)
    assert np.all((adjusted >= p) & (adjusted <= np.minimum(1, p * len(p))))
    assert np.all(np.diff(adjusted[np.argsort(p)]) >= 0)

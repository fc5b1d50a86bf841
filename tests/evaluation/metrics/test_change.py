"""Change between lists: golden values by hand, and identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.evaluation import metrics

# The same, reordered, two of three new, all new, shortened, all gone, never there.
BEFORE = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [-1, -1, -1]])
AFTER = np.array([[1, 2, 3], [3, 2, 1], [0, 4, 1], [4, 5, 6], [1, 2, -1], [-1, -1, -1], [-1, -1, -1]])


def test_churn():
    # Shared 3, 3, 1, 0, 2, 0 of 3.
    assert metrics.churn(BEFORE, AFTER) == pytest.approx([0, 0, 2 / 3, 1, 1 / 3, 1, np.nan], nan_ok=True)
    # Two lists of two in three places: k is 2.
    assert metrics.churn(np.array([[7, 8, -1]]), np.array([[8, 9, -1]])) == pytest.approx([1 / 2])


def test_changed():
    assert metrics.changed(BEFORE, AFTER) == pytest.approx([0, 1, 1, 1, 1, 1, np.nan], nan_ok=True)
    # Any negative number marks the end of a list.
    assert metrics.changed(np.array([[7, -1]]), np.array([[7, -2]])).tolist() == [0]


def test_rank_biased_overlap():
    # p = .5, k = 3; weights (1-p)/p p^d = .5, .25, .125, and p^3 = .125 for the agreement at depth 3.
    # Reordered: agreement 0, 1/2, 1: .125 + .125 + .125. Two of three new: 0, 0, 1/3: .125 / 3 * 2.
    # Shortened: 1, 1, 2/3: .5 + .25 + .125 * 2/3 + .125 * 2/3.
    found = metrics.rank_biased_overlap(BEFORE, AFTER, p=0.5)
    assert found == pytest.approx([1, 0.375, 0.25 / 3, 0, 0.75 + 0.5 / 3, 0, np.nan], nan_ok=True)
    # The first places weigh most: the last of three items exchanged, the first of three items exchanged.
    late, early = metrics.rank_biased_overlap(BEFORE[:2], np.array([[1, 2, 4], [4, 2, 3]]))
    assert late > early


def test_lists_of_different_shapes_are_refused():
    for metric in (metrics.churn, metrics.changed, metrics.rank_biased_overlap):
        with pytest.raises(ValueError, match=r"Received: \(7, 3\) and \(7, 2\)"):
            metric(BEFORE, AFTER[:, :2])
    with pytest.raises(ValueError, match="p lies between 0 and 1. Received: 1"):
        metrics.rank_biased_overlap(BEFORE, AFTER, p=1)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.9, 0.99]))
def test_relations(seed, p):
    rng = np.random.default_rng(seed)
    lists = [np.array([rng.permutation(9)[:4] for _ in range(5)]) for _ in range(2)]
    for part in lists:
        part[np.arange(4) >= rng.integers(1, 5, (5, 1))] = -1
    before, after = lists
    churn, overlap = metrics.churn(before, after), metrics.rank_biased_overlap(before, after, p)
    assert np.all((churn >= 0) & (churn <= 1))
    assert np.all((overlap >= 0) & (overlap <= 1 + 1e-12))
    np.testing.assert_array_equal(churn, metrics.churn(after, before))
    np.testing.assert_allclose(overlap, metrics.rank_biased_overlap(after, before, p))
    np.testing.assert_array_equal(overlap == 0, churn == 1)
    np.testing.assert_array_equal(np.isclose(overlap, 1, atol=1e-9), metrics.changed(before, after) == 0)
    for row in range(5):
        a, b = (set(part[row][part[row] >= 0].tolist()) for part in lists)
        assert churn[row] == pytest.approx(1 - len(a & b) / max(len(a), len(b)))
    np.testing.assert_allclose(metrics.rank_biased_overlap(before, before, p), 1)

"""Metrics: golden values by hand, and identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec import metrics

# User 0 likes items 3, 1, 7 and gets 5 3 1 0; user 1 likes 2 and gets 4 6 2, then nothing; user 2 likes nothing.
LISTS = np.array([[5, 3, 1, 0], [4, 6, 2, -1], [1, 2, 3, 4]])
OFFSETS, RELEVANT = np.array([0, 3, 4, 4]), np.array([3, 1, 7, 2])
HIT = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
NUM_RELEVANT = np.array([3, 1, 0])


def test_rmse_and_mae():
    value, prediction = np.array([4.0, 2.0, 5.0]), np.array([3.0, 2.0, 3.0])
    # Errors 1, 0, 2: sqrt(5 / 3) and 3 / 3.
    assert metrics.rmse(value, prediction) == pytest.approx(1.2909944)
    assert metrics.mae(value, prediction) == pytest.approx(1.0)
    # Weights 2, 1, 1: sqrt((2 + 0 + 4) / 4) and (2 + 0 + 2) / 4.
    weight = np.array([2.0, 1.0, 1.0])
    assert metrics.rmse(value, prediction, weight) == pytest.approx(1.2247449)
    assert metrics.mae(value, prediction, weight) == pytest.approx(1.0)


def test_errors_are_summed_in_double_precision():
    # A million errors of 0.1: summed in single precision the mean is off from the fifth digit on.
    value = np.full(1_000_000, 0.1, np.float32)
    assert metrics.mae(value, np.zeros_like(value)) == pytest.approx(0.1, rel=1e-7)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match=r"One prediction per value expected. Received: shapes \(3,\) and \(3, 1\)"):
        metrics.rmse(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match="no error to average"):
        metrics.mae(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="no error to average"):
        metrics.rmse(np.ones(2), np.ones(2), np.zeros(2))


def test_hits_compares_each_user_with_their_own_items():
    assert np.array_equal(metrics.hits(LISTS, OFFSETS, RELEVANT), HIT)
    # The same items, shifted by one user: nobody is given what is relevant to them.
    assert not metrics.hits(LISTS[[2, 0, 1]][:2], np.array([0, 0, 1]), np.array([2])).any()
    with pytest.raises(ValueError, match="One list per user"):
        metrics.hits(LISTS, OFFSETS[:-1], RELEVANT)


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (metrics.recall, 2, [1 / 3, 0, np.nan]),
        (metrics.recall, 4, [2 / 3, 1, np.nan]),
        (metrics.truncated_recall, 2, [1 / 2, 0, np.nan]),  # min(2, 3) = 2, min(2, 1) = 1
        (metrics.truncated_recall, 4, [2 / 3, 1, np.nan]),
        (metrics.precision, 2, [1 / 2, 0, np.nan]),
        (metrics.precision, 4, [2 / 4, 1 / 4, np.nan]),
        (metrics.mrr, 2, [1 / 2, 0, np.nan]),
        (metrics.mrr, 3, [1 / 2, 1 / 3, np.nan]),
        (metrics.hit_rate, 1, [0, 0, np.nan]),
        (metrics.hit_rate, 2, [1, 0, np.nan]),
        # Discounts of places 1, 2, 3, 4: 1, .6309298, .5, .4306766.
        # User 0, k = 4: (.6309298 + .5) / (1 + .6309298 + .5); user 1: .5 / 1.
        (metrics.ndcg, 4, [1.1309298 / 2.1309298, 0.5, np.nan]),
        # k = 2: .6309298 / (1 + .6309298); user 1 has no hit yet.
        (metrics.ndcg, 2, [0.6309298 / 1.6309298, 0, np.nan]),
    ],
)
def test_ranking_metrics_by_hand(metric, k, expected):
    assert metric(HIT, NUM_RELEVANT, k) == pytest.approx(expected, abs=1e-7, nan_ok=True)


def test_ranking_averages_over_users_with_a_relevant_item():
    found = metrics.ranking(LISTS, OFFSETS, RELEVANT, (2, 4))
    assert found["recall@2"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["precision@4"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found["mrr@4"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert sorted(found) == sorted(
        f"{name}@{k}" for name in ("recall", "precision", "ndcg", "mrr", "hit_rate") for k in (2, 4)
    )
    truncated = metrics.ranking(LISTS, OFFSETS, RELEVANT, [2], truncated=True)
    assert truncated["recall_min@2"] == pytest.approx((1 / 2 + 0) / 2)
    assert "recall@2" not in truncated
    with pytest.raises(ValueError, match="No user has a relevant item"):
        metrics.ranking(LISTS, np.zeros(4, int), np.empty(0, int), [2])
    with pytest.raises(ValueError, match="k=0"):
        metrics.recall(HIT, NUM_RELEVANT, 0)


def test_a_list_shorter_than_k_has_ended():
    wide = np.pad(HIT, ((0, 0), (0, 6)))
    for metric in (metrics.recall, metrics.truncated_recall, metrics.precision, metrics.ndcg, metrics.mrr):
        np.testing.assert_array_equal(metric(HIT, NUM_RELEVANT, 10), metric(wide, NUM_RELEVANT, 10))


@st.composite
def rankings(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists without repeats over 12 items, and at least one relevant item for each user."""
    num_users, length = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    lists = np.array([draw(st.permutations(range(12)))[:length] for _ in range(num_users)])
    relevant = [draw(st.sets(st.integers(0, 11), min_size=1)) for _ in range(num_users)]
    offsets = np.cumsum([0, *map(len, relevant)])
    return lists, offsets, np.array([item for items in relevant for item in items])


@given(rankings(), st.integers(1, 12))
def test_ranges_and_relations(case, k):
    lists, offsets, relevant = case
    hit, num_relevant = metrics.hits(lists, offsets, relevant), np.diff(offsets)
    for row, place in np.ndindex(*hit.shape):
        assert hit[row, place] == (lists[row, place] in relevant[offsets[row] : offsets[row + 1]])
    figures = {
        metric: metric(hit, num_relevant, k)
        for metric in (
            metrics.recall, metrics.truncated_recall, metrics.precision, metrics.ndcg, metrics.mrr, metrics.hit_rate,
        )
    }  # fmt: skip
    assert all(np.all((values >= 0) & (values <= 1 + 1e-12)) for values in figures.values())
    assert np.all(figures[metrics.recall] <= figures[metrics.truncated_recall])
    np.testing.assert_allclose(figures[metrics.recall] * num_relevant, figures[metrics.precision] * k)
    assert np.all(figures[metrics.mrr] <= figures[metrics.hit_rate])
    np.testing.assert_array_equal(figures[metrics.hit_rate] > 0, figures[metrics.ndcg] > 0)


@given(rankings(), st.integers(1, 12))
def test_one_relevant_item_per_list(case, k):
    lists, offsets, relevant = case
    hit = metrics.hits(lists, np.arange(len(lists) + 1), relevant[offsets[:-1]])
    ones = np.ones(len(lists), int)
    np.testing.assert_array_equal(metrics.recall(hit, ones, k), metrics.hit_rate(hit, ones, k))
    np.testing.assert_array_equal(metrics.recall(hit, ones, k), metrics.truncated_recall(hit, ones, k))
    # One hit at place r: reciprocal rank 1 / r, NDCG 1 / log2(r + 1).
    rank = metrics.mrr(hit, ones, k)
    found = rank > 0
    np.testing.assert_allclose(metrics.ndcg(hit, ones, k)[found], 1 / np.log2(1 / rank[found] + 1))


@given(rankings())
def test_the_perfect_list_scores_one(case):
    lists, offsets, relevant = case
    counts = np.diff(offsets)
    best = np.full((len(counts), 12), -1)
    for row, count in enumerate(counts):
        best[row, :count] = relevant[offsets[row] : offsets[row + 1]]
    for k in (1, 5, 12):
        found = metrics.ranking(best, offsets, relevant, [k], truncated=True)
        assert [found[f"{name}@{k}"] for name in ("recall_min", "ndcg", "mrr", "hit_rate")] == pytest.approx([1.0] * 4)

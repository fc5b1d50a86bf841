"""Ranking metrics: golden values by hand, and identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.evaluation import metrics

# User 0 likes items 3, 1, 7 and gets 5 3 1 0; user 1 likes 2 and gets 4 6 2, then nothing; user 2 likes nothing.
LISTS = np.array([[5, 3, 1, 0], [4, 6, 2, -1], [1, 2, 3, 4]])
OFFSETS, RELEVANT = np.array([0, 3, 4, 4]), np.array([3, 1, 7, 2])
HIT = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
NUM_RELEVANT = np.array([3, 1, 0])
PER_USER = (
    metrics.recall,
    metrics.truncated_recall,
    metrics.precision,
    metrics.ndcg,
    metrics.average_precision,
    metrics.mrr,
    metrics.reciprocal_hit_rank,
    metrics.hit_rate,
)


def test_hits_compares_each_user_with_their_own_items():
    assert np.array_equal(metrics.hits(LISTS, OFFSETS, RELEVANT), HIT)
    # The same items, shifted by one user: no user's list has a relevant item.
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
        # Precision at the hits: user 0 1/2 at place 2, 2/3 at place 3; over min(4, 3). User 1: 1/3 over min(4, 1).
        (metrics.average_precision, 4, [(1 / 2 + 2 / 3) / 3, 1 / 3, np.nan]),
        (metrics.average_precision, 2, [1 / 2 / 2, 0, np.nan]),  # over min(2, 3)
        (metrics.reciprocal_hit_rank, 4, [1 / 2 + 1 / 3, 1 / 3, np.nan]),
        (metrics.reciprocal_hit_rank, 2, [1 / 2, 0, np.nan]),
    ],
)
def test_ranking_metrics_by_hand(metric, k, expected):
    assert metric(HIT, NUM_RELEVANT, k) == pytest.approx(expected, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("metric", PER_USER)
def test_one_user_an_empty_list_and_k_beyond_the_list(metric):
    assert metric(np.zeros((1, 0), bool), np.array([2]), 5).tolist() == [0.0]
    assert np.isnan(metric(np.ones((1, 1), bool), np.array([0]), 5)).all()
    # A catalogue of one item, liked and listed. Only precision notices that the list ended: 1 / 5.
    found = metric(np.ones((1, 1), bool), np.array([1]), 5)
    assert found.tolist() == [0.2 if metric is metrics.precision else 1.0]
    assert found.dtype == np.float64
    with pytest.raises(ValueError, match="A list is 1 or more long. Received: k=0"):
        metric(HIT, NUM_RELEVANT, 0)


@pytest.mark.parametrize("metric", PER_USER)
def test_a_list_shorter_than_k_has_ended(metric):
    wide = np.pad(HIT, ((0, 0), (0, 6)))
    np.testing.assert_array_equal(metric(HIT, NUM_RELEVANT, 10), metric(wide, NUM_RELEVANT, 10))


def test_ranking_per_user():
    found = metrics.ranking_per_user(LISTS, OFFSETS, RELEVANT, (2, 4))
    names = ("recall", "recall_min", "precision", "ndcg", "map", "mrr", "hit_rate", "arhr")
    assert list(found) == [f"{name}@{k}" for name in names for k in (2, 4)]
    for name, metric in zip(names, (PER_USER[i] for i in (0, 1, 2, 3, 4, 5, 7, 6)), strict=True):
        np.testing.assert_array_equal(found[f"{name}@4"], metric(HIT, NUM_RELEVANT, 4))
    assert list(metrics.ranking_per_user(LISTS, OFFSETS, RELEVANT, [4], ["map"])) == ["map@4"]
    with pytest.raises(ValueError, match="Received: recal$"):
        metrics.ranking_per_user(LISTS, OFFSETS, RELEVANT, [4], ["recal", "map"])


# Four users with one held-out item each: hits at places 1, 3 and 2, and none; and a fifth without a held-out item.
LEFT_OUT_HIT = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
LEFT_OUT = np.array([1, 1, 1, 1, 0])


def test_cumulative_hit_rate_by_the_true_rating_leaves_users_out():
    rating = np.array([5.0, 3.0, 4.0, 4.0, 5.0])
    # At 4 or more: users 0, 2 and 3; the list of 3 hits for 0 and 2, that of 1 for 0.
    found = metrics.cumulative_hit_rate(LEFT_OUT_HIT, LEFT_OUT, 3, rating, 4.0)
    assert found == pytest.approx([1, np.nan, 1, 0, np.nan], nan_ok=True)
    found = metrics.cumulative_hit_rate(LEFT_OUT_HIT, LEFT_OUT, 1, rating, 4.0)
    assert found == pytest.approx([1, np.nan, 0, 0, np.nan], nan_ok=True)


def test_cumulative_hit_rate_by_predicted_ratings_throws_hits_away():
    predicted = np.array([[4.5, 4.0, 3.0], [5.0, 4.5, 4.0], [3.9, 3.8, 3.7], [5, 5, 5], [5, 5, 5]])
    # Hits at 4.5, at 4.0 (which counts) and at 3.8 (which does not); all users stay in the mean.
    found = metrics.cumulative_hit_rate(LEFT_OUT_HIT, LEFT_OUT, 3, predicted, 4.0)
    assert found == pytest.approx([1, 1, 0, 0, np.nan], nan_ok=True)
    with pytest.raises(ValueError, match=r"Received: shapes \(2,\) and \(5, 3\)"):
        metrics.cumulative_hit_rate(LEFT_OUT_HIT, LEFT_OUT, 3, np.ones(2), 4.0)


def test_hit_rate_by_true_rating():
    rating = np.array([5.0, 4.0, 5.0, 4.0, 4.0])
    # Rating 4: users 1 (hit at 3) and 3 (none); rating 5: users 0 (1) and 2 (2). User 4 has no held-out item.
    assert metrics.hit_rate_by_value(LEFT_OUT_HIT, LEFT_OUT, 3, rating) == {4.0: (0.5, 2), 5.0: (1.0, 2)}
    assert metrics.hit_rate_by_value(LEFT_OUT_HIT, LEFT_OUT, 1, rating) == {4.0: (0.0, 2), 5.0: (0.5, 2)}


def test_hit_rate_by_predicted_rating():
    predicted = np.array([5.7, 3.5, 3.49, -2.0, 3.0])
    # Nearest of 1 ... 5: 5, 4 (half way goes up), 3, 1; user 4 has no held-out item, no user is at 2.
    found = metrics.hit_rate_by_value(LEFT_OUT_HIT, LEFT_OUT, 2, predicted, np.arange(1, 6))
    assert found == {1.0: (0.0, 1), 3.0: (1.0, 1), 4.0: (0.0, 1), 5.0: (1.0, 1)}
    assert metrics.hit_rate_by_value(LEFT_OUT_HIT, np.zeros(5, int), 2, predicted) == {}
    with pytest.raises(ValueError, match="One value per user"):
        metrics.hit_rate_by_value(LEFT_OUT_HIT, LEFT_OUT, 3, np.ones(2))


def test_target_ranks_under_ties():
    scores = np.array([[0.5, 0.9, 0.5, 0.5, 0.1], [2.0, 2.0, 2.0, 2.0, 2.0], [5.0, 4.0, 3.0, 2.0, -np.inf]])
    target = np.array([2, 0, 3])
    # Row 0: one above, three at .5 with the target; row 1: all five alike; row 2: three above, no tie.
    assert metrics.target_ranks(scores, target).tolist() == [2, 1, 4]
    assert metrics.target_ranks(scores, target, "conservative").tolist() == [4, 5, 4]
    assert metrics.target_ranks(scores, target, "median").tolist() == [3, 3, 4]


def test_metrics_of_ranks():
    rank = np.array([1, 2.5, 4, 20, np.nan])
    assert metrics.hit_rate_at(rank, 4) == pytest.approx([1, 1, 1, 0, np.nan], nan_ok=True)
    assert metrics.hit_rate_at(rank, 2) == pytest.approx([1, 0, 0, 0, np.nan], nan_ok=True)
    assert metrics.reciprocal_rank_at(rank, 4) == pytest.approx([1, 0.4, 0.25, 0, np.nan], nan_ok=True)


def test_target_ranks_refuses_what_it_cannot_rank():
    with pytest.raises(ValueError, match=r"Received: \(3,\) targets, \(2, 4\)"):
        metrics.target_ranks(np.zeros((2, 4)), np.zeros(3, int))
    with pytest.raises(ValueError, match="ties is standard, conservative or median. Received: 'average'"):
        metrics.target_ranks(np.zeros((1, 4)), np.zeros(1, int), "average")
    # NaN compares as below everything: its rank would be 1.
    with pytest.raises(ValueError, match="Received: NaN in 4 places"):
        metrics.target_ranks(np.full((1, 4), np.nan), np.zeros(1, int))


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
    figures = {metric: metric(hit, num_relevant, k) for metric in PER_USER}
    arhr = figures.pop(metrics.reciprocal_hit_rank)
    assert all(np.all((values >= 0) & (values <= 1 + 1e-12)) for values in figures.values())
    assert np.all(figures[metrics.recall] <= figures[metrics.truncated_recall])
    assert np.all(figures[metrics.average_precision] <= figures[metrics.truncated_recall] + 1e-12)
    np.testing.assert_allclose(figures[metrics.recall] * num_relevant, figures[metrics.precision] * k)
    assert np.all(figures[metrics.mrr] <= figures[metrics.hit_rate])
    assert np.all(figures[metrics.mrr] <= arhr)
    np.testing.assert_array_equal(figures[metrics.hit_rate] > 0, figures[metrics.ndcg] > 0)


@given(rankings(), st.integers(1, 12))
def test_one_relevant_item_per_list(case, k):
    lists, offsets, relevant = case
    hit = metrics.hits(lists, np.arange(len(lists) + 1), relevant[offsets[:-1]])
    ones = np.ones(len(lists), int)
    rank = metrics.mrr(hit, ones, k)
    for same in (metrics.hit_rate, metrics.truncated_recall):
        np.testing.assert_array_equal(metrics.recall(hit, ones, k), same(hit, ones, k))
    for same in (metrics.reciprocal_hit_rank, metrics.average_precision):
        np.testing.assert_allclose(rank, same(hit, ones, k))
    # One hit at place r: reciprocal rank 1 / r, NDCG 1 / log2(r + 1).
    found = rank > 0
    np.testing.assert_allclose(metrics.ndcg(hit, ones, k)[found], 1 / np.log2(1 / rank[found] + 1))


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_ranks_of_targets_agree_with_lists(seed, k):
    rng = np.random.default_rng(seed)
    scores, target = rng.permuted(np.tile(np.arange(12.0), (4, 1)), axis=1), rng.integers(12, size=4)
    hit, ones = metrics.hits(np.argsort(-scores, axis=1), np.arange(5), target), np.ones(4, int)
    for ties in ("standard", "conservative", "median"):
        rank = metrics.target_ranks(scores, target, ties)
        np.testing.assert_array_equal(metrics.hit_rate_at(rank, k), metrics.hit_rate(hit, ones, k))
        np.testing.assert_allclose(metrics.reciprocal_rank_at(rank, k), metrics.mrr(hit, ones, k))


@given(rankings())
def test_the_perfect_list_scores_one(case):
    lists, offsets, relevant = case
    counts = np.diff(offsets)
    best = np.full((len(counts), 12), -1)
    for row, count in enumerate(counts):
        best[row, :count] = relevant[offsets[row] : offsets[row + 1]]
    for k in (1, 5, 12):
        found = metrics.ranking_per_user(best, offsets, relevant, [k])
        for name in ("recall_min", "ndcg", "map", "mrr", "hit_rate"):
            assert found[f"{name}@{k}"] == pytest.approx(np.ones(len(counts)))

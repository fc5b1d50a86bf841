"""Lists as a whole: golden values by hand, brute force, and what is refused."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import nnrec.evaluation.metrics.lists
from nnrec.evaluation import metrics

# A catalogue of 6; by popularity 1 (9), 0 and 4 (4, the lower index first), 3 (2), 2 (1), 5 (0).
COUNTS = np.array([4, 9, 1, 2, 4, 0])
# The last list is empty.
LISTS = np.array([[1, 0, 5], [1, 4, 3], [2, -1, -1], [-1, -1, -1]])


def test_user_coverage():
    predicted = np.array([[3.0, 4.0], [3.9, 3.0], [4.5, -np.inf], [-np.inf, -np.inf], [np.nan, np.nan]])
    assert metrics.user_coverage(predicted, 4.0).tolist() == [1, 0, 1, 0, 0]
    # The same from the best prediction of each user alone.
    assert metrics.user_coverage(np.array([4.0, 3.9, 4.5, -np.inf, np.nan]), 4.0).tolist() == [1, 0, 1, 0, 0]


def test_catalogue_coverage_counts_items_that_nobody_rated():
    assert metrics.times_listed(LISTS, 6).tolist() == [1, 2, 1, 1, 1, 1]
    # All 6 of 6; the first places hold 1 and 2 alone: 2 of 6; in a catalogue of 12: 6 of 12.
    assert metrics.catalogue_coverage(LISTS, 6) == 1
    assert metrics.catalogue_coverage(LISTS[:, :1], 6) == pytest.approx(2 / 6)
    assert metrics.catalogue_coverage(LISTS, 12) == 0.5
    with pytest.raises(ValueError, match="Items of a catalogue of 5 expected. Received: item 5"):
        metrics.catalogue_coverage(LISTS, 5)


def test_gini():
    assert metrics.gini(np.array([3, 3, 3, 3])) == pytest.approx(0)
    assert metrics.gini(np.array([0, 0, 7, 0])) == pytest.approx(1)
    # Ascending 0 1 2 5 of 8, factors -3 -1 1 3 over n - 1 = 3: (0 - 1 + 2 + 15) / (3 * 8).
    assert metrics.gini(np.array([5, 0, 2, 1])) == pytest.approx(16 / 24)
    assert math.isnan(metrics.gini(np.zeros(4, int)))
    assert math.isnan(metrics.gini(np.array([4])))


def test_popularity_ranks_break_ties_by_index():
    assert metrics.ranks_by_popularity(COUNTS).tolist() == [2, 1, 5, 4, 3, 6]
    assert metrics.ranks_by_popularity(COUNTS.astype(np.uint8)).tolist() == [2, 1, 5, 4, 3, 6]


def test_novelty():
    # Ranks 1 2 6, 1 3 4, 5 alone, none.
    found = metrics.mean_popularity_rank(LISTS, COUNTS)
    assert found == pytest.approx([9 / 3, 8 / 3, 5, np.nan], nan_ok=True)
    # 16 users: log2(16/9) = .8300750, log2(16/4) = 2, log2(16/1) = 4 for both one interaction and none, log2(16/2) = 3.
    found = metrics.self_information(LISTS, COUNTS, 16)
    assert found == pytest.approx([6.830075 / 3, 5.830075 / 3, 4, np.nan], abs=1e-6, nan_ok=True)
    with pytest.raises(ValueError, match="Received: item 5"):
        metrics.mean_popularity_rank(LISTS, COUNTS[:5])


def test_popularity_share():
    # A fifth of 6 items, rounded up: 1 and 0. At one half: 1, 0, 4.
    assert metrics.popularity_share(LISTS, COUNTS) == pytest.approx([2 / 3, 1 / 3, 0, np.nan], nan_ok=True)
    assert metrics.popularity_share(LISTS, COUNTS, 0.5) == pytest.approx([2 / 3, 2 / 3, 0, np.nan], nan_ok=True)
    assert metrics.popularity_share(LISTS[:1], COUNTS, 1.0) == pytest.approx([1])
    with pytest.raises(ValueError, match="Received: 0"):
        metrics.popularity_share(LISTS, COUNTS, 0)


# User 0 has seen 4, user 1 has seen 0 and 2, users 2 and 3 nothing.
SEEN_OFFSETS, SEEN = np.array([0, 1, 3, 3, 3]), np.array([4, 2, 0])


def test_popularity_places():
    # User 0 would get 1 0 3 2 5, user 1 1 4 3 5, user 2 1 0 4 3 2 5.
    found = metrics.popularity_places(LISTS, COUNTS, SEEN_OFFSETS, SEEN)
    assert found.tolist() == [[1, 2, 5], [1, 2, 3], [5, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="Received: 4 lists, 3 users"):
        metrics.popularity_places(LISTS, COUNTS, SEEN_OFFSETS[:-1], SEEN)
    with pytest.raises(ValueError, match="Received: item 5"):
        metrics.popularity_places(LISTS, COUNTS[:5], SEEN_OFFSETS, SEEN)


def test_serendipity():
    places = metrics.popularity_places(LISTS, COUNTS, SEEN_OFFSETS, SEEN)
    hit, num_relevant = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]], bool), np.array([2, 3, 1, 0])
    # k = 3: of user 0's hits only item 5 (place 5) is beyond the baseline's three; of user 1's none; user 2's is.
    found = metrics.serendipity(hit, num_relevant, 3, places)
    assert found == pytest.approx([1 / 3, 0, 1 / 3, np.nan], nan_ok=True)
    # k = 1: user 0's hit 1 is what the baseline lists, user 1 has no hit.
    assert metrics.serendipity(hit, num_relevant, 1, places) == pytest.approx([0, 0, 1, np.nan], nan_ok=True)
    with pytest.raises(ValueError, match=r"Received: shapes \(4, 2\) and \(4, 3\)"):
        metrics.serendipity(hit, num_relevant, 1, places[:, :2])


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_popularity_itself_is_never_serendipitous(seed, k):
    rng = np.random.default_rng(seed)
    seen = rng.random((5, 8)) < 0.3
    counts = rng.integers(0, 4, 8)
    scores = np.where(seen, -np.inf, counts)
    lists = np.argsort(-scores, axis=1, kind="stable")
    lists = np.where(np.take_along_axis(seen, lists, axis=1), -1, lists)
    places = metrics.popularity_places(lists, counts, np.append(0, seen.sum(axis=1).cumsum()), np.nonzero(seen)[1])
    np.testing.assert_array_equal(places, np.where(lists >= 0, np.arange(1, 9), 0))
    assert not metrics.serendipity(lists >= 0, np.full(5, 8), k, places).any()


# Four users rated five items: columns (3,4,0,0), (3,4,0,0), (0,0,2,0), (4,-3,0,0) and zeros for an unrated item.
TRAINING = scipy.sparse.csr_array(np.array([[3, 3, 0, 4, 0], [4, 4, 0, -3, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 0.0]]))


def test_diversity_by_hand():
    diversity = metrics.Diversity.from_training(TRAINING)
    lists = np.array([[0, 1, 2, 4], [3, 0, 2, 1], [4, 0, -1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]])
    found = diversity(lists, (1, 2, 3, 4, 10))
    # Only 0 and 1 are alike (cosine 1); 3 . 0 = 12 - 12 = 0. List 0: 1 of 1, of 3, of 6 pairs; list 1: 0, 0, 1 of 6.
    # Item 4 has no ratings: similar to nothing. Lists of one or none have no pairs.
    assert found[2] == pytest.approx([0, 1, 1, np.nan, np.nan], nan_ok=True)
    assert found[3] == pytest.approx([2 / 3, 1, 1, np.nan, np.nan], nan_ok=True)
    assert found[4] == pytest.approx([5 / 6, 5 / 6, 1, np.nan, np.nan], nan_ok=True)
    np.testing.assert_array_equal(found[10], found[4])
    assert np.isnan(found[1]).all()


def test_diversity_of_content():
    # Genres {0, 1}, {1}, {2}: cosines 1/sqrt 2, 0, 0; mean similarity .7071068 / 3.
    found = metrics.Diversity(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]))(np.array([[2, 0, 1]]), [3])
    assert found[3] == pytest.approx([1 - 0.7071068 / 3], abs=1e-7)


def test_diversity_of_one_and_the_same_vector_is_zero():
    found = metrics.Diversity(np.full((20, 7), 0.1))(np.arange(20)[None, :], (2, 20))
    assert found[2] == pytest.approx([0], abs=1e-7)
    assert found[20] == pytest.approx([0], abs=1e-7)
    assert found[20] >= 0


def test_diversity_refuses_what_it_cannot_measure():
    diversity = metrics.Diversity.from_training(TRAINING)
    with pytest.raises(ValueError, match="Items of a catalogue of 5 expected. Received: item 5"):
        diversity(np.array([[0, 5]]), [2])
    with pytest.raises(ValueError, match=r"Received: cutoffs \[0, 2\]"):
        diversity(np.array([[0, 1]]), [0, 2])


@pytest.mark.parametrize("matrix_items", [8192, 0])
@given(
    seed=st.integers(0, 10_000),
    cutoffs=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    density=st.sampled_from([0.01, 0.3]),
)
def test_diversity_is_the_mean_over_pairs(matrix_items, seed, cutoffs, density):
    rng = np.random.default_rng(seed)
    training = rng.integers(1, 6, (12, 15)) * (rng.random((12, 15)) < density)
    lists = np.array([rng.permutation(15)[:7] for _ in range(6)])
    lists[np.arange(7) >= rng.integers(0, 8, (6, 1))] = -1
    with pytest.MonkeyPatch.context() as patch:
        # With similarities in a matrix, and adding vectors up; both for few users at a time.
        patch.setattr(nnrec.evaluation.metrics.lists, "MATRIX_ITEMS", matrix_items)
        patch.setattr(nnrec.evaluation.metrics.lists, "LOOKUP_ENTRIES", 100)
        patch.setattr(nnrec.evaluation.metrics.lists, "PRODUCT_ENTRIES", 12)
        found = metrics.Diversity.from_training(scipy.sparse.csr_array(training))(lists, cutoffs)
    norms = np.linalg.norm(training, axis=0)
    for k in cutoffs:
        for row, items in enumerate(lists[:, :k]):
            pairs = [
                training[:, i] @ training[:, j] / (norms[i] * norms[j]) if norms[i] * norms[j] else 0
                for i, j in combinations(items[items >= 0], 2)
            ]
            expected = 1 - sum(pairs) / len(pairs) if pairs else np.nan
            assert found[k][row] == pytest.approx(expected, abs=1e-6, nan_ok=True)
            assert np.isnan(expected) or -1e-12 <= found[k][row] <= 1 + 1e-12


@given(st.integers(0, 10_000))
def test_ranges(seed):
    rng = np.random.default_rng(seed)
    lists = np.array([rng.permutation(9)[:4] for _ in range(5)])
    lists[np.arange(4) >= rng.integers(1, 5, (5, 1))] = -1
    counts = rng.integers(0, 20, 9)
    rank, bits = metrics.mean_popularity_rank(lists, counts), metrics.self_information(lists, counts, 20)
    assert np.all((rank >= 1) & (rank <= 9))
    assert np.all((bits >= 0) & (bits <= math.log2(20)))
    share = metrics.popularity_share(lists, counts)
    assert np.all((share >= 0) & (share <= 1))
    assert 0 <= metrics.gini(metrics.times_listed(lists, 9)) <= 1
    assert 0 < metrics.catalogue_coverage(lists, 9) <= 1

"""Similarities: golden values, scipy's definitions, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from nnrec.core.errors import ConfigError
from nnrec.models.knn import similarity
from nnrec.models.knn.similarity import MEASURES, similarities

NAN = np.nan


def csr(dense) -> sparse.csr_array:
    """Every entry that is not nan, zeros included."""
    dense = np.asarray(dense, np.float64)
    row, column = np.nonzero(~np.isnan(dense))
    return sparse.csr_array((dense[row, column], (row, column)), shape=dense.shape)


def dense_of(vectors, measure, **options) -> np.ndarray:
    return similarities(csr(vectors), measure, **options).toarray()


# Rows x = (1, 2, 5, -), y = (2, 4, -, 1): in common the first two columns.
PAIR = [[1, 2, 5, NAN], [2, 4, NAN, 1]]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        # 1*2 + 2*4 = 10; |x|^2 = 1 + 4 + 25 = 30, |y|^2 = 4 + 16 + 1 = 21
        ("cosine", 10 / np.sqrt(30 * 21)),
        # Column means 1.5, 3: x - m = (-.5, -1), y - m = (.5, 1): the cosine is -1, which is not kept.
        ("adjusted_cosine", 0),
        # (1, 2) and (2, 4) lie on a line.
        ("pearson", 1),
        # The cosine of (1, 2) and (2, 4).
        ("pearson_baseline", 1),
        # Ranks x = (1, 2, 3), y = (2, 3, 1): in common (1, 2) and (2, 3).
        ("spearman", 1),
        # ((1 - 2)^2 + (2 - 4)^2) / 2 = 2.5
        ("msd", 1 / 3.5),
        # Two of four columns.
        ("jaccard", 2 / 4),
    ],
)
def test_golden_values(measure, expected):
    found = dense_of(PAIR, measure)
    np.testing.assert_allclose(found, [[0, expected], [expected, 0]], rtol=1e-6)


def test_adjusted_cosine_by_hand():
    # Columns (users) have the means 3, 2, 4: a = (1, -1, -), b = (2, -, 1), c = (-3, 1, -1).
    # a and b: 1*2 / sqrt(1 * 4) = 1. a and c: -3 - 1 < 0. b and c: -6 - 1 < 0.
    vectors = [[4, 1, NAN], [5, NAN, 5], [0, 3, 3]]
    np.testing.assert_allclose(dense_of(vectors, "adjusted_cosine"), [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-7)


def test_spearman_by_hand():
    # Ranks: x = (1, 2.5, 2.5, 4), the tie shared; y = (1, 2, 3, 4), z's rank of 9 is 5 of 5: (-, 2, 1, 3, 4).
    vectors = [[1, 3, 3, 5, NAN], [1, 2, 3, 4, NAN]]
    # Deviations (-1.5, 0, 0, 1.5) and (-1.5, -.5, .5, 1.5): 4.5 / sqrt(4.5 * 5) = .9487
    np.testing.assert_allclose(dense_of(vectors, "spearman")[0, 1], 4.5 / np.sqrt(4.5 * 5), rtol=1e-6)


def test_ranks_are_those_of_the_whole_row():
    # In common columns 0, 1, 2. x = (1, 2, 9, 5): ranks (1, 2, 4) of four; y = (1, 2, 3): ranks (1, 2, 3).
    vectors = [[1, 2, 9, 5], [1, 2, 3, NAN]]
    expected = stats.pearsonr([1, 2, 4], [1, 2, 3]).statistic
    assert expected < 0.99
    np.testing.assert_allclose(dense_of(vectors, "spearman")[0, 1], expected, rtol=1e-6)


def test_shrinkage_and_overlap():
    # n = 2: 2 / (2 + 3) of the jaccard similarity 2/4
    assert dense_of(PAIR, "jaccard", shrinkage=3)[0, 1] == pytest.approx(0.4 * 0.5)
    assert dense_of(PAIR, "jaccard", min_overlap=2)[0, 1] == pytest.approx(0.5)
    assert dense_of(PAIR, "jaccard", min_overlap=3)[0, 1] == 0


def test_a_value_of_zero_is_an_entry():
    # In common two of three columns, values apart; msd (0 + 4) / 2.
    vectors = [[0, 0, NAN], [0, 2, 1]]
    assert dense_of(vectors, "jaccard")[0, 1] == pytest.approx(2 / 3)
    assert dense_of(vectors, "msd")[0, 1] == pytest.approx(1 / 3)
    assert dense_of(vectors, "cosine")[0, 1] == 0


@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_no_spread_is_no_similarity(measure):
    # .1 has no exact binary form: sums of it leave rounding errors.
    assert dense_of([[0.1] * 7, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]], measure).max() == 0
    assert dense_of([[1, NAN, 2], [2, 3, NAN]], measure).max() == 0  # one in common


def test_the_nearest_are_kept_in_order_and_the_lower_index_first():
    # Jaccard with row 0 = {0, 1}: row 1 {0} 1/2, row 2 {0, 1} 1, row 3 {1} 1/2, row 4 {0} 1/2
    vectors = csr([[1, 1], [1, NAN], [1, 1], [NAN, 1], [1, NAN]])
    for neighbours, expected in ((1, [2]), (2, [2, 1]), (3, [2, 1, 3]), (None, [2, 1, 3, 4])):
        found = similarities(vectors, "jaccard", neighbours=neighbours)
        assert found.indices[: found.indptr[1]].tolist() == expected
    assert found.data[: found.indptr[1]].tolist() == [1, 0.5, 0.5, 0.5]


def brute(vectors: np.ndarray, measure: str, shrinkage: float, min_overlap: int) -> np.ndarray:
    """Pair by pair, with scipy."""
    size, given = len(vectors), ~np.isnan(vectors)
    columns = np.array([np.mean(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0 for column in vectors.T])
    result = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            common = given[i] & given[j]
            n = common.sum()
            if i == j or n < min_overlap:
                continue
            x, y = vectors[i], vectors[j]
            if measure == "spearman":
                x, y = (np.full(len(x), NAN) for _ in range(2))
                x[given[i]], y[given[j]] = (stats.rankdata(vectors[k][given[k]]) for k in (i, j))
            if measure == "adjusted_cosine":
                x, y = x - columns, y - columns
            a, b = x[common], y[common]
            if measure in ("pearson", "spearman"):
                value = stats.pearsonr(a, b).statistic if np.ptp(a) > 0 and np.ptp(b) > 0 else 0
            elif measure == "msd":
                value = 1 / (1 + np.mean((a - b) ** 2))
            elif measure == "jaccard":
                value = n / (given[i] | given[j]).sum()
            else:
                norms = (x[given[i]], y[given[j]]) if measure == "cosine" else (a, b)
                length = np.linalg.norm(norms[0]) * np.linalg.norm(norms[1])
                value = a @ b / length if length > 1e-12 else 0
            result[i, j] = max(value, 0) * n / (n + shrinkage)
    return result


@pytest.mark.parametrize("measure", MEASURES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), shrinkage=st.sampled_from([0, 2.5]), min_overlap=st.integers(1, 3))
def test_as_pair_by_pair(measure, seed, shrinkage, min_overlap):
    rng = np.random.default_rng(seed)
    vectors = np.where(rng.random((7, 9)) < 0.6, rng.integers(1, 6, (7, 9)), NAN)
    found = dense_of(vectors, measure, shrinkage=shrinkage, min_overlap=min_overlap)
    np.testing.assert_allclose(found, brute(vectors, measure, shrinkage, min_overlap), atol=2e-6)


def test_spearman_of_full_rows_is_scipys():
    vectors = np.random.default_rng(3).integers(1, 6, (4, 30))
    expected = stats.spearmanr(vectors, axis=1).statistic
    np.testing.assert_allclose(dense_of(vectors, "spearman"), np.maximum(expected - np.eye(4), 0), atol=1e-6)


def test_tiles_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = csr(np.where(rng.random((50, 30)) < 0.3, rng.integers(1, 6, (50, 30)), NAN))
    whole = similarities(vectors, "cosine", neighbours=5)
    monkeypatch.setattr(similarity, "TILE_ROWS", 7)
    tiled = similarities(vectors, "cosine", neighbours=5)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(whole, part), getattr(tiled, part))


def test_nothing_to_compare():
    assert similarities(sparse.csr_array((3, 4)), "spearman").nnz == 0
    assert similarities(sparse.csr_array((0, 4)), "cosine").shape == (0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "euclid"}, "model.similarity must be one of cosine, .*jaccard. Received: euclid"),
        ({"neighbours": 0}, "model.neighbours must be at least 1. Received: 0"),
        ({"shrinkage": -1}, "model.shrinkage must not be negative. Received: -1"),
        ({"min_overlap": 0}, "model.min_overlap must be at least 1. Received: 0"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        similarities(csr(PAIR), **{"measure": "cosine"} | options)

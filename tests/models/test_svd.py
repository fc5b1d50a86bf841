"""SVD: its scores and its folding in, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.factors.svd import SVD


def by_hand():
    """Two users, of which the second was not in training, and two items; one factor."""
    model = SVD(2, 2, factors=1, l2=1 / 21)
    model.rating_scale, model.mean, model.trained = np.array([1, 5]), np.float32(3), np.array([True, False])
    model.user_bias, model.item_bias = np.float32([0.5, 0]), np.float32([-0.25, 0.25])
    model.user_factors, model.item_factors = np.float32([[0.5], [0]]), np.float32([[2], [-1]])
    return model


def batch(value):
    """Either user's history: `value` for item 0."""
    return {
        "index": np.int32([0, 1]),
        "row": np.int32([0, 1]),
        "column": np.int32([0, 0]),
        "value": np.float32([value, value]),
        "weight": np.float32([1, 1]),
    }


def test_scores_of_equation_4():
    model = by_hand()
    queries = model.encode(batch(5))[:1]
    expected = [4.25, 3.25]  # 3 + .5 - .25 + .5 * 2 and 3 + .5 + .25 - .5
    np.testing.assert_allclose(model.score(queries), [expected])
    np.testing.assert_allclose(model.score(queries, np.array([1])), [expected[1:]])
    np.testing.assert_allclose(model.score_pairs(queries, np.array([0, 0]), np.array([1, 0])), expected[::-1])


def test_folding_in():
    # The residual is 5.35 - 3 + .25 = 2.6, the penalties l2 (1 + 20) = 1 on p and 5 on b. The least of
    # (2.6 - 2 p - b)^2 + p^2 + 5 b^2 is at p = 2 t, b = t / 5 with t = 2.6 / (1 + 2 * 2 / 1 + 1 / 5) = .5.
    np.testing.assert_allclose(by_hand().encode(batch(5.35))[1], [1, 0.1], rtol=1e-5)


def test_learns_two_ratings_by_hand():

    ratings = Ratings.build(
        users=Vocabulary(range(2)),
        items=Vocabulary(range(2)),
        user=np.int32([0, 1]),
        item=np.int32([0, 1]),
        value=np.float32([5, 1]),
    )
    model = SVD(2, 2, factors=1, epochs=1, learning_rate=0.1, initial_spread=1e-9)
    model.fit(ratings)
    # mu = 3, so e = 2 for user 0 and -2 for user 1: each bias moves by .1 e.
    np.testing.assert_allclose(model.user_bias, [0.2, -0.2], rtol=1e-5)
    np.testing.assert_allclose(model.item_bias, [0.2, -0.2], rtol=1e-5)
    assert np.abs(model.user_factors).max() == pytest.approx(0, abs=1e-6)

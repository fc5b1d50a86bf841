"""EASE: weights worked out by hand, against float64, no sight of the item itself."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.linear import ease, gram
from nnrec.models.linear.ease import EASE
from tests.models.small import batch_of, random_likes, ratings_of, weighted


def fitted(ratings, **settings):
    model = EASE(ratings.num_users, ratings.num_items, **settings)
    model.fit(ratings)
    return model


def scores_of(model, values, items=None):
    return model.score(model.encode(batch_of(values, new=True)), items)


# X'X = [[1, 1, 0], [1, 3, 1], [0, 1, 1]]; with 1 added to the diagonal [[2, 1, 0], [1, 4, 1], [0, 1, 2]],
# whose determinant is 2 * (8 - 1) - 1 * 2 = 12 and whose inverse P = [[7, -2, 1], [-2, 4, -2], [1, -2, 7]] / 12.
# B_ij = -P_ij / P_jj off the diagonal.
TINY = [[1, 1, 0], [0, 1, 1], [0, 1, 0]]
WEIGHTS = [[0, 2 / 4, -1 / 7], [2 / 7, 0, 2 / 7], [-1 / 7, 2 / 4, 0]]


def test_the_closed_form():
    model = fitted(ratings_of(TINY), l2=1.0)
    np.testing.assert_allclose(model.item_weights, WEIGHTS, rtol=1e-6)
    assert model.item_weights.dtype == np.float32
    # items 0 and 2: the sum of rows 0 and 2
    np.testing.assert_allclose(scores_of(model, [[1, 0, 1]]), [[-1 / 7, 1, -1 / 7]], rtol=1e-6)


def test_only_relevant_ratings_count_in_training_and_in_histories():
    values = [[5, 4, 2], [1, 5, 5], [3, 4, 0]]  # TINY where 4 and more
    model = fitted(ratings_of(values), l2=1.0, relevant=4)
    np.testing.assert_allclose(model.item_weights, WEIGHTS, rtol=1e-6)
    np.testing.assert_allclose(scores_of(model, [[4, 3, 0]]), [WEIGHTS[0]], rtol=1e-6)


@pytest.mark.parametrize("block", [1, 5, 1024])
def test_the_inverse_is_float64s(monkeypatch, block):
    monkeypatch.setattr(ease, "BLOCK", block)
    monkeypatch.setattr(gram, "BLOCK_ENTRIES", 12 * block)
    likes = random_likes()
    inverse = np.linalg.inv((likes.T @ likes).astype(np.float64) + 2 * np.eye(12))
    expected = np.where(np.eye(12), 0, -inverse / np.diag(inverse))
    np.testing.assert_allclose(fitted(ratings_of(likes), l2=2.0).item_weights, expected, atol=1e-5)


def test_it_minimises_the_papers_objective():
    """The gradient of |X - X B|^2 + l2 |B|^2 vanishes off the diagonal, which is held at 0."""
    likes = random_likes()
    found = fitted(ratings_of(likes), l2=2.0).item_weights
    gradient = likes.T @ (likes @ found - likes) + 2 * found
    assert np.abs(gradient[~np.eye(12, dtype=bool)]).max() < 1e-4
    assert not np.diag(found).any()


def test_a_users_weight_is_a_number_of_copies():
    likes = random_likes()
    copies = np.arange(40) % 3
    heavy = fitted(weighted(ratings_of(likes), copies), l2=2.0)
    repeated = fitted(ratings_of(np.repeat(likes, copies, axis=0)), l2=2.0)
    np.testing.assert_allclose(heavy.item_weights, repeated.item_weights, atol=1e-5)
    assert np.abs(heavy.item_weights - fitted(ratings_of(likes), l2=2.0).item_weights).max() > 0.01


def test_an_items_score_does_not_see_the_item():
    likes = random_likes()
    model = fitted(ratings_of(likes), l2=2.0)
    scores = scores_of(model, likes)
    for item in range(12):
        without = likes.copy()
        without[:, item] = 0
        np.testing.assert_allclose(scores_of(model, without)[:, item], scores[:, item], atol=1e-6)


def test_some_items_are_scored_like_all():
    likes, items = random_likes(), np.array([5, 0, 11])
    model = fitted(ratings_of(likes))
    np.testing.assert_allclose(scores_of(model, likes, items), scores_of(model, likes)[:, items], rtol=1e-6)


def test_too_little_memory_is_said_beforehand():
    ratings = ratings_of(TINY)
    with pytest.raises(ConfigError, match=r"ease on 3 users and 3 items needs about .* \(model.memory_limit\)"):
        EASE(3, 3, memory_limit=1e-9).check_memory(ratings)
    EASE(3, 3, memory_limit=0.1).check_memory(ratings)
    # 27,278 items: 4 * 27,278^2 bytes = 2.98 GB and 67 MB beside it
    assert EASE(3, 27_278).memory_needed(ratings) == pytest.approx(3.04e9, rel=0.01)


def test_penalties_that_do_not_work_are_refused():
    with pytest.raises(ConfigError, match="model.l2 must be positive. Received: 0"):
        EASE(3, 3, l2=0)
    with pytest.raises(ConfigError, match="model.l2=1e-12 is too small for these data"):
        fitted(ratings_of([[1, 1], [1, 1]]), l2=1e-12)

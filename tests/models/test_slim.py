"""SLIM: weights worked out by hand, the conditions of the minimum, no sight of the item itself."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.linear.slim import SLIM
from tests.models.small import batch_of, random_likes, ratings_of, weighted


def fitted(ratings, **settings):
    model = SLIM(ratings.num_users, ratings.num_items, **settings)
    model.fit(ratings)
    return model


def weights_of(ratings, **settings):
    return fitted(ratings, **settings).item_weights.toarray()


def scores_of(model, values, items=None):
    return model.score(model.encode(batch_of(values, new=True)), items)


# X'X = [[3, 2, 0], [2, 2, 0], [0, 0, 1]]
TINY = [[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_two_items_by_hand():
    # With one other item that matters: w = (x_k'x_j - l1) / (x_k'x_k + l2)
    # item 1 from item 0: (2 - .5) / (3 + 1) = .375; item 0 from item 1: (2 - .5) / (2 + 1) = .5
    expected = [[0, 0.375, 0], [0.5, 0, 0], [0, 0, 0]]
    model = fitted(ratings_of(TINY), l1=0.5, l2=1.0)
    np.testing.assert_allclose(model.item_weights.toarray(), expected, rtol=1e-6)
    assert model.item_weights.nnz == 2 and model.item_weights.dtype == np.float32
    np.testing.assert_allclose(scores_of(model, [[1, 1, 1]]), [[0.5, 0.375, 0]], rtol=1e-6)


def test_only_relevant_ratings_count_in_training_and_in_histories():
    values = [[4, 5, 1], [5, 4, 0], [4, 3, 2], [1, 0, 4]]  # TINY where 4 and more
    model = fitted(ratings_of(values), l1=0.5, l2=1.0, relevant=4)
    np.testing.assert_allclose(model.item_weights.toarray(), weights_of(ratings_of(TINY), l1=0.5, l2=1.0))
    np.testing.assert_allclose(scores_of(model, [[4, 3, 0]]), [[0, 0.375, 0]], rtol=1e-6)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 1.0), (0.5, 0.1), (2.0, 5.0)])
def test_the_conditions_of_the_minimum(l1, l2):
    """Karush, Kuhn, Tucker: the gradient is 0 where a weight is above 0, and not below 0 where it is 0."""
    likes = random_likes(200, 40)
    found = weights_of(ratings_of(likes), l1=l1, l2=l2)
    gradient = likes.T @ (likes @ found - likes) + l2 * found + l1
    others = ~np.eye(40, dtype=bool)
    assert (found >= 0).all() and not np.diag(found).any()
    assert 100 < np.count_nonzero(found) < 1500
    assert np.abs(gradient[found > 0]).max() < 0.05
    assert gradient[others & (found == 0)].min() > -0.05


def test_a_larger_l1_leaves_fewer_weights():
    ratings = ratings_of(random_likes(200, 40))
    numbers = [np.count_nonzero(weights_of(ratings, l1=l1)) for l1 in (0.0, 5.0, 20.0, 1000.0)]
    assert numbers[0] > numbers[1] > numbers[2] > numbers[3] == 0


def test_a_users_weight_is_a_number_of_copies():
    likes = random_likes()
    copies = np.arange(40) % 3
    heavy = weights_of(weighted(ratings_of(likes), copies), l1=0.5, l2=1.0)
    repeated = weights_of(ratings_of(np.repeat(likes, copies, axis=0)), l1=0.5, l2=1.0)
    np.testing.assert_allclose(heavy, repeated, atol=2e-3)
    assert np.abs(heavy - weights_of(ratings_of(likes), l1=0.5, l2=1.0)).max() > 0.01


def test_an_items_score_does_not_see_the_item():
    likes = random_likes()
    model = fitted(ratings_of(likes), l1=0.5, l2=1.0)
    scores = scores_of(model, likes)
    assert scores.any()
    for item in range(12):
        without = likes.copy()
        without[:, item] = 0
        np.testing.assert_allclose(scores_of(model, without)[:, item], scores[:, item], atol=1e-6)


def test_some_items_are_scored_like_all():
    likes, items = random_likes(), np.array([5, 0, 11])
    model = fitted(ratings_of(likes), l1=0.5, l2=1.0)
    np.testing.assert_allclose(scores_of(model, likes, items), scores_of(model, likes)[:, items], rtol=1e-6)


def test_too_little_memory_is_said_beforehand():
    with pytest.raises(ConfigError, match=r"slim on 4 users and 3 items needs about .* \(model.memory_limit\)"):
        SLIM(4, 3, memory_limit=1e-9).check_memory(ratings_of(TINY))


@pytest.mark.parametrize("settings", [{"l1": -1.0}, {"l2": 0.0}])
def test_penalties_that_do_not_work_are_refused(settings):
    with pytest.raises(ConfigError, match="model.l1 must not be negative and model.l2 must be positive"):
        SLIM(3, 3, **settings)

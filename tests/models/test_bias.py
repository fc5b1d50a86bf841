"""Bias: the biases by hand, weights, new users."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.basic import bias
from nnrec.models.basic.bias import Bias, biases, trained_users


def make_ratings(user, item, value, num_users=3, num_items=3, weight=None):
    return Ratings.build(
        users=Vocabulary(range(num_users)),
        items=Vocabulary(range(num_items)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
    )


# Two users, two items, nothing of the third.
TINY = make_ratings(user=[0, 0, 1, 1], item=[0, 1, 0, 1], value=[5, 3, 4, 2])


def batch_of(ratings, size=None, stranger=False):
    batch = next(RowBatches(ratings.rows("user"), size or ratings.num_users).epoch())
    return batch | {"index": np.full_like(batch["index"], -1)} if stranger else batch


def fitted(ratings=TINY, **options):
    model = Bias(ratings.num_users, ratings.num_items, **options)
    model.fit(ratings)
    return model


def test_biases_by_hand():
    # mu = 3.5, residuals [[1.5, -.5], [.5, -1.5]]. The data are balanced, so the two sides do not mix:
    # b_i = +-(1.5 + .5) / (2 + l2_item), b_u = +-(1.5 - .5) / (2 + l2_user).
    mean, user_bias, item_bias = biases(TINY, l2_user=3.0, l2_item=2.0)
    assert mean == 3.5
    np.testing.assert_allclose(user_bias, [0.2, -0.2, 0], atol=1e-6)
    np.testing.assert_allclose(item_bias, [0.5, -0.5, 0], atol=1e-6)


def test_the_first_sweep_is_the_closed_form_in_two_steps(monkeypatch):
    monkeypatch.setattr(bias, "MOST_SWEEPS", 1)
    ratings = make_ratings(user=[0, 0, 1], item=[0, 1, 1], value=[5, 3, 1])
    # mu = 3; b_0 = 2 / (1 + 1) = 1, b_1 = (0 - 2) / (2 + 1) = -2/3;
    # b_u0 = (2 - 1 + 0 + 2/3) / (2 + 1) = 5/9, b_u1 = (-2 + 2/3) / (1 + 1) = -2/3.
    _, user_bias, item_bias = biases(ratings, l2_user=1.0, l2_item=1.0)
    np.testing.assert_allclose(item_bias, [1, -2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(user_bias, [5 / 9, -2 / 3, 0], rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_biases_minimise_the_objective(weighted):
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((30, 20)) < 0.3)
    weight = rng.random(len(user)) + 0.1 if weighted else np.ones(len(user))
    ratings = make_ratings(user, item, rng.integers(1, 6, len(user)), 30, 20, weight if weighted else None)
    mean, user_bias, item_bias = biases(ratings, l2_user=2.0, l2_item=4.0)
    error = weight * (ratings.value - mean - user_bias[user] - item_bias[item])
    # Where it is least, the derivatives are zero.
    np.testing.assert_allclose(np.bincount(user, error, 30), 2 * user_bias, atol=1e-3)
    np.testing.assert_allclose(np.bincount(item, error, 20), 4 * item_bias, atol=1e-3)


def test_a_weight_counts_like_so_many_ratings():
    weighted = make_ratings([0, 0, 1], [0, 1, 1], [5, 2, 4], weight=[2, 1, 3])
    repeated = make_ratings([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1], [5, 5, 2, 4, 4, 4])
    for one, other in zip(biases(weighted, 1, 2), biases(repeated, 1, 2), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_trained_users_have_a_rating_that_counts():
    ratings = make_ratings([0, 1], [0, 0], [5, 2], weight=[1, 0])
    assert trained_users(ratings).tolist() == [True, False, False]


def test_scores_are_the_sum():
    model = fitted(l2_user=3.0, l2_item=2.0)
    queries = model.encode(batch_of(TINY, size=4))
    expected = [[4.2, 3.2, 3.7], [3.8, 2.8, 3.3], [4.0, 3.0, 3.5], [4.0, 3.0, 3.5]]
    np.testing.assert_allclose(model.score(queries), expected, atol=1e-6)
    np.testing.assert_allclose(model.score(queries, np.array([2, 0])), np.array(expected)[:, [2, 0]], atol=1e-6)
    np.testing.assert_allclose(model.score_pairs(queries, np.array([1, 0]), np.array([2, 0])), [3.3, 4.2], atol=1e-6)
    assert model.rating_scale.tolist() == [2, 5]


def test_a_stranger_with_a_training_users_history_gets_their_bias():
    model = fitted(l2_user=3.0, l2_item=2.0)
    np.testing.assert_allclose(model.encode(batch_of(TINY, stranger=True)), model.encode(batch_of(TINY)), atol=1e-6)


def test_a_known_user_keeps_their_bias_whatever_the_history():
    model, other = fitted(), make_ratings([0, 2], [1, 0], [5, 5])
    queries = model.encode(batch_of(other))[:, 0]
    assert queries[0] == model.user_bias[0]
    # User 2 had no training ratings: (5 - 3.5 - b_0) / (1 + 5).
    assert queries[2] == pytest.approx((1.5 - model.item_bias[0]) / 6, abs=1e-6)


def test_what_it_refuses():
    with pytest.raises(ConfigError, match=r"model.l2_item must not be negative. Received: -1"):
        Bias(3, 3, l2_item=-1)
    with pytest.raises(DataError, match=r"All ratings are 4: there is nothing to predict"):
        fitted(make_ratings([0, 1], [0, 1], [4, 4]))

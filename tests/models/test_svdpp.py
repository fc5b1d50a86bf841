"""SVD++: scores and folding in with the implicit part, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.factors.svdpp import SVDPlusPlus


def ratings_of(user, item, value):
    return Ratings.build(
        users=Vocabulary(range(2)),
        items=Vocabulary(range(4)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
    )


def batch_of(ratings):
    return next(RowBatches(ratings.rows("user"), ratings.num_users).epoch())


def by_hand():
    """One factor; user 1 was not in training, and user 0 rated all four items."""
    model = SVDPlusPlus(2, 4, factors=1, epochs=1, l2=1 / 21)
    model.fit(ratings_of([0, 0, 0, 0], [0, 1, 2, 3], [1, 5, 1, 5]))
    model.mean, model.user_bias, model.item_bias = np.float32(3), np.float32([0.5, 0]), np.float32([0, 0.25, 0, 0])
    model.item_factors = np.float32([[2], [1], [0], [-1]])
    model.implicit_factors = np.float32([[0.3], [0.1], [0.2], [0.6]])
    return model


def test_the_scores_of_equation_15():
    model = by_hand()
    train = ratings_of([0, 0, 0, 0], [0, 1, 2, 3], [1, 5, 1, 5])
    # The same as if it had learnt p = .4: q . (p + 4^-1/2 (.3 + .1 + .2 + .6)) = q . (.4 + .6) = q
    model.user_factors = np.float32([[0.4], [0]])
    model.finish(train)
    queries = model.encode(batch_of(train))
    np.testing.assert_allclose(model.score(queries)[0], [5.5, 4.75, 3.5, 2.5], rtol=1e-6)


def test_folding_in():
    # The implicit part of item 0 alone is .3, so the residual is 6.2 - 3 - 2 * .3 = 2.6. The penalties are
    # l2 (1 + 20) = 1 on p and 5 on b: p = 2 t, b = t / 5 with t = 2.6 / (1 + 2 * 2 / 1 + 1 / 5) = .5.
    query = by_hand().encode(batch_of(ratings_of([1], [0], [6.2])))[1]
    np.testing.assert_allclose(query, [1.3, 0.1], rtol=1e-5)


def test_what_was_rated_tells_apart_who_rated_alike():
    """All users give the same values; two groups rate different items, which determines the rating of another item."""
    rng = np.random.default_rng(0)
    num_users = 80
    user = np.repeat(np.arange(num_users), 5)
    group = user % 2
    item = np.where(np.tile(np.arange(5), num_users) < 4, 4 * group + np.tile(np.arange(5), num_users), 8)
    value = np.where(item == 8, np.where(group, 5, 1), 3)
    asked = (user < 40) | (item != 8)
    ratings = Ratings.build(
        users=Vocabulary(range(num_users)),
        items=Vocabulary(range(9)),
        user=user[asked].astype(np.int32),
        item=item[asked].astype(np.int32),
        value=value[asked].astype(np.float32),
        weight=rng.uniform(0.9, 1.1, asked.sum()).astype(np.float32),
    )
    model = SVDPlusPlus(num_users, 9, factors=4, epochs=100, learning_rate=0.02, l2=0.02, initial_spread=0.1)
    model.fit(ratings)
    scores = model.score(model.encode(batch_of(ratings)))[40:, 8]
    assert scores[1::2].min() > scores[::2].max() + 1


def test_what_it_refuses():
    with pytest.raises(ConfigError, match=r"model.l2_implicit must not be negative. Received: -1"):
        SVDPlusPlus(2, 2, l2_implicit=-1)

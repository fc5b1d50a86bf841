"""What SVD and SVD++ share: learning, folding in, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError, TrainingError
from nnrec.data.ratings import Ratings
from nnrec.data.simulators.ratings import simulate_ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.basic.bias import Bias
from nnrec.models.factors.svd import SVD
from nnrec.models.factors.svdpp import SVDPlusPlus
from nnrec.splits.ratings import RandomSplit

SMALL = {"factors": 8, "epochs": 60, "l2": 0.05, "initial_spread": 0.05}


@pytest.fixture(params=[SVD, SVDPlusPlus])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def split():
    ratings = simulate_ratings(num_users=250, num_items=80, num_ratings=12_000, taste_spread=1.0, noise=0.6)
    return RandomSplit(test=0.2)(ratings, 0)


def fitted(kind, ratings, **options):
    model = kind(ratings.num_users, ratings.num_items, **(SMALL | options))
    model.fit(ratings)
    return model


def make_ratings(user, item, value, num_users=None, num_items=None, weight=None):
    return Ratings.build(
        users=Vocabulary(range(num_users or max(user) + 1)),
        items=Vocabulary(range(num_items or max(item) + 1)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
    )


def random_ratings(num_users=20, num_items=15, seed=0, **options):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.5)
    return make_ratings(user, item, rng.integers(1, 6, len(user)), num_users, num_items, **options)


def batch_of(ratings):
    return next(RowBatches(ratings.rows("user"), ratings.num_users).epoch())


def stranger(batch):
    return batch | {"index": np.full_like(batch["index"], -1)}


def rmse(model, train, target):
    predicted = model.score_pairs(model.encode(batch_of(train)), target.user, target.item)
    return float(np.sqrt(np.mean((np.clip(predicted, *model.rating_scale) - target.value) ** 2)))


def test_beats_the_biases_on_held_out_ratings(kind, split):
    bias = Bias(split.train.num_users, split.train.num_items)
    bias.fit(split.train)
    target = split.test.target
    floor = np.sqrt(np.mean((target.value - target.expected) ** 2))
    found, plain = rmse(fitted(kind, split.train), split.train, target), rmse(bias, split.train, target)
    assert floor < found < 0.85 * plain


def test_the_training_error_falls(kind, split):
    errors = [rmse(fitted(kind, split.train, epochs=epochs), split.train, split.train) for epochs in (1, 10, 60)]
    assert errors[0] > 1.05 * errors[1] > 1.05**2 * errors[2]


def test_a_stranger_with_a_training_users_history_gets_nearly_their_scores(kind, split):
    model, batch = fitted(kind, split.train), batch_of(split.train)
    known, folded = model.score(model.encode(batch)), model.score(model.encode(stranger(batch)))
    personal = known - known.mean(axis=0)
    assert np.sqrt(np.mean((known - folded) ** 2)) < 0.25 * personal.std()


def test_a_known_user_keeps_their_scores_whatever_the_history(kind):
    ratings = random_ratings()
    model, batch = fitted(kind, ratings, epochs=3), batch_of(ratings)
    np.testing.assert_array_equal(model.encode(batch), model.encode(batch | {"value": batch["value"][::-1]}))


def test_a_user_without_training_ratings_is_a_stranger(kind):
    ratings = random_ratings()
    model = fitted(kind, ratings.take(ratings.user != 7), epochs=3)
    batch = batch_of(ratings)
    assert not model.trained[7]
    np.testing.assert_allclose(model.encode(batch)[7], model.encode(stranger(batch))[7], rtol=1e-5, atol=1e-7)
    assert np.abs(model.encode(batch)[7]).max() > 0
    nothing = batch | {"weight": np.where(batch["row"] == 7, 0, batch["weight"]).astype(np.float32)}
    assert not model.encode(nothing)[7].any()


def test_the_seed_decides(kind):
    ratings = random_ratings()
    one, same, other = (fitted(kind, ratings, epochs=3, seed=seed) for seed in (0, 0, 1))
    for name in kind.learnt:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert np.abs(one.item_factors - other.item_factors).max() > 1e-3


def test_ratings_of_weight_zero_leave_no_trace(kind):
    ratings = random_ratings()
    some = np.arange(len(ratings)) % 3 > 0
    weighted = make_ratings(
        ratings.user, ratings.item, np.where(some, ratings.value, 100), 20, 15, weight=some.astype(np.float32)
    )
    one, other = fitted(kind, weighted, epochs=3), fitted(kind, ratings.take(some), epochs=3)
    for name in set(kind.learnt) - {"rating_scale"}:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_what_was_never_rated_has_no_vector(kind):
    model = fitted(kind, make_ratings([0, 0, 1], [0, 1, 1], [5, 3, 1], num_users=3, num_items=4), epochs=2)
    assert not model.user_factors[2].any()
    assert not model.item_factors[2:].any()
    np.testing.assert_allclose(model.score(model.encode(stranger({
        "index": np.array([2], np.int32), "row": np.zeros(0, np.int32), "column": np.zeros(0, np.int32),
        "value": np.zeros(0, np.float32), "weight": np.zeros(0, np.float32),
    })))[0, 2:], 3)  # fmt: skip


def test_the_saved_state_scores_alike(kind):
    ratings = random_ratings()
    model = fitted(kind, ratings, epochs=3)
    copy = kind(ratings.num_users, ratings.num_items, **SMALL)
    copy.load_state(model.state())
    batch = stranger(batch_of(ratings))
    np.testing.assert_array_equal(copy.score(copy.encode(batch)), model.score(model.encode(batch)))


def test_what_it_refuses(kind):
    for options, message in (
        ({"factors": 0}, r"model.factors must be 1 or more. Received: 0"),
        ({"epochs": 0}, r"model.epochs must be 1 or more. Received: 0"),
        ({"learning_rate": 0.0}, r"model.learning_rate must be positive. Received: 0.0"),
        ({"initial_spread": -1}, r"model.initial_spread must be positive. Received: -1"),
        ({"l2": -0.1}, r"model.l2 must not be negative. Received: -0.1"),
        ({"l2_bias": -0.1}, r"model.l2_bias must not be negative. Received: -0.1"),
    ):
        with pytest.raises(ConfigError, match=message):
            kind(2, 2, **options)
    with pytest.raises(DataError, match=r"All ratings are 4: there is nothing to predict"):
        fitted(kind, make_ratings([0, 1], [0, 1], [4, 4]))
    with pytest.raises(TrainingError, match=r"The training error is (nan|inf) in epoch .*model.learning_rate \(now"):
        fitted(kind, random_ratings(), learning_rate=1e10)

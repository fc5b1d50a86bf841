"""AutoRec: golden loss, dense against sparse, masking, folding in, capabilities."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.autoencoders.autorec import AutoRec
from nnrec.training.feeding import feed
from nnrec.training.loop import compile_model
from nnrec.training.settings import Trainer


def make_ratings(user, item, value, num_users=None, num_items=None, weight=None):
    return Ratings.build(
        users=Vocabulary(range(num_users or max(user) + 1)),
        items=Vocabulary(range(num_items or max(item) + 1)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
    )


def random_ratings(num_users=30, num_items=20, seed=0):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.4)
    return make_ratings(user, item, rng.integers(1, 6, len(user)), num_users, num_items)


def loss_of(model, ratings, batch_size=None, **options):
    rows = model.training_rows(ratings)
    batches = RowBatches(rows, batch_size or len(rows), unique_ids=model.row_sparse, **options)
    total = 0.0
    for batch in batches.epoch():
        model(batch, training=False)
        total += float(sum(model.losses))
    return total


# Items 0 and 1 over users 0, 1, 2.
TINY = make_ratings(user=[0, 1, 1, 2], item=[0, 0, 1, 1], value=[4, 2, 5, 3])


def tiny_model(arithmetic="dense", **options):
    settings = {"by": "item", "hidden_units": (1,), "activation": "linear", "l2": 2.0, "center": "none"}
    settings["indicator"] = False
    model = AutoRec(3, 2, arithmetic=arithmetic, **(settings | options))
    model.adapt(TINY)
    model.encoder.assign([[0.5], [0.25], [1.0]])
    model.encoder_bias.assign([1.0])
    model.decoder.assign([[1.0], [0.5], [2.0]])
    model.decoder_bias.assign([0.0, 1.0, -1.0])
    return model


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_loss_is_the_papers_objective(arithmetic):
    # hidden: item 0: 4 * .5 + 2 * .25 + 1 = 3.5;  item 1: 5 * .25 + 3 * 1 + 1 = 5.25
    # predictions: (0, item 0) 3.5 + 0; (1, item 0) 1.75 + 1; (1, item 1) 2.625 + 1; (2, item 1) 10.5 - 1
    # squared errors: .5^2 + .75^2 + 1.375^2 + 6.5^2 = 44.953125; mean over 2 rows 22.4765625
    # penalty: 2 / (2 * 2) * (.25 + .0625 + 1 + 1 + .25 + 4) = 3.28125; all users occur in a batch of all rows
    assert loss_of(tiny_model(arithmetic), TINY) == pytest.approx(22.4765625 + 3.28125, rel=1e-6)


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_weights_multiply_squared_errors(arithmetic):
    weighted = make_ratings([0, 1, 1, 2], [0, 0, 1, 1], [4, 2, 5, 3], weight=[2, 1, 1, 0.5])
    # 2 * .25 + .5625 + 1.890625 + .5 * 42.25 = 24.078125, over 2 rows
    loss = loss_of(tiny_model(arithmetic, l2=0.0), weighted)
    assert loss == pytest.approx(24.078125 / 2, rel=1e-6)


def test_unmasked_loss_takes_missing_ratings_as_zero():
    # missing: (2, item 0) 3.5 * 2 - 1 = 6; (0, item 1) 5.25: 36 + 27.5625 more than the masked 44.953125
    loss = loss_of(tiny_model(masked=False, l2=0.0), TINY)
    assert loss == pytest.approx((44.953125 + 36 + 27.5625) / 2, rel=1e-6)


def test_unmasked_loss_ignores_padded_rows():
    model = tiny_model(masked=False, l2=0.0)
    whole, padded = loss_of(model, TINY), loss_of(model, TINY, batch_size=4)
    assert padded * 4 == pytest.approx(whole * 2, rel=1e-6)


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_indicator_sees_which_ratings_there_are(arithmetic):
    model = tiny_model(arithmetic, indicator=True)
    model.indicator_encoder.assign([[1.0], [-1.0], [0.5]])
    # hidden: item 0: 3.5 + 1 - 1 = 3.5; item 1: 5.25 - 1 + .5 = 4.75
    # errors: 4 - 3.5; 2 - 2.75; 5 - 3.375; 3 - 8.5: .25 + .5625 + 2.640625 + 30.25 = 33.703125
    # penalty: .5 * (6.5625 + 2.25)
    assert loss_of(model, TINY) == pytest.approx(33.703125 / 2 + 4.40625, rel=1e-6)


def test_centering_and_input_power():
    model = tiny_model(center="mean", input_power=0.5, l2=0.0)
    # mean 3.5; both rows have the mean length, so the power changes nothing
    # hidden: item 0: .5 * .5 - 1.5 * .25 + 1 = .875; item 1: 1.5 * .25 - .5 * 1 + 1 = .875
    # predictions: .875 + 3.5; .4375 + 1 + 3.5; .4375 + 1 + 3.5; 1.75 - 1 + 3.5
    errors = np.array([4 - 4.375, 2 - 4.9375, 5 - 4.9375, 3 - 4.25])
    assert loss_of(model, TINY) == pytest.approx(np.sum(errors**2) / 2, rel=1e-6)


def test_input_power_divides_by_the_rows_length():
    ratings = make_ratings([0, 1, 2, 0], [0, 0, 0, 1], [1, 1, 1, 1.5])
    model = AutoRec(
        3, 2, hidden_units=(1,), activation="linear", l2=0.0, center="none", indicator=False, input_power=0.5
    )
    model.adapt(ratings)
    model.encoder.assign([[1.0], [1.0], [1.0]])
    model.prepare(ratings)
    # mean length 2: 3 * sqrt(2 / 3), and 1.5 * sqrt(2 / 1)
    expected = [[3 * np.sqrt(2 / 3)], [1.5 * np.sqrt(2)]]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model.encodings), expected, rtol=1e-6)


@pytest.mark.parametrize("by", ["item", "user"])
@pytest.mark.parametrize("center", ["none", "mean", "middle"])
def test_sparse_and_dense_arithmetic_agree(by, center):
    ratings = random_ratings()
    models = []
    for arithmetic in ("dense", "sparse"):
        keras.utils.set_random_seed(1)
        model = AutoRec(30, 20, by=by, hidden_units=(6, 4), center=center, l2=0.0, arithmetic=arithmetic)
        model.adapt(ratings)
        models.append(model)
    by_name = {weight.path: weight for weight in models[1].weights}
    for weight in models[0].weights:
        by_name[weight.path].assign(weight)
    assert loss_of(models[0], ratings) == pytest.approx(loss_of(models[1], ratings), rel=1e-5)


def test_the_first_sparse_step_is_adams():
    """The first steps of lazy Adam and Adam are equal if every column occurs in the batch."""
    ratings = random_ratings()
    after = []
    for arithmetic in ("dense", "sparse"):
        keras.utils.set_random_seed(1)
        model = AutoRec(30, 20, hidden_units=(5,), l2=1.0, input_dropout=0.5, dropout=0.3, arithmetic=arithmetic)
        model.adapt(ratings)
        rng = np.random.default_rng(3)
        for name in ("encoder", "encoder_bias", "decoder", "decoder_bias"):
            variable = getattr(model, name)
            variable.assign(rng.normal(size=variable.shape) * 0.1)
        compile_model(model, Trainer(learning_rate=0.01))
        batches = RowBatches(model.training_rows(ratings), 20, seed=4, unique_ids=model.row_sparse)
        model.fit(feed(batches, 0), steps_per_epoch=1, shuffle=False, verbose=0)
        after.append([keras.ops.convert_to_numpy(v) for v in (model.encoder, model.decoder, model.encoder_bias)])
    for dense, sparse in zip(*after, strict=True):
        np.testing.assert_allclose(dense, sparse, atol=2e-5)


def test_touched_penalty_is_the_full_one_on_average():
    ratings = random_ratings(num_users=200, num_items=40)
    model = AutoRec(200, 40, by="user", hidden_units=(3,), l2=5.0, arithmetic="sparse", center="none")
    model.adapt(ratings)
    squares = sum(float(np.sum(keras.ops.convert_to_numpy(table) ** 2)) for table in (*model.encoders, model.decoder))
    batches = RowBatches(model.training_rows(ratings), 5, seed=0, unique_ids=True)
    penalties = [float(model._penalty(batch)) for epoch in range(30) for batch in batches.epoch(epoch)]
    assert np.mean(penalties) == pytest.approx(5 / (2 * 200) * squares, rel=0.02)


@pytest.mark.parametrize("by", ["item", "user"])
def test_pairs_score_as_the_whole_row_does(by):
    ratings = random_ratings()
    model = AutoRec(30, 20, by=by, hidden_units=(4,))
    model.adapt(ratings)
    model.prepare(ratings)
    batch = next(RowBatches(ratings.rows("user"), 30).epoch())
    queries = model.encode(batch)
    scores = keras.ops.convert_to_numpy(model.score(queries))
    some = keras.ops.convert_to_numpy(model.score(queries, np.array([3, 1])))
    assert scores.shape == (30, 20)
    np.testing.assert_allclose(some, scores[:, [3, 1]], rtol=1e-5)
    rows, items = np.array([0, 5, 5]), np.array([2, 0, 19])
    np.testing.assert_allclose(model.score_pairs(queries, rows, items), scores[rows, items], rtol=1e-5)


def test_item_based_scores_of_known_users_are_the_decoder():
    model = tiny_model()
    model.prepare(TINY)
    batch = next(RowBatches(TINY.rows("user"), 3).epoch())
    # encodings 3.5 and 5.25 (see above); user 2: 2 h - 1
    scores = keras.ops.convert_to_numpy(model.score(model.encode(batch)))
    np.testing.assert_allclose(scores[2], [6.0, 9.5], rtol=1e-6)


def test_new_user_is_fitted_to_the_item_encodings():
    ratings = random_ratings(num_users=40, num_items=25)
    model = AutoRec(40, 25, hidden_units=(3,), l2=0.02, center="none")
    model.adapt(ratings)
    model.prepare(ratings)
    encodings = keras.ops.convert_to_numpy(model.encodings).astype(np.float64)
    values = 2.0 + encodings @ [1.0, -2.0, 0.5]
    history = make_ratings(np.zeros(25, int), np.arange(25), values, 1, 25)
    batch = next(RowBatches(history.rows("user"), 1).epoch())
    batch["index"][:] = -1
    scores = keras.ops.convert_to_numpy(model.score(model.encode(batch)))[0]
    assert np.corrcoef(scores, values)[0, 1] > 0.95
    assert scores.mean() == pytest.approx(values.mean(), abs=0.1)


def test_unknown_items_predict_the_middle_of_the_scale():
    ratings = make_ratings([0, 0, 1, 1], [0, 1, 0, 1], [4, 2, 5, 3], num_users=2, num_items=3)
    model = AutoRec(2, 3, by="user", hidden_units=(4,))
    model.adapt(ratings)
    batch = next(RowBatches(ratings.rows("user"), 2).epoch())
    scores = keras.ops.convert_to_numpy(model.score(model.encode(batch)))
    np.testing.assert_allclose(scores[:, 2], 3.5, rtol=1e-6)


def test_auto_arithmetic_follows_the_width():
    assert not AutoRec(10, 100, by="user", hidden_units=(2,)).row_sparse
    assert AutoRec(10, 100_000, by="user", hidden_units=(2,)).row_sparse
    assert not AutoRec(10, 100_000, by="item", hidden_units=(2,)).row_sparse


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "genre"}, "model.by must be one of item, user. Received: 'genre'"),
        ({"center": "median"}, "model.center must be one of"),
        ({"hidden_units": ()}, "model.hidden_units"),
        ({"input_dropout": 1.0}, "model.input_dropout"),
        ({"l2": -1.0}, "model.l2 must not be negative"),
        ({"masked": False, "arithmetic": "sparse"}, "use model.arithmetic=dense"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        AutoRec(3, 2, **options)


def test_equal_ratings_are_refused():
    likes = make_ratings([0, 1], [0, 1], [1, 1])
    with pytest.raises(DataError, match="All ratings are 1"):
        AutoRec(2, 2).adapt(likes)
    AutoRec(2, 2, masked=False).adapt(likes)


def test_config_round_trips():
    model = AutoRec(3, 2, by="user", hidden_units=(4, 3), l2=7.0)
    assert AutoRec.from_config(model.get_config()).get_config() == model.get_config()

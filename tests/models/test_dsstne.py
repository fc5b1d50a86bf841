"""DSSTNE's autoencoder: golden losses, layers, inputs, samples, run folders that need no other file."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import ConfigError
from nnrec.core.keyed_random import dropout_mask
from nnrec.models.autoencoders.dsstne import DSSTNE
from nnrec.training import optimizers
from nnrec.training.feeding import feed
from nnrec.training.loop import compile_model
from nnrec.training.settings import Trainer
from tests.models.test_autorec import make_ratings, random_ratings

# User 0 liked items 0 and 1, user 1 liked item 2; item 1's 3 of user 1 is no like.
TINY = make_ratings(user=[0, 0, 1, 1], item=[0, 1, 1, 2], value=[5, 4, 3, 4])
LINEAR = {"activation": "linear", "denoising": 0.0, "relevant": 4}


def tiny_model(**options):
    """Hidden: one linear unit. User 0: 1 + 2 - 1 = 2, user 1: .5 - 1 = -.5."""
    model = DSSTNE(2, 3, hidden_units=(1,), **(LINEAR | options))
    model.adapt(TINY)
    model.encoders[0][0].assign([[1.0], [2.0], [0.5]])
    model.hidden_layers[0].bias.assign([-1.0])
    model.decoder.assign([[0.5], [-1.0], [2.0]])
    model.decoder_bias.assign([0.0, 1.0, -1.0])
    return model


def loss_of(model, ratings, batch_size=None):
    rows = model.training_rows(ratings)
    total = 0.0
    for batch in model.batches(rows, batch_size or len(rows)).epoch():
        model(batch, training=False)
        total += float(sum(model.losses))
    return total


def test_loss_of_a_network():
    # outputs: user 0: 1, -1, 3; user 1: -.25, 1.5, -2
    # squares / 2: (1 - 1)^2 + (-1 - 1)^2 + 3^2 = 13; .25^2 + 1.5^2 + (-2 - 1)^2 = 11.3125; mean over the rows
    expected = (13 + 11.3125) / 2 / 2
    assert loss_of(tiny_model(output_activation="linear", error="l2"), TINY) == pytest.approx(expected, rel=1e-6)


def test_long_rows_can_count_less():
    # user 0 liked 2, user 1 liked 1, 1.5 on average: the errors above times (1.5 / 2)^.5 and 1.5^.5
    expected = (13 * 0.75**0.5 + 11.3125 * 1.5**0.5) / 2 / 2
    model = tiny_model(output_activation="linear", error="l2", length_discount=0.5)
    assert loss_of(model, TINY) == pytest.approx(expected, rel=1e-6)


def test_l2_penalty():
    # l2 / (2 * 2 rows) times the squares of encoder and decoder: 1 + 4 + .25 + .25 + 1 + 4 = 10.5
    options = {"output_activation": "linear", "error": "l2"}
    plain, penalised = (loss_of(tiny_model(l2=l2, **options), TINY) for l2 in (0.0, 8.0))
    assert penalised - plain == pytest.approx(8 / 4 * 10.5, rel=1e-6)


def test_scores_are_preactivations():
    model = tiny_model()
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    scores = model.score(model.encode(batch))
    np.testing.assert_allclose(scores, [[1, -1, 3], [-0.25, 1.5, -2]], rtol=1e-6)


def test_without_relevant_every_rating_is_a_like():
    model = tiny_model(relevant=None)
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    # user 1: 2 + .5 - 1
    np.testing.assert_allclose(model.encode(batch), [[2.0], [1.5]], rtol=1e-6)
    assert model.has_history(batch).all()


def test_analog_input_is_the_value_of_every_rating():
    model = tiny_model(input="analog")
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    # 5 * 1 + 4 * 2 - 1; 3 * 2 + 4 * .5 - 1
    np.testing.assert_allclose(model.encode(batch), [[12.0], [7.0]], rtol=1e-6)
    assert len(model.training_rows(TINY).ids) == 4
    assert len(tiny_model().training_rows(TINY).ids) == 3


def test_what_was_rated_lower_has_weights_of_its_own():
    model = tiny_model(input="rated", normalize_input=True)
    model.encoders[0][1].assign([[9.0], [3.0], [9.0]])
    # user 0: (1 + 2) / sqrt 2 - 1; user 1 liked item 2 and rated item 1 lower: (.5 + 3) / sqrt 2 - 1
    batch = next(model.batches(model.training_rows(TINY), 2).epoch())
    expected = [[3 / 2**0.5 - 1], [3.5 / 2**0.5 - 1]]
    np.testing.assert_allclose(np.asarray(model.encode(batch)), expected, rtol=1e-6)


def test_levels_have_weights_of_their_own():
    model = DSSTNE(2, 3, hidden_units=(1,), input="levels", levels=(3, 4, 5), **LINEAR)
    model.adapt(TINY)
    for table, weights in zip(model.encoders[0], ([1, 10, 100], [2, 20, 200], [3, 30, 300]), strict=True):
        table.assign(np.array(weights, np.float32)[:, None])
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    # 5 of item 0: 3, 4 of item 1: 20; 3 of item 1: 10, 4 of item 2: 200
    np.testing.assert_allclose(model.encode(batch), [[23.0], [210.0]], rtol=1e-6)
    with pytest.raises(ConfigError, match=r"model\.levels=\[4, 5\] must list all ratings that there are: 3, 4, 5"):
        DSSTNE(2, 3, input="levels", levels=(4, 5)).adapt(TINY)


def test_normalised_inputs():
    # two likes: (1 + 2) / sqrt 2 - 1; one: .5 - 1
    model = tiny_model(normalize_input=True)
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    np.testing.assert_allclose(model.encode(batch), [[3 / 2**0.5 - 1], [-0.5]], rtol=1e-6)


def test_denoising_keeps_a_share_and_scales_it():
    ratings = random_ratings(num_users=400, num_items=60)
    model = DSSTNE(400, 60, hidden_units=(1,), activation="linear", denoising=0.25)
    model.adapt(ratings)
    batch = next(model.batches(ratings.rows("user"), 400, seed=1).epoch())
    seen = np.asarray(model._inputs(batch, training=True)[0])[batch["weight"] > 0]
    assert set(np.round(np.unique(seen), 5)) == {0.0, np.float32(round(1 / 0.75, 5))}
    assert np.mean(seen > 0) == pytest.approx(0.75, abs=0.02)
    np.testing.assert_array_equal(np.asarray(model._inputs(batch, training=False)[0])[batch["weight"] > 0], 1)
    other = next(model.batches(ratings.rows("user"), 400, seed=1).epoch(1))
    assert (np.asarray(model._inputs(other, training=True)[0]) > 0).sum() != (seen > 0).sum()


SKIPPING = {
    "ErrorFunction": "L2",
    "Layers": [
        {"Name": "In", "Kind": "Input", "N": "auto"},
        {"Name": "A", "N": 1, "Activation": "Linear"},
        {"Name": "B", "N": 1, "Activation": "Linear", "Source": ["In", "A"], "Skip": "A"},
        {"Name": "Out", "Kind": "Output", "N": "auto", "Activation": "Linear", "Source": ["A", "B"]},
    ],
}


def test_sources_and_skips():
    model = DSSTNE(2, 3, config=SKIPPING, relevant=4)
    model.encoders[0][0].assign([[1.0], [2.0], [0.5]])
    model.encoders[1][0].assign([[-1.0], [0.0], [4.0]])
    model.hidden_layers[1].kernel.assign([[10.0]])
    model.decoder.assign([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    batch = next(RowBatches(TINY.rows("user"), 2).epoch())
    # A: 3 and .5; B: -1 + 10 * 3 + 3 = 32, and 4 + 10 * .5 + .5 = 9.5
    queries = model.encode(batch)
    np.testing.assert_allclose(queries, [[3.0, 32.0], [0.5, 9.5]], rtol=1e-6)
    np.testing.assert_allclose(model.score(queries), [[3, 32, 35], [0.5, 9.5, 10]], rtol=1e-6)


def test_batch_normalisation_leaves_padding_out():
    model = tiny_model(batch_normalization=True)
    batch = next(model.batches(model.training_rows(TINY), 4).epoch())
    # hidden without bias: 3 and .5: mean 1.75, variance 1.5625; moving values go a tenth of the way
    units, _ = model._forward(batch, training=True)
    spread = (1.5625 + 1e-3) ** 0.5
    np.testing.assert_allclose(np.asarray(units)[:2, 0], [1.25 / spread - 1, -1.25 / spread - 1], atol=1e-6)
    layer = model.hidden_layers[0]
    assert float(layer.mean[0]) == pytest.approx(0.175)
    assert float(layer.variance[0]) == pytest.approx(0.9 + 0.15625)
    units, _ = model._forward(batch, training=False)
    assert float(units[0, 0]) == pytest.approx((3 - 0.175) / (1.05625 + 1e-3) ** 0.5 - 1, rel=1e-5)


def test_dropout_is_of_hidden_units():
    model = DSSTNE(2, 3, hidden_units=(50,), dropout=0.5, activation="linear", denoising=0.0)
    model.adapt(TINY)
    batch = next(model.batches(TINY.rows("user"), 2, seed=0).epoch())
    before, after = (np.asarray(model._forward(batch, training=flag)[0]) for flag in (False, True))
    mask = np.asarray(dropout_mask(batch["key"][:, None], np.arange(3, 53)[None, :], 0.5))
    np.testing.assert_allclose(after, before * mask, rtol=1e-6)
    assert 20 < (after == 0).sum() < 80


@pytest.mark.parametrize(
    ("scheme", "low", "high", "spread"),
    [
        ("xavier", -0.5 * 0.03**0.5, 0.5 * 0.03**0.5, None),  # 2 * (6 / (150 + 50))^.5 / 2 times 1 / 2
        ("glorot", -(0.03**0.5), 0.03**0.5, None),
        ("caffe_xavier", -(0.06**0.5), 0.06**0.5, None),
        ("uniform", -1.0, 1.0, None),
        ("unit_ball", 0.0, 1.0, None),
        ("constant", 1.0, 1.0, None),
        ("gaussian", None, None, 1.0),
        ("selu", None, None, 1 / 150),
        ("glorot_normal", None, None, 0.1),
    ],
)
def test_first_weights(scheme, low, high, spread):
    keras.utils.set_random_seed(0)
    scale = 2.0 if scheme not in ("selu",) else 1.0
    model = DSSTNE(5, 150, hidden_units=(50,), weight_init=scheme, weight_scale=scale, output_bias=-3.0)
    weights = np.asarray(model.encoders[0][0])
    if spread is None:
        assert weights.min() == pytest.approx(scale * low, abs=0.02 * scale * (high - low))
        assert weights.max() == pytest.approx(scale * high, abs=0.02 * scale * (high - low))
    else:
        assert weights.std() == pytest.approx(scale * spread, rel=0.05)
    np.testing.assert_array_equal(np.asarray(model.decoder_bias), np.float32(-3.0))


def steps(model, ratings, epochs=3, batch_size=10):
    compile_model(model, Trainer(learning_rate=0.05))
    batches = model.batches(model.training_rows(ratings), batch_size, seed=4)
    for epoch in range(epochs):
        model.fit(feed(batches, epoch), steps_per_epoch=len(batches), shuffle=False, verbose=0)


def test_weight_norm_holds_vectors_short():
    layers = [dict(layer) for layer in SKIPPING["Layers"]]
    layers[1] |= {"N": 3, "WeightNorm": 0.5, "WeightInit": {"Scheme": "Gaussian", "Scale": 1.0}}
    layers[2:] = [layers[3] | {"Source": "A", "WeightNorm": 0.25}]
    model = DSSTNE(30, 20, config=SKIPPING | {"Layers": layers})
    ratings = random_ratings()
    model.adapt(ratings)
    steps(model, ratings)
    assert np.linalg.norm(np.asarray(model.encoders[0][0]), axis=0).max() <= 0.5 + 1e-5
    assert np.linalg.norm(np.asarray(model.decoder), axis=1).max() <= 0.25 + 1e-5
    with pytest.raises(ConfigError, match=r"WeightNorm .* does not go with model\.sampled"):
        DSSTNE(30, 20, config=SKIPPING | {"Layers": layers}, sampled=4)


@pytest.mark.parametrize("options", [{}, {"output_activation": "softmax", "error": "multinomial"}])
def test_a_sample_of_everything_is_the_whole(options):
    """With each item drawn as often as any other, the sampled loss is the loss over the catalogue."""
    ratings = random_ratings()
    models = []
    for sampled in (None, 20_000):
        keras.utils.set_random_seed(1)
        model = DSSTNE(30, 20, hidden_units=(6,), denoising=0.0, sampled=sampled, sampling_power=0.0, **options)
        model.adapt(ratings)
        models.append(model)
    by_name = {weight.path: weight for weight in models[1].weights}
    for weight in models[0].weights:
        by_name[weight.path].assign(weight)
    batch = next(models[1].batches(ratings.rows("user"), 30).epoch())
    batch["negative_scale"][:] = batch["negative_scale"] > 0  # exactly once, instead of about once
    models[1](batch)
    assert loss_of(models[0], ratings) == pytest.approx(float(sum(models[1].losses)), rel=1e-5)


def test_the_sampled_loss_is_the_whole_on_average():
    ratings = random_ratings(num_users=60, num_items=40)
    keras.utils.set_random_seed(1)
    model = DSSTNE(60, 40, hidden_units=(6,), denoising=0.0, sampled=15, sampling_power=0.5, weight_scale=4.0)
    model.adapt(ratings)
    found = []
    batches = model.batches(ratings.rows("user"), 60, seed=0)
    for epoch in range(200):
        batch = next(batches.epoch(epoch))
        model(batch)
        found.append(float(sum(model.losses)))
    whole = DSSTNE(60, 40, hidden_units=(6,), denoising=0.0)
    for weight, other in zip(sorted(whole.weights, key=name_of), sorted(model.weights, key=name_of), strict=True):
        weight.assign(other)
    expected = loss_of(whole, ratings)
    assert np.std(found) > 0.01 * expected
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 200**0.5)


def name_of(weight):
    return weight.path


def test_only_what_a_batch_touches_moves():
    ratings = make_ratings(user=[0, 0, 1], item=[0, 3, 5], value=[5, 5, 5], num_users=2, num_items=400)
    keras.utils.set_random_seed(1)
    model = DSSTNE(2, 400, hidden_units=(4,), sampled=8, l2=0.1)
    model.adapt(ratings)
    before = keras.ops.convert_to_numpy(model.decoder).copy()
    batches = model.batches(ratings.rows("user"), 2, seed=4)
    unique_ids = np.unique(next(batches.epoch(0))["unique_ids"])
    assert {0, 3, 5} <= set(unique_ids.tolist())
    assert len(unique_ids) > 8
    compile_model(model, Trainer(learning_rate=0.05))
    model.fit(feed(batches, 0), steps_per_epoch=1, shuffle=False, verbose=0)
    moved = np.flatnonzero((keras.ops.convert_to_numpy(model.decoder) != before).any(axis=1))
    np.testing.assert_array_equal(moved, unique_ids)
    assert float(model.steps) == 1
    assert isinstance(model.optimizer, optimizers.Adam)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "stars"}, "model.input must be one of indicator, rated, analog, levels. Received: 'stars'"),
        ({"input": "rated"}, "model.input=rated tells likes from other ratings: set model.relevant"),
        ({"length_discount": 1.5}, "model.length_discount must be between 0 and 1"),
        ({"input": "levels"}, "model.levels lists the rating values"),
        ({"levels": [1, 2]}, "model.levels lists the rating values"),
        ({"sampled": 0}, "model.sampled must be at least 1"),
        ({"sampling_power": 2.0}, "model.sampling_power must be between 0 and 1"),
        ({"l2": -1.0}, "model.l2 must not be negative"),
        ({"error": "l3"}, "model: the error function must be one of l1, l2"),
        ({"activation": "gelu"}, "model, layer hidden_1: the activation must be one of sigmoid"),
        ({"denoising": 1.0}, "model: denoising p must be at least 0 and below 1"),
        ({"weight_init": "he"}, "model, layer hidden_1: the weights' scheme must be one of xavier"),
        ({"output_activation": "softmax", "error": "l1"}, "a softmax does not go with the error function l1"),
        ({"error": "multinomial"}, "the multinomial error needs a softmax. Received: sigmoid"),
        ({"config": SKIPPING | {"Layers": [SKIPPING["Layers"][0] | {"N": 7}, *SKIPPING["Layers"][1:]]}}, "for 7 items"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        DSSTNE(3, 2, **options)


def test_a_run_folder_holds_the_network(tmp_path, monkeypatch):
    """Prediction needs the run folder alone, not the file that described the network."""
    import nnrec
    from tests.conftest import TINY_DATA

    network = tmp_path / "network.json"
    network.write_text(json.dumps(SKIPPING))
    settings = (f"model.config={network}", "trainer.epochs=2", f"run_dir={tmp_path / 'run'}")
    run = nnrec.train("model=dsstne", *TINY_DATA, *settings)
    lists = run.recommend(top_n=3)
    network.unlink()
    again = nnrec.load(tmp_path / "run")
    assert again.recommend(top_n=3).equals(lists)
    assert again.config.model.config.Layers[1].Name == "A"
    assert again.config.trainer.monitor == "val_ndcg@20"
    assert "val_ndcg@20" in (tmp_path / "run" / "history.csv").read_text()

"""RBM: the step against a hand-written one, the likelihood's gradient, Gibbs sampling, scoring, options."""

from __future__ import annotations

import itertools
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.core.config.compose import compose
from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, DataError
from nnrec.core.keyed_random import row_keys, uniform
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.ratings import Evaluation
from nnrec.models.layers.fold_in import fold_in_softmax
from nnrec.models.rbm.boltzmann import Machines, states
from nnrec.models.rbm.rbm import RBM
from nnrec.runs.folder import RunFolder
from nnrec.splits.split import HeldOut
from nnrec.splits.users import HeldOutUsers
from nnrec.training.feeding import feed
from nnrec.training.loop import Stage, compile_model
from nnrec.training.settings import Trainer
from tests.learning import learning


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def make_ratings(user, item, value, num_users=None, num_items=None, weight=None):
    return Ratings.build(
        users=Vocabulary(range(num_users or max(user) + 1)),
        items=Vocabulary(range(num_items or max(item) + 1)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
    )


def random_ratings(num_users=30, num_items=20, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.4)
    weight = rng.uniform(0.2, 2.0, len(user)) if weighted else None
    return make_ratings(user, item, rng.integers(1, 6, len(user)), num_users, num_items, weight)


def machine(ratings, num_hidden=2, seed=0, scale=1.0, **options) -> RBM:
    """A user-based RBM with weights that are not small, adapted to these ratings."""
    settings = {"by": "user", "hidden_units": num_hidden, "weight_decay": 0.0}
    model = RBM(ratings.num_users, ratings.num_items, **(settings | options))
    model.adapt(ratings)
    rng = np.random.default_rng(seed)
    for variable in tables_of(model).values():
        variable.assign(scale * rng.normal(size=variable.shape))
    return model


def tables_of(model) -> dict[str, keras.Variable]:
    names = ("visible_weights", "visible_bias", "hidden_bias", "mixing", "rated_weights")
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def arrays_of(model) -> dict[str, np.ndarray]:
    return {name: numpy(variable).astype(np.float64) for name, variable in tables_of(model).items()}


class Always:
    """The same batch in every epoch."""

    varying, axes = frozenset(), {}

    def __init__(self, batch):
        self.batch, self.batch_size = batch, len(batch["index"])

    def epoch(self, number=0):
        yield self.batch


def training_batch(model, ratings, size=None, seed=0):
    rows = model.training_rows(ratings)
    return next(RowBatches(rows, size or len(rows), seed=seed, unique_ids=model.row_sparse).epoch())


def step(model, batch, rate=0.1, **options) -> dict[str, np.ndarray]:
    """What one step changes about each table."""
    before = arrays_of(model)
    compile_model(model, Trainer(**({"optimizer": "sgd", "learning_rate": rate} | options)))
    model.fit(feed(Always(batch), 0), steps_per_epoch=1, shuffle=False, verbose=0)
    return {name: array - before[name] for name, array in arrays_of(model).items()}


# Contrastive divergence by hand: loops over rows, entries and units.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numbers(key: int, ids) -> np.ndarray:
    return numpy(uniform(np.full(len(ids), key, np.uint32), np.asarray(ids, np.int32)))


def contrastive_divergence(model, batch, k) -> dict[str, np.ndarray]:
    """The averaged gradient of CD-k, with the random draws of each row, step and unit."""
    tables = arrays_of(model)
    weights, bias, hidden_bias = (tables[name] for name in ("visible_weights", "visible_bias", "hidden_bias"))
    mixing = tables.get("mixing", np.eye(len(hidden_bias)))
    full = weights @ mixing  # (C, K, H)
    rated = tables.get("rated_weights", np.zeros((len(full), len(hidden_bias))))
    num_columns, num_hidden, num_levels = len(full), len(hidden_bias), bias.shape[1]
    gradient = {name: np.zeros_like(table) for name, table in tables.items()}
    full_gradient, rated_gradient = np.zeros_like(full), np.zeros_like(rated)
    levels = np.array(model.levels)
    for row, key in enumerate(batch["key"]):
        entries = np.flatnonzero((batch["row"] == row) & (batch["weight"] > 0))
        columns = batch["column"][entries]
        columns = batch["unique_ids"][columns] if "unique_ids" in batch else columns
        weight = batch["weight"][entries]
        data = np.array([np.argmin(np.abs(levels - value)) for value in batch["value"][entries]], int)

        def on(states, columns=columns):
            signal = hidden_bias + rated[columns].sum(axis=0)
            return sigmoid(signal + sum(full[column, state] for column, state in zip(columns, states, strict=True)))

        state = data
        for number in range(k):
            first = number * (num_columns + num_hidden)
            hidden = numbers(key, first + num_columns + np.arange(num_hidden)) < on(state)
            draws, state = numbers(key, first + columns), []
            for column, draw in zip(columns, draws, strict=True):
                share = np.exp(bias[column] + full[column] @ hidden)
                below = np.cumsum(share / share.sum())
                state.append(next(level for level in range(num_levels) if draw < below[level]))
        for sign, found in ((-1, data), (1, state)):
            probability = on(found)
            gradient["hidden_bias"] += sign * probability * (weight.mean() if len(weight) else 0)
            for column, level, counts in zip(columns, found, weight, strict=True):
                gradient["visible_bias"][column, level] += sign * counts
                full_gradient[column, level] += sign * counts * probability
                rated_gradient[column] += sign * counts * probability
    if "mixing" in tables:
        gradient["visible_weights"] = full_gradient @ mixing.T
        gradient["mixing"] = np.einsum("ckf,ckh->fh", weights, full_gradient)
    else:
        gradient["visible_weights"] = full_gradient
    if "rated_weights" in tables:
        gradient["rated_weights"] = rated_gradient
    return {name: array / len(batch["index"]) for name, array in gradient.items()}


THREE = make_ratings(user=[0, 0, 0, 1, 1, 2, 2], item=[0, 1, 2, 0, 2, 1, 2], value=[1, 3, 2, 3, 3, 1, 1])
WEIGHTED = replace(THREE, weight=np.array([1, 2, 0.5, 1, 3, 0.25, 1], np.float32))


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("k", "ratings", "options"),
    [
        (1, THREE, {}),
        (3, THREE, {}),
        (1, WEIGHTED, {}),
        (2, THREE, {"conditional": True}),
        (2, THREE, {"rank": 1}),
        (2, WEIGHTED, {"conditional": True, "rank": 3}),
        (1, THREE, {"by": "item"}),
    ],
    ids=["cd-1", "cd-3", "weighted", "conditional", "factored", "all", "item"],
)
def test_a_step_is_the_one_written_by_hand(k, ratings, options, arithmetic):
    """Three visible units of three values, two hidden ones; a batch of four, of which one row is padding."""
    model = machine(ratings, arithmetic=arithmetic, gibbs_steps=k, **options)
    batch = training_batch(model, ratings, size=4)
    expected = contrastive_divergence(model, batch, k)
    found = step(model, batch, rate=0.1)
    assert found.keys() == expected.keys()
    for name, change in found.items():
        np.testing.assert_allclose(change, -0.1 * expected[name], atol=2e-6, err_msg=name)
        assert np.abs(change).max() > 1e-3, name


# The likelihood


def log_joint(tables, level, hidden):
    """- E(v, h) of a row in which every column is rated."""
    weights = tables["visible_weights"] @ tables.get("mixing", np.eye(len(hidden)))
    bias = tables["hidden_bias"] + tables.get("rated_weights", np.zeros((1, len(hidden)))).sum(axis=0)
    units = range(len(level))
    total = hidden @ bias + sum(tables["visible_bias"][unit, level[unit]] for unit in units)
    return total + sum(hidden @ weights[unit, level[unit]] for unit in units)


ALL_RATED = make_ratings([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [1, 2, 1, 2, 2, 1])


@pytest.mark.parametrize("options", [{}, {"conditional": True}, {"rank": 1}, {"arithmetic": "sparse"}])
def test_free_energy_sums_the_hidden_units_out(options):
    model = machine(ALL_RATED, **options)
    hidden = [np.array(states) for states in itertools.product((0, 1), repeat=2)]
    tables = arrays_of(model)
    expected = [-np.logaddexp.reduce([log_joint(tables, level, h) for h in hidden]) for level in ([0, 1, 0], [1, 1, 0])]
    batch = next(RowBatches(ALL_RATED.rows("user"), 2, unique_ids=model.row_sparse).epoch())
    np.testing.assert_allclose(numpy(model.free_energy(batch)), expected, rtol=1e-5)


def test_the_gradient_approaches_that_of_the_likelihood_as_k_grows():
    """On average over 8,192 chains; each of their entries is a mean of numbers between -1 and 1.

    Such a mean has a standard deviation of at most 1 / sqrt(8192) = .011; among the 20 entries .05, over four of
    these, is not met by chance.
    """
    chains = 4_096
    rows = np.arange(2 * chains)
    data = np.array([[0, 1, 0], [1, 1, 0]])[rows % 2]
    ratings = make_ratings(np.repeat(rows, 3), np.tile(np.arange(3), len(rows)), 1.0 + data.ravel())
    model = machine(ratings, scale=2.5, seed=1)
    tables = arrays_of(model)

    states_of = list(itertools.product((0, 1), repeat=3))
    log_share = np.array(
        [np.logaddexp.reduce([log_joint(tables, v, np.array(h)) for h in itertools.product((0, 1), repeat=2)])
         for v in states_of]
    )  # fmt: skip
    share = np.exp(log_share - np.logaddexp.reduce(log_share))

    def statistics(level):
        signal = tables["hidden_bias"] + sum(tables["visible_weights"][unit, level[unit]] for unit in range(3))
        one_hot = np.eye(2)[list(level)]
        return one_hot[:, :, None] * sigmoid(signal), one_hot, sigmoid(signal)

    names = ("visible_weights", "visible_bias", "hidden_bias")
    exact = {
        name: sum(p * statistics(v)[place] for p, v in zip(share, states_of, strict=True))
        - (statistics(data[0])[place] + statistics(data[1])[place]) / 2
        for place, name in enumerate(names)
    }

    def off(k: int) -> float:
        copy = machine(ratings, scale=2.5, seed=1, gibbs_steps=k)
        found = step(copy, training_batch(copy, ratings), rate=1.0)
        return max(np.abs(-found[name] - exact[name]).max() for name in names)

    assert max(np.abs(gradient).max() for gradient in exact.values()) > 0.3
    one, many = off(1), off(20)
    assert one > 0.2
    assert many < 0.05


# Gibbs sampling


def chance(num_rows=2_000, key=None, columns=2, share=(0.5, 0.2, 0.3)) -> Machines:
    """Machines whose hidden units have no influence; the values of each visible unit have these shares."""
    keys = row_keys(0, 0, np.arange(num_rows)) if key is None else key
    batch = {
        "index": np.arange(num_rows, dtype=np.int32),
        "key": keys,
        "row": np.repeat(np.arange(num_rows, dtype=np.int32), columns),
        "column": np.tile(np.arange(columns, dtype=np.int32), num_rows),
        "weight": np.ones(num_rows * columns, np.float32),
    }
    bias = np.tile(np.log(np.array(share, np.float32)), (columns, 1))
    return Machines(batch, columns, np.zeros((columns, len(share), 1), np.float32), bias, np.zeros(1, np.float32))


def drawn(machines: Machines, length: int) -> np.ndarray:
    signal = np.zeros((len(machines.batch["index"]), 1), np.float32)
    return numpy(machines.sample(signal, keras.ops.convert_to_tensor(np.int32(length)))[1])


def test_values_are_drawn_with_their_probabilities():
    for length in (1, 3):
        found = np.bincount(drawn(chance(), length), minlength=3) / 4_000
        # standard deviations are at most sqrt(.25 / 4000) = .008
        np.testing.assert_allclose(found, [0.5, 0.2, 0.3], atol=0.032)


def test_draws_differ_between_steps_rows_columns_and_epochs():
    first = drawn(chance(), 1).reshape(-1, 2)
    later = drawn(chance(key=row_keys(0, 1, np.arange(2_000))), 1).reshape(-1, 2)
    second, third = (drawn(chance(), length).reshape(-1, 2) for length in (2, 3))
    pairs = [(first, second), (second, third), (first, later), (first[1:], first[:-1]), (first[:, :1], first[:, 1:])]
    for one, other in pairs:
        # Independent draws agree with probability .25 + .04 + .09 = .38, and a deviation of at most .011.
        assert np.mean(one == other) == pytest.approx(0.38, abs=0.05)


def test_draws_go_with_the_row_wherever_it_is_computed():
    keys = row_keys(0, 0, np.arange(2_000))
    np.testing.assert_array_equal(drawn(chance(500, keys[700:1_200]), 3), drawn(chance(), 3)[1_400:2_400])


def test_the_number_of_steps_follows_the_epoch_without_retracing(monkeypatch):
    """Each epoch gives the result of a run with its k from the start; the last two epochs cause no retracing."""
    traced, signal = [], Machines.signal
    monkeypatch.setattr(Machines, "signal", lambda self, level: traced.append(1) or signal(self, level))
    ratings = random_ratings()
    trainer = Trainer(epochs=1, batch_size=30, optimizer="sgd", learning_rate=0.1)

    def epoch(model, number, k):
        model.gibbs_steps = [[0, 1], [1, 3]] if k is None else [[0, k]]
        before = arrays_of(model)
        made.progress.history[:] = [{}] * number
        made._epoch(number, Silent())
        return {name: array - before[name] for name, array in arrays_of(model).items()}

    class Silent:
        def advance(self, steps):
            pass

    changes = {}
    for k in (None, 1, 3):
        model = machine(ratings, num_hidden=4)
        compile_model(model, trainer)
        made = Stage("refit", trainer, model, ratings, seed=0, epochs=3)
        start = model.get_weights()
        changes[k] = []
        for number in range(3):
            for variable, array in zip(model.weights, start, strict=True):
                variable.assign(array)
            changes[k].append(epoch(model, number, k)["visible_weights"])
            if k is None and number == 0:
                count = len(traced)
        if k is None:
            assert len(traced) == count
    np.testing.assert_array_equal(changes[None][0], changes[1][0])
    for number in (1, 2):
        np.testing.assert_array_equal(changes[None][number], changes[3][number])
        assert np.abs(changes[1][number] - changes[3][number]).max() > 1e-3


def test_every_stage_begins_with_the_first_k():
    ratings = random_ratings()
    model = machine(ratings, gibbs_steps=[[0, 1], [1, 3], [3, 9]])
    trainer = Trainer(epochs=4, batch_size=10)
    compile_model(model, trainer)
    seen = []

    def diagnose(model):
        seen.append(int(model.chain_length))
        return {}

    for name in ("select", "refit"):
        Stage(name, trainer, model, ratings, seed=0, epochs=4, diagnose=diagnose).run()
    assert seen == [1, 3, 3, 9] * 2


# Invariances


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_missing_ratings_move_nothing(arithmetic, optimizer):
    """Items 3 and 5 are rated in the data, but not in this batch."""
    ratings = make_ratings([0, 0, 1, 2, 3, 3], [0, 1, 2, 4, 3, 5], [1, 5, 3, 2, 4, 5])
    model = machine(ratings, conditional=True, arithmetic=arithmetic, gibbs_steps=2)
    rows = RowBatches(ratings.rows("user"), 3, which=np.array([0, 1, 2]), seed=0, unique_ids=model.row_sparse)
    found = step(model, next(rows.epoch()), optimizer=optimizer)
    for name in ("visible_weights", "visible_bias", "rated_weights"):
        moved = np.abs(found[name]).reshape(6, -1).max(axis=1) > 0
        assert moved.tolist() == [True, True, True, False, True, False], name


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_padding_moves_nothing(arithmetic):
    ratings = random_ratings(weighted=True)
    changes = []
    for absurd in (False, True):
        model = machine(ratings, conditional=True, arithmetic=arithmetic, sparsity_penalty=0.1)
        batch = training_batch(model, ratings, size=40)
        empty = batch["weight"] == 0
        assert empty.any()
        if absurd:
            batch["value"][empty], batch["row"][empty], batch["column"][empty] = 1e9, 3, 2
        changes.append(step(model, batch))
    for name, change in changes[0].items():
        np.testing.assert_allclose(change, changes[1][name], atol=1e-6, err_msg=name)


def test_sparse_arithmetic_trains_as_dense_does():
    """With momentum, over steps that touch every column, with everything switched on."""
    ratings, results = random_ratings(weighted=True), []
    for arithmetic in ("dense", "sparse"):
        model = machine(
            ratings, num_hidden=5, arithmetic=arithmetic, conditional=True, rank=3, weight_decay=0.1, gibbs_steps=2,
            sparsity_penalty=0.1, bias_learning_rate=0.5, scale=0.5,
        )  # fmt: skip
        options = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.9}}
        trainer = Trainer(epochs=5, batch_size=30, learning_rate=0.02, **options)
        compile_model(model, trainer)
        Stage("refit", trainer, model, ratings, seed=0, epochs=5).run()
        results.append(arrays_of(model))
    for name, array in results[0].items():
        np.testing.assert_allclose(array, results[1][name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_biases_have_their_own_learning_rate(arithmetic):
    ratings = random_ratings()
    plain, slow = (
        step(model, training_batch(model, ratings))
        for model in (machine(ratings, arithmetic=arithmetic, bias_learning_rate=rate) for rate in (1.0, 0.25))
    )
    np.testing.assert_allclose(slow["visible_weights"], plain["visible_weights"], atol=1e-6)
    for name in ("visible_bias", "hidden_bias"):
        np.testing.assert_allclose(slow[name], 0.25 * plain[name], atol=1e-6)
        assert np.abs(plain[name]).max() > 1e-3


def test_own_learning_rates_need_an_optimizer_that_has_them():
    model = machine(random_ratings(), bias_learning_rate=0.5)
    with pytest.raises(ConfigError, match=r"work with trainer\.optimizer=adam, adagrad or sgd\. Received: rmsprop"):
        compile_model(model, Trainer(optimizer="rmsprop"))


@pytest.mark.parametrize("arithmetic", ["dense", "sparse"])
def test_weight_decay_pulls_the_weights_alone(arithmetic):
    ratings = random_ratings()
    models = [machine(ratings, arithmetic=arithmetic, conditional=True, weight_decay=decay) for decay in (0.0, 0.5)]
    weights = arrays_of(models[0])
    free, decayed = (step(model, training_batch(model, ratings), rate=0.1) for model in models)
    for name in weights:
        # all columns occur in a batch of all rows, so that the penalty is the full one
        pull = 0.1 * 0.5 * weights[name] if name in ("visible_weights", "rated_weights") else 0.0
        np.testing.assert_allclose(decayed[name], free[name] - pull, atol=1e-6, err_msg=name)


def test_sparsity_pulls_hidden_units_towards_the_target():
    """The penalty's gradient in a hidden unit's bias is penalty * (its mean probability - target)."""
    ratings = random_ratings()
    free, sparse = (machine(ratings, sparsity_penalty=penalty, sparsity_target=0.1) for penalty in (0.0, 2.0))
    batch = training_batch(free, ratings)
    probability = numpy(free.hidden_of(batch)).mean(axis=0)
    change, pulled = (step(model, batch, rate=0.1)["hidden_bias"] for model in (free, sparse))
    np.testing.assert_allclose(pulled - change, -0.1 * 2.0 * (probability - 0.1), atol=1e-6)


# Levels


@pytest.mark.parametrize("levels", [[0, 1], [1, 2, 3, 4, 5], [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5], [-10, 0.25, 7]])
def test_any_rating_scale(levels):
    user, item = (grid.ravel() for grid in np.indices((20, 10)))
    ratings = make_ratings(user, item, np.array(levels)[(user + item) % len(levels)])
    model = machine(ratings)
    assert model.levels == levels
    assert model.visible_weights.shape == (10, len(levels), 2)
    scores = numpy(model.score(model.encode(next(RowBatches(ratings.rows("user"), 20).epoch()))))
    assert ((scores >= levels[0]) & (scores <= levels[-1])).all()


def test_values_count_as_the_nearest_level():
    values, levels = np.array([-9, 1.4, 1.6, 3.4, 4.2, 99], np.float32), np.array([1, 2, 4, 4.5], np.float32)
    assert numpy(states(values, levels)).tolist() == [0, 0, 1, 2, 2, 3]


def test_levels_can_be_given():
    model = RBM(3, 3, levels=[5, 1, 2, 3, 4])
    model.adapt(THREE)
    assert model.levels == [1, 2, 3, 4, 5]


def test_ratings_that_an_rbm_cannot_model_are_refused():
    with pytest.raises(DataError, match=r"All ratings are 1: .* Choose a column of ratings"):
        RBM(2, 2).adapt(make_ratings([0, 1], [0, 1], [1, 1]))
    with pytest.raises(DataError, match=r"these take 101\. At most 100 .* round the ratings"):
        RBM(1, 101).adapt(make_ratings(np.zeros(101, int), np.arange(101), np.arange(101) / 7))


def test_biases_begin_at_the_shares_of_values():
    # item 0: values 1, 1, 2; item 1: 2; item 2: none. Overall (2 + 1) / (4 + 2), (2 + 1) / 6: a half each.
    model = RBM(3, 3, by="user")
    model.adapt(make_ratings([0, 1, 2, 0], [0, 0, 0, 1], [1, 1, 2, 2], 3, 3))
    expected = [[(2 + 2.5) / 8, (1 + 2.5) / 8], [2.5 / 6, 3.5 / 6], [0.5, 0.5]]
    np.testing.assert_allclose(np.exp(numpy(model.visible_bias)), expected, rtol=1e-6)


# Scoring


@pytest.mark.parametrize(("prediction", "expected"), [("expectation", 0.2 * 1 + 0.3 * 2 + 0.5 * 4), ("mode", 4.0)])
@pytest.mark.parametrize("by", ["user", "item"])
def test_predictions_are_expectation_or_mode(by, prediction, expected):
    model = RBM(1, 2, by=by, levels=[1, 2, 4], hidden_units=1, prediction=prediction)
    model.adapt(make_ratings([0, 0], [0, 1], [1, 4]))
    model.visible_weights.assign(np.zeros(model.visible_weights.shape))
    model.visible_bias.assign(np.tile(np.log([0.2, 0.3, 0.5]), (model.num_columns, 1)))
    history = make_ratings([0], [0], [1], 1, 2)
    model.prepare(history)
    queries = model.encode(next(RowBatches(history.rows("user"), 1).epoch()))
    np.testing.assert_allclose(numpy(model.score(queries)), [[expected, expected]], rtol=1e-6)
    np.testing.assert_allclose(model.score_pairs(queries, np.zeros(1, int), np.array([1])), [expected], rtol=1e-6)
    chances = model.probabilities(queries, np.zeros(2, int), np.array([1, 0]))
    np.testing.assert_allclose(chances, [[0.2, 0.3, 0.5]] * 2, rtol=1e-6)
    assert model.probabilities(queries, np.zeros(0, int), np.zeros(0, int)).shape == (0, 3)


def test_a_score_by_hand():
    # hidden: sigmoid(.5 + W_0,1 = 1) = sigmoid(1.5) = .817574; logits of item 1: 0 and .2 + 2 * .817574 = 1.835149
    # p(2) = sigmoid(1.835149) = .862374: the expectation of 1 and 2 is 1.862374
    ratings = make_ratings([0, 0], [0, 1], [2, 1])
    model = RBM(1, 2, by="user", hidden_units=1)
    model.adapt(ratings)
    model.visible_weights.assign([[[-3.0], [1.0]], [[0.0], [2.0]]])
    model.visible_bias.assign([[9.0, 9.0], [0.0, 0.2]])
    model.hidden_bias.assign([0.5])
    batch = next(RowBatches(make_ratings([0], [0], [2], 1, 2).rows("user"), 1).epoch())
    queries = model.encode(batch)
    assert numpy(model.score(queries))[0, 1] == pytest.approx(1.862374, rel=1e-6)
    chances = model.probabilities(queries, np.array([0]), np.array([1]))
    np.testing.assert_allclose(chances, [[1 - 0.862374, 0.862374]], rtol=1e-5)


def test_large_scores_come_in_blocks(monkeypatch):
    ratings = random_ratings()
    for by in ("user", "item"):
        model = machine(ratings, by=by)
        model.prepare(ratings)
        queries = model.encode(next(RowBatches(ratings.rows("user"), 30).epoch()))
        whole, rows = numpy(model.score(queries)), np.arange(20)
        with monkeypatch.context() as patched:
            patched.setattr("nnrec.models.rbm.softmax_scorer.BLOCK", 30 * 5 * 3)
            np.testing.assert_allclose(numpy(model.score(queries)), whole, rtol=1e-5)
            patched.setattr("nnrec.models.rbm.softmax_scorer.BLOCK", 70)
            np.testing.assert_allclose(model.score_pairs(queries, rows, rows), whole[rows, rows], rtol=1e-5)
            means = model.probabilities(queries, rows, rows) @ numpy(model.level_values)
            np.testing.assert_allclose(means, whole[rows, rows], rtol=1e-5)


def test_unseen_users_are_fitted_to_the_items_hidden_units():
    rng = np.random.default_rng(0)
    vectors, average = rng.random((400, 3)), rng.normal(size=(4, 4))
    true = average + 2 * rng.normal(size=(4, 4))
    logits = vectors @ true[:, :-1].T + true[:, -1]
    levels = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    weights = np.ones(400)

    def shares(found):
        exponentials = np.exp(vectors @ found[:, :-1].T + found[:, -1])
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    found = fold_in_softmax(vectors, levels, weights, average, l2=0.5)
    assert np.abs(shares(found) - shares(true)).mean() < 0.3 * np.abs(shares(average) - shares(true)).mean()
    # at the minimum, what the data pull is what the penalty holds
    pull = (np.eye(4)[levels] - shares(found)).T
    np.testing.assert_allclose(pull @ vectors, 0.5 * (found - average)[:, :-1], atol=0.02)
    np.testing.assert_allclose(pull.sum(axis=1), (found - average)[:, -1], atol=0.02)
    np.testing.assert_allclose(fold_in_softmax(vectors, levels, weights, average, 1e9, 1e9), average, atol=1e-4)


# Diagnostics


def test_reconstruction_error_by_hand():
    model = RBM(2, 2, by="user", levels=[1, 3], hidden_units=1)
    ratings = make_ratings([0, 0, 1], [0, 1, 1], [1, 3, 3])
    model.adapt(ratings)
    model.visible_weights.assign(np.zeros((2, 2, 1)))
    model.visible_bias.assign([[0, 0], [0, np.log(3)]])
    # reconstructions: 2 and .25 * 1 + .75 * 3 = 2.5; errors 1, .5, .5
    assert model.diagnostics(ratings, None) == {"reconstruction_rmse": pytest.approx(0.5**0.5)}
    # free energies without weights: -(b) - log 2 for each row. Training: (-log 1 - log 3 - log 2) for two ratings
    # and (-log 3 - log 2) for one, validation (-log 3 - log 2) for one
    validation = HeldOut(make_ratings([1], [1], [3], 2, 2), ratings)
    gap = -np.log(6) - (-np.log(6) - np.log(6)) / 3
    assert model.diagnostics(ratings, validation)["free_energy_gap"] == pytest.approx(gap, rel=1e-5)
    assert "free_energy_gap" not in model.diagnostics(ratings, HeldOut(ratings, ratings))


def test_diagnostics_are_logged_each_epoch(tmp_path):
    ratings = random_ratings(60, 20)
    split = HeldOutUsers(test=0.2, validation=0.2)(ratings, 0)
    config = compose("train", ["model=rbm", "model.by=user", "model.hidden_units=3", f"run_dir={tmp_path}/run"])
    folder = RunFolder.create(tmp_path / "run")
    learning(config, Trainer(epochs=2, batch_size=16), Evaluation((5,)), split).run(folder)
    history = pd.read_csv(folder["history.csv"])
    assert np.isfinite(history[["reconstruction_rmse", "free_energy_gap"]]).all(axis=None)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder["tensorboard"]))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"select/reconstruction_rmse", "select/free_energy_gap", "refit/reconstruction_rmse"} <= tags
    assert "refit/free_energy_gap" not in tags


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "genre"}, "model.by must be one of item, user. Received: 'genre'"),
        ({"prediction": "median"}, "model.prediction must be one of expectation, mode"),
        ({"hidden_units": 0}, "model.hidden_units must be at least 1. Received: 0"),
        ({"rank": -1}, "model.rank must not be negative. Received: -1"),
        ({"sparsity_target": 1.0}, "model.sparsity_target must lie between 0 and 1"),
        ({"gibbs_steps": 0}, r"model.gibbs_steps must be .* Received: \[\[0, 0\]\]"),
        ({"gibbs_steps": [[1, 1]]}, r"rising epochs from 0 on, .* Received: \[\[1, 1\]\]"),
        ({"gibbs_steps": [[0, 1], [5, 3], [5, 4]]}, "rising epochs"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        RBM(3, 2, **options)


def test_auto_arithmetic_follows_columns_and_levels():
    for num_items, levels, sparse in ((7_000, [1, 2, 3, 4, 5], False), (7_000, list(range(10)), True)):
        assert RBM(2, num_items, by="user", hidden_units=1, levels=levels).row_sparse == sparse

"""GRU4Rec compared with a NumPy implementation, and tests against known mistakes of other implementations."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from keras import ops

from nnrec.batches.whole_sessions import blocks
from nnrec.core.config.compose import compose
from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.sessions.gru4rec import GRU4Rec
from nnrec.training.feeding import feed
from nnrec.training.loop import Stage, compile_model
from nnrec.training.settings import Trainer

pytestmark = pytest.mark.neural
TINY = {"hidden_units": (6,), "n_sample": 5, "sample_alpha": 0.5, "loss": "bpr-max", "elu_param": 0.5}
TRAINER = Trainer(epochs=1, batch_size=4, learning_rate=0.1, optimizer="adagrad", optimizer_options={"momentum": 0.2})
NUM_ITEMS = 20


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@cache
def walks(num_sessions: int = 30, num_items: int = NUM_ITEMS, seed: int = 0) -> Sessions:
    """Sessions that mostly go up by one item; the last item never comes up."""
    rng = np.random.default_rng(seed)
    drawn = []
    for length in rng.integers(2, 8, num_sessions):
        steps = np.where(rng.random(length) < 0.9, 1, 3)
        drawn.append((rng.integers(num_items - 1) + np.cumsum(steps)) % (num_items - 1))
    lengths = [len(items) for items in drawn]
    return Sessions(
        ids=Vocabulary(f"s{number}" for number in range(num_sessions)),
        items=Vocabulary(range(num_items)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item=np.concatenate(drawn).astype(np.int32),
        item_table=pd.DataFrame({"kind": [None, *np.arange(1, num_items) % 3]}),
    )


def fresh(seed: int = 0, trainer: Trainer = TRAINER, **settings) -> GRU4Rec:
    backend.seed(seed)
    model = GRU4Rec(NUM_ITEMS, **TINY | settings)
    model.adapt(walks())
    compile_model(model, trainer)
    return model


def fitted(model: GRU4Rec, batch_size: int = 4, epoch: int = 0, seed: int = 0, train: Sessions | None = None) -> float:
    batches = model.training_batches(train or walks(), batch_size, seed)
    made = model.fit(feed(batches, epoch), steps_per_epoch=len(batches), shuffle=False, verbose=0)
    return made.history["loss"][0]


def arrays(model: GRU4Rec) -> list[np.ndarray]:
    return [ops.convert_to_numpy(weight) for weight in model.learnt_weights()]


def queries(model: GRU4Rec, *sessions: list[int]) -> np.ndarray:
    items = np.full((len(sessions), max(map(len, sessions))), -1, np.int32)
    for number, session in enumerate(sessions):
        items[number, : len(session)] = session
    return ops.convert_to_numpy(model.encode({"item": items}))


# Beside NumPy


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_units(model: GRU4Rec, session: np.ndarray) -> np.ndarray:
    """The last layer's units after each event, an event and a layer at a time."""
    entering = [ops.convert_to_numpy(model.inputs)[item] for item in session]
    for number, layer in enumerate(model.recurrent):
        given = number == 0 and model.one_hot
        recurrent, bias = ops.convert_to_numpy(layer.recurrent), ops.convert_to_numpy(layer.bias)
        kernel = None if given else ops.convert_to_numpy(layer.kernel)
        h, outputs = np.zeros(layer.units), []
        for x in entering:
            x_r, x_z, x_c = np.split((x if given else x @ kernel) + bias[0], 3)
            h_r, h_z, h_c = np.split(h @ recurrent + bias[1], 3)
            r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
            h = (1 - z) * h + z * np.tanh(x_c + r * h_c)
            outputs.append(h)
        entering = outputs
    for layer in model.after:
        kernel, bias = ops.convert_to_numpy(layer.kernel), ops.convert_to_numpy(layer.bias)
        entering = [np.tanh(x @ kernel + bias) for x in entering]
    return np.array(entering)


VARIANTS = {
    "constrained": {},
    "separate": {"constrained_embedding": False, "embedding": 4},
    "one-hot": {"constrained_embedding": False},
    "deep": {"hidden_units": (5, 4), "feed_forward": (3,)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_units_after_each_event(variant):
    model = fresh(**VARIANTS[variant])
    fitted(model)
    session = np.array([3, 4, 4, 7, 2])
    np.testing.assert_allclose(queries(model, session.tolist())[0], numpy_units(model, session), atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("slots", [3, 40])
def test_the_loss_of_an_epoch(variant, slots):
    """The expected loss is BPR-max over M x (M + N) scores, with the units of each session computed separately.

    The loss would differ if the state were reset early, late or never, if masked slots counted, or if sessions were
    dropped. 40 slots are more than there are sessions.
    """
    model = fresh(trainer=Trainer(learning_rate=1e-12, optimizer="adagrad"), **VARIANTS[variant])
    for weight in (model.items, model.item_bias):  # larger scores, so that differences show
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    train, table, bias = walks(), ops.convert_to_numpy(model.items), ops.convert_to_numpy(model.item_bias)
    batches = model.training_batches(train, slots, 0)
    units = np.concatenate([numpy_units(model, items) for items in np.split(train.item, train.offsets[1:-1])])
    totals = []
    for step, events in enumerate(np.concatenate([events[:row] for row, events, _ in batches.plan(0)])):
        events = events[events >= 0]
        listed = np.concatenate([train.item[events + 1], batches.negatives(0, step)])
        r = units[events] @ table[listed].T + bias[listed]
        r = np.where(r > 0, r, 0.5 * (np.exp(np.minimum(r, 0)) - 1))
        others = 1 - np.eye(*r.shape)
        shares = np.exp(r) * others / (np.exp(r) * others).sum(axis=1, keepdims=True)
        likelihood = (shares * sigmoid(np.diag(r)[:, None] - r)).sum(axis=1)
        totals.append((-np.log(likelihood) + (shares * r**2).sum(axis=1)).sum() / slots)
    assert fitted(model, slots) == pytest.approx(np.mean(totals), rel=1e-4)


def test_a_step_is_adagrads_with_momentum_on_the_rows_it_touches():
    """Two steps of one slot: a row's velocity acts only in steps that update the row; unscored biases do not move."""
    session = [1, 2, 1]
    train = Sessions(Vocabulary(["s"]), Vocabulary(range(NUM_ITEMS)), np.array([0, 3]), np.array(session, np.int32))
    model = fresh(n_sample=1)
    batches = model.training_batches(train, 1, 0)
    drawn = [int(batches.negatives(0, step)[0]) for step in (0, 1)]
    before = arrays(model)
    fitted(model, 1, train=train)
    untouched = np.setdiff1d(np.arange(NUM_ITEMS), [*session, *drawn])
    table, bias = model.items, model.item_bias
    after = [ops.convert_to_numpy(weight) for weight in (table, bias)]
    old = {id(weight): array for weight, array in zip(model.learnt_weights(), before, strict=True)}
    for weight, new in zip((table, bias), after, strict=True):
        np.testing.assert_array_equal(new[untouched], old[id(weight)][untouched])
        assert (new[2] != old[id(weight)][2]).all()
    accumulators = [ops.convert_to_numpy(kinds[0]) for kinds in model.optimizer.row_moments]
    assert (accumulators[0][untouched] == 0).all() and (accumulators[0] >= 0).all()
    assert (accumulators[0][1] > 0).any()


# Mistakes


def test_scoring_knows_no_state_of_training_or_of_other_sessions():
    model = fresh()
    fitted(model)
    alone = queries(model, [3, 4, 5])
    for state in model.running:
        state.assign(np.full(state.shape, 9.0))
    beside = queries(model, [7, 8, 9, 10, 11], [3, 4, 5], [1])
    np.testing.assert_allclose(beside[1, :3], alone[0], atol=1e-6)
    np.testing.assert_array_equal(queries(model, [3, 4, 5]), alone)


def test_a_query_knows_the_event_and_those_before_it_alone():
    model = fresh()
    fitted(model)
    one, other = queries(model, [3, 4, 5, 6]), queries(model, [3, 4, 11, 12])
    np.testing.assert_allclose(one[0, :2], other[0, :2], atol=1e-6)
    assert np.abs(one[0, 2] - other[0, 2]).max() > 1e-3


def test_event_by_event_is_the_session_at_once():
    model = fresh(hidden_units=(5, 4))
    fitted(model)
    at_once = queries(model, [3, 9, 2])[0]
    for _ in range(2):  # a second session does not start where the first ended
        state = None
        for number, item in enumerate((3, 9, 2)):
            state, query = model.advance(state, item)
            np.testing.assert_allclose(ops.convert_to_numpy(query)[0], at_once[number], atol=1e-6)


def test_every_epoch_starts_from_zeroed_states():
    model = fresh(trainer=Trainer(learning_rate=1e-12, optimizer="adagrad"))
    first = fitted(model)
    assert fitted(model) == pytest.approx(first, rel=1e-5)


def test_a_step_scores_its_own_items_alone():
    model = fresh(n_sample=2)
    batches = model.training_batches(walks(), 2, 0)
    batch = next(batches.epoch())
    step = {name: array[0] for name, array in batch.items() if name != "steps"}
    assert ops.shape(model(step))[1] == batches.room == 6 < NUM_ITEMS


def test_scores_of_some_items_are_those_of_all():
    model = fresh()
    fitted(model)
    query = queries(model, [3, 4, 5])[0]
    some = np.array([4, 0, 19])
    everything = ops.convert_to_numpy(model.score(query))
    assert everything.shape == (3, NUM_ITEMS)
    np.testing.assert_allclose(ops.convert_to_numpy(model.score(query, some)), everything[:, some], atol=1e-6)
    # What goes into the softmax, or the ELU: no probabilities, nothing cut off.
    table, bias = ops.convert_to_numpy(model.items), ops.convert_to_numpy(model.item_bias)
    np.testing.assert_allclose(everything, query @ table.T + bias, atol=1e-5)


@pytest.mark.parametrize("which", ["dropout_p_embed", "dropout_p_hidden"])
def test_dropout_is_a_probability_of_dropping_and_there_are_two(which):
    model = fresh(hidden_units=(400,), **{which: 0.9})
    key = np.arange(3, dtype=np.uint32)
    states = [np.zeros((3, 400), np.float32)]
    rows, items = np.ones((3, 400), np.float32), np.zeros(3, np.int32)
    hidden, (state,) = (ops.convert_to_numpy(part) if not isinstance(part, list) else part
                        for part in model._read(rows, items, states, key))  # fmt: skip
    share = (hidden == 0).mean()
    assert share == pytest.approx(0.9 if which == "dropout_p_hidden" else 0.0, abs=0.03)
    # What is dropped is gone for the next event too.
    np.testing.assert_array_equal(ops.convert_to_numpy(state), hidden)
    dropped = ops.convert_to_numpy(model._drop(rows, key, which, 0))
    assert (dropped == 0).mean() == pytest.approx(0.9, abs=0.03)
    assert dropped.max() == pytest.approx(10.0)
    assert model._drop(rows, None, which, 0) is rows


def test_no_dropout_where_it_is_scored():
    model = fresh(dropout_p_embed=0.5, dropout_p_hidden=0.5)
    np.testing.assert_array_equal(queries(model, [3, 4]), queries(model, [3, 4]))


def test_logq_is_for_training_alone():
    kept = [arrays(fresh(loss="cross-entropy", logq=logq)) for logq in (0.0, 1.0)]
    for one, other in zip(*kept, strict=True):
        np.testing.assert_array_equal(one, other)
    models = [fresh(loss="cross-entropy", logq=logq) for logq in (0.0, 1.0)]
    np.testing.assert_array_equal(*[ops.convert_to_numpy(m.score(queries(m, [3])[0])) for m in models])
    assert fitted(models[0]) != pytest.approx(fitted(models[1]), rel=1e-3)


def test_the_defaults_are_the_authors_optimizer_at_a_constant_rate():
    trainer = compose("train", ["model=gru4rec", "~experiment"]).trainer
    assert trainer.schedule._target_ == "nnrec.training.Constant"
    assert (trainer.optimizer, trainer.optimizer_options.momentum) == ("adagrad", 0.0)


# Training


@pytest.mark.parametrize("loss", ["cross-entropy", "bpr", "bpr-max", "top1", "top1-max"])
def test_it_learns_to_go_up_by_one(loss):
    model = fresh(loss=loss, n_sample=10, hidden_units=(16,))
    train = walks(300)
    batches = model.training_batches(train, 8, 0)
    for epoch in range(15):
        model.fit(feed(batches, epoch), steps_per_epoch=len(batches), shuffle=False, verbose=0)
    last = queries(model, *[[item] for item in range(17)])[:, 0]
    best = ops.convert_to_numpy(model.score(last))[:, :19].argmax(axis=1)
    assert (best == np.arange(1, 18)).mean() > 0.8


@pytest.mark.parametrize(
    "variant",
    [
        "constrained",
        "deep",
        "features",
        "bptt",
        "random",
        *(pytest.param(v, marks=pytest.mark.slow) for v in ("separate", "one-hot")),
    ],
)
def test_the_same_seed_gives_the_same_weights_and_all_are_kept(variant):
    more = {"features": {"features": ("kind",)}, "bptt": {"bptt": 3}, "random": {"train_random_order": True}}
    settings = (VARIANTS | more)[variant] | {"dropout_p_embed": 0.2, "dropout_p_hidden": 0.2}
    models = [fresh(**settings) for _ in range(2)]
    start = arrays(models[0])
    for model in models:
        fitted(model, epoch=1)
    for one, other in zip(*map(arrays, models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    moved = [(one != other).any() for one, other in zip(start, arrays(models[0]), strict=True) if one.size]
    assert sum(moved) >= len(moved) - (variant == "features"), "a weight that never moves"
    copy = GRU4Rec.from_config(json.loads(json.dumps(models[0].get_config())))
    copy.load_state(dict(models[0].state()))
    np.testing.assert_allclose(queries(copy, [3, 4]), queries(models[0], [3, 4]), atol=1e-6)


def test_resizing_the_batch_keeps_what_was_learnt():
    model = fresh()
    fitted(model, 4)
    kept = model.state()
    model.training_batches(walks(), 7, 0)
    assert kept.keys() == model.state().keys()


def test_gradients_go_back_through_several_events_where_asked():
    """An input that affects the loss only through the state has a gradient only if it passes through the state."""
    moved = {}
    for bptt in (1, 2):
        model = fresh(n_sample=0, bptt=bptt, loss="bpr", constrained_embedding=False, embedding=4,
                      trainer=Trainer(learning_rate=0.1, optimizer="sgd"))  # fmt: skip
        # One row without negatives has no gradient, so two slots have the same inputs and different targets.
        train = Sessions(
            Vocabulary(["s", "t"]),
            Vocabulary(range(NUM_ITEMS)),
            np.array([0, 3, 6]),
            np.array([1, 2, 3, 4, 2, 5], np.int32),
        )
        before = ops.convert_to_numpy(model.inputs).copy()
        fitted(model, 2, train=train)
        moved[bptt] = np.abs(ops.convert_to_numpy(model.inputs) - before)
    assert moved[1][1].max() == 0  # both first targets are item 2: nothing to tell apart
    assert moved[2][1].max() > 0


def test_features_enter():
    model = fresh(features=("kind",), feature_units=3)
    codes = ops.convert_to_numpy(model.feature_codes)[:, 0]
    assert codes.tolist()[:5] == [0, 1, 2, 3, 1]  # 0: missing
    before = ops.convert_to_numpy(model.feature_tables[0]).copy()
    fitted(model)
    assert (ops.convert_to_numpy(model.feature_tables[0]) != before).any()
    with pytest.raises(DataError, match="model.features: the data's items have no brand. Columns there: kind"):
        GRU4Rec(NUM_ITEMS, features=("brand",)).adapt(walks())


def test_parameters_of_the_authors_take_their_place():
    text = "layers=7,loss=top1-max,n_sample=3,dropout_p_hidden=0.25"
    model = GRU4Rec(NUM_ITEMS, hidden_units=(9,), parameters=text)
    assert (model.settings["hidden_units"], model.settings["loss"]) == ((7,), "top1-max")
    assert model.get_config()["dropout_p_hidden"] == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "bpr_max"}, "model.loss must be one of cross-entropy, bpr, bpr-max.*Received: 'bpr_max'"),
        ({"dropout_p_embed": 1.0}, "model.dropout_p_embed must be at least 0 and below 1, the probability of dropping"),
        ({"hidden_units": ()}, "model.hidden_units must hold at least one size"),
        ({"hidden_units": (0,)}, "model.hidden_units must hold positive integers"),
        ({"n_sample": -1}, "model.n_sample must be an integer, at least 0"),
        ({"sample_alpha": -0.5}, "model.sample_alpha must be at least 0"),
        ({"bptt": 0}, "model.bptt must be a positive integer"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        GRU4Rec(NUM_ITEMS, **settings)


def test_a_stage_trains_validates_and_resumes(tmp_path):
    from nnrec.runs.folder import RunFolder

    trainer = Trainer(epochs=3, batch_size=4, learning_rate=0.1, optimizer="adagrad", checkpoint_seconds=0)

    def stage(folder: str, seed: int, die_in: int | None = None) -> Stage:
        def diagnose(model):
            if made.progress.epoch == die_in:
                raise KeyboardInterrupt
            return {}

        settings = {"dropout_p_hidden": 0.3}
        made = Stage("refit", trainer, fresh(seed, trainer, **settings), walks(), seed=5, epochs=3, diagnose=diagnose,
                     folder=RunFolder(tmp_path / folder))  # fmt: skip
        return made

    whole = stage("whole", 0)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        stage("cut", 0, die_in=2).run()
    resumed = stage("cut", 9)
    resumed.run(resumed.folder.read_arrays("checkpoint.npz"))
    for one, other in zip(arrays(whole.model), arrays(resumed.model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_blocks_of_sessions_are_encoded_alike():
    model = fresh()
    fitted(model)
    train = walks()
    for batch in blocks(train, 32):
        found = ops.convert_to_numpy(model.encode(batch))
        for row, session in enumerate(batch["session"]):
            if session >= 0:
                items = train.item[train.offsets[session] : train.offsets[session + 1]]
                np.testing.assert_allclose(found[row, : len(items)], numpy_units(model, items), atol=1e-5)

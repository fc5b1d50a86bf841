"""Item2vec: the loss and the scores by hand, and what it learns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, TrainingError
from nnrec.training.settings import Trainer
from tests.models.small_sessions import batch_of_sessions, scores_after, sessions_of

pytestmark = pytest.mark.neural
# (num_items, d): of inputs and outputs
U = np.array([[1, 0], [0, 2], [3, 4], [0, -1]], np.float32)
V = np.array([[1, 1], [2, 0], [0, 1], [-1, 0]], np.float32)


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def item2vec(num_items: int = 4, **options):
    from nnrec.models.sessions.item2vec import Item2Vec

    return Item2Vec(num_items, **{"embedding_dim": 2, "negatives": 2, **options})


def given(**options):
    model = item2vec(**options)
    model.inputs_table.assign(U)
    model.outputs_table.assign(V)
    return model


def trained(clicks, num_items: int, epochs: int = 20, learning_rate: float = 0.05, **options):
    from nnrec.training.loop import Stage, compile_model

    backend.seed(0)
    train = sessions_of(clicks, num_items)
    model = item2vec(num_items, **{"embedding_dim": 8, **options})
    model.adapt(train)
    trainer = Trainer(epochs=epochs, batch_size=16, learning_rate=learning_rate)
    compile_model(model, trainer)
    stage = Stage("refit", trainer, model, train, seed=3, epochs=epochs)
    stage.run()
    return model, [row["loss"] for row in stage.progress.history]


def batch(inputs, outputs, weight):
    """Positions are items."""
    inputs = np.array(inputs, np.int32)
    everything = {"unique_ids": np.arange(4, dtype=np.int32), "unique_ids_scale": np.ones(4, np.float32)}
    everything |= {"scored": np.arange(4, dtype=np.int32), "scored_scale": np.ones(4, np.float32)}
    return everything | {
        "input": np.maximum(inputs, 0),
        "share": ((inputs >= 0) / (inputs >= 0).sum(axis=1, keepdims=True)).astype(np.float32),
        "output": np.array(outputs, np.int32),
        "weight": np.array(weight, np.float32),
    }


def loss_of(model, examples) -> float:
    model(examples)
    return float(sum(model.losses))


def softplus(x: float) -> float:
    return float(np.log1p(np.exp(x)))


def test_skip_gram_loss():
    # u_0 = (1, 0): with v_1 2, v_3 -1, v_0 1: ln(1 + e^-2) + ln(1 + e^-1) + ln(1 + e)
    first = softplus(-2) + softplus(-1) + softplus(1)
    # u_1 = (0, 2): target v_2, 2; negatives v_0, 2, and the target itself, which counts nothing
    second = softplus(-2) + softplus(2)
    examples = batch([[0], [1], [2]], [[1, 3, 0], [2, 0, 2], [1, 1, 1]], [1, 1, 0])
    assert loss_of(given(), examples) == pytest.approx((first + second) / 3, rel=1e-6)


def test_cbow_loss():
    # The mean of (1, 0) and (3, 4) is (2, 2): with v_0 4, with v_1 4, with v_3 -2
    examples = batch([[0, 2]], [[0, 1, 3]], [1])
    expected = softplus(-4) + softplus(4) + softplus(-2)
    assert loss_of(given(architecture="cbow"), examples) == pytest.approx(expected, rel=1e-6)


def test_scores():
    np.testing.assert_allclose(scores_after(given(), [1, 0])[0], [1, 0, 0.6, 0], atol=1e-6)
    np.testing.assert_allclose(scores_after(given(scoring="dot"), [1, 0])[0], [1, 0, 3, 0], atol=1e-6)
    np.testing.assert_allclose(scores_after(given(scoring="output"), [1, 0])[0], [1, 2, 0, -1], atol=1e-6)
    # The mean of (1, 0) and (0, 2), after a third event before them.
    np.testing.assert_allclose(scores_after(given(scoring="dot", last_n=2), [2, 1, 0])[0], [0.5, 2, 5.5, -1])
    # Of the directions (1, 0) and (0, 1): (1, 1) / sqrt(2), which has with (.6, .8) 1.4 / sqrt(2)
    half = 0.5**0.5
    cosines = scores_after(given(last_n=2), [2, 1, 0])[0]
    np.testing.assert_allclose(cosines, [half, half, 1.4 * half, -half], rtol=1e-6)
    model = given(last_n=3)
    np.testing.assert_allclose(scores_after(model, [1]), scores_after(given(), [1]), rtol=1e-6)
    queries = np.asarray(model.encode(batch_of_sessions([[0, 2]])))[:, 1]
    some = np.asarray(model.score(queries, np.array([3, 1])))
    np.testing.assert_allclose(some, np.asarray(model.score(queries))[:, [3, 1]], rtol=1e-6)


def test_later_events_change_nothing_and_single_events_are_all_at_once():
    model = given(last_n=2)
    before, after = (np.asarray(model.encode(batch_of_sessions([[0, 1, *more]]))) for more in ([2, 3], [3, 0]))
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before[:, 2] != after[:, 2]).any()
    state = None
    for place, item in enumerate([0, 1, 2, 3]):
        state, query = model.advance(state, item)
        np.testing.assert_allclose(np.asarray(query)[0], before[0, place], rtol=1e-6)


def test_similar_items():
    # Cosines of (3, 4): with (1, 0) .6, with (0, 2) .8, with (0, -1) -.8
    ids, cosines = given().similar_items(np.array([2, 0]), 2)
    assert ids[0].tolist() == [1, 0]
    np.testing.assert_allclose(cosines[0], [0.8, 0.6], rtol=1e-6)
    assert ids[1].tolist() == [2, 1]
    assert given().similar_items(np.array([2]), 9)[0].tolist() == [[1, 0, 3]]
    np.testing.assert_array_equal(given().item_vectors(), U)


def groups(num_sessions: int = 80) -> list[list[int]]:
    """Sessions of items 0 to 9, or of items 10 to 19."""
    rng = np.random.default_rng(0)
    return [(rng.permutation(10)[:4] + 10 * (number % 2)).tolist() for number in range(num_sessions)]


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_items_of_the_same_sessions_become_similar(architecture):
    # Item 20 has no event, and is no item's neighbour.
    model, losses = trained(groups(), 21, 8, 0.02, architecture=architecture, embedding_dim=4)
    assert losses[-1] < 0.9 * losses[0]
    ids, _ = model.similar_items(np.arange(20), 3)
    assert (ids // 10 == np.arange(20)[:, None] // 10).all()
    scores = scores_after(model, [0, 1], [16])
    assert scores[0, :10].min() > scores[0, 10:20].max()
    assert scores[1, 10:20].min() > scores[1, :10].max()


def test_only_items_with_events_move():
    backend.seed(0)
    start = item2vec(21, embedding_dim=8).item_vectors()
    model, _ = trained(groups(), 21, epochs=1)
    moved = (model.item_vectors() != start).any(axis=1)
    assert moved.tolist() == [True] * 20 + [False]


def test_the_seed_decides_and_state_round_trips():
    (model, losses), (again, same) = (trained(groups(20), 20, epochs=2) for _ in range(2))
    assert losses == same
    np.testing.assert_array_equal(model.item_vectors(), again.item_vectors())
    copy = type(model).from_config(json.loads(json.dumps(model.get_config())))
    copy.load_state(model.state())
    np.testing.assert_array_equal(scores_after(copy, [0, 5]), scores_after(model, [0, 5]))


def test_a_diverging_training_names_items():
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step .*target items in the batch: \d"):
        trained(groups(), 20, learning_rate=1e38)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "glove"}, "model.architecture must be one of skipgram, cbow. Received: glove"),
        ({"scoring": "l2"}, "model.scoring must be one of cosine, dot, output. Received: l2"),
        ({"window": 0}, "model.window must be at least 1. Received: 0"),
        ({"negatives": 0}, "model.negatives must be at least 1. Received: 0"),
        ({"subsample": 0.0}, "model.subsample must be positive, or null. Received: 0.0"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        item2vec(**options)

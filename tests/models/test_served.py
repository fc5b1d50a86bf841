"""Exported graphs give the same lists as models with `top_items`; models that cannot be exported raise an error."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

if os.environ.get("KERAS_BACKEND") == "jax":
    pytest.skip("graphs are written with TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")
from hydra.utils import get_class

from nnrec.batches.rows import RowBatches
from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError
from nnrec.models.base.neural import last_events
from nnrec.models.layers.fold_in import fold_in
from nnrec.models.layers.fold_in_batch import fold_in_rows
from nnrec.ranking.top_items import top_items
from nnrec.serving.graph import (
    Ids,
    best,
)
from nnrec.serving.lists import (
    Lists,
    distinct,
    padded_rows,
)
from nnrec.serving.samples import padded
from tests.models import (
    session_trials,
    trials,
)
from tests.models.small_sessions import scores_after

LINEAR = [("ease", "default"), ("slim", "default"), ("item_knn", "sum"), ("popularity", "default")]
NEURAL = [case for case in trials.CASES if trials.is_neural(case)]
SESSIONS = [case for case in session_trials.CASES if session_trials.is_neural(case)]


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def lists_of(model, data, n=6):
    counts = np.bincount(data.item, minlength=len(data.items))
    users = getattr(data, "users", data.items)
    run = SimpleNamespace(
        family=model.family, model=model, items=data.items, users=users, item_counts=counts, item_table=None
    )
    return Lists(run, n)


def traced(graph):
    """The graph as a function, traced with unknown sizes."""
    function = tf.function(graph.compute, autograph=False).get_concrete_function(**graph.specs)

    def call(**arrays):
        tensors = {name: tf.constant(array, graph.inputs[name].dtype) for name, array in arrays.items()}
        return {name: tensor.numpy() for name, tensor in function(**tensors).items()}

    return call


def answer(graph, **arrays):
    return traced(graph)(**arrays)


def histories(data):
    rows = data.rows("user")
    cuts = rows.offsets[1:-1]
    return padded(np.split(rows.ids, cuts), -1), padded(np.split(rows.values, cuts), 0.0)


def model_of(case):
    """The model and its data; the weights are the initial ones, except for linear models, which are trained."""
    data = trials.data_of(case)
    if case in LINEAR:
        return trials.trained(case, data)[0], data
    model = trials.fresh(case, data)
    model.prepare(data)
    return model, data


@pytest.mark.parametrize("case", [*NEURAL, *LINEAR], ids="-".join)
def test_lists_are_those_of_the_model(case):
    model, data = model_of(case)
    batch = next(RowBatches(data.rows("user"), data.num_users).epoch())
    items, values = histories(data)
    made = lists_of(model, data)
    given = {"user": np.arange(data.num_users)} if made.by_user else {}
    graph = traced(made.by_index(None))
    for exclude, seen in ((True, batch), (False, None)):
        expected, scores = top_items(model.score(model.encode(batch)), 6, seen=seen)
        if "rating_scale" in model.capabilities:
            scores = np.clip(scores, *np.asarray(model.rating_scale))
        found = graph(items=items, values=values, exclude_seen=[exclude], **given)
        known = ~found["popular"]
        assert (known == model.has_history(batch)).all() and known.sum() > 30
        np.testing.assert_allclose(found["scores"][known], scores[known], rtol=2e-5, atol=2e-5)
        assert (found["top_items"] == expected)[known].mean() > 0.9  # but for ties


def test_unseen_users_are_fitted_or_get_the_popular_items():
    for case, fitted in ((("autorec", "item"), True), (("rbm", "item"), False)):
        model, data = model_of(case)
        items, values = histories(data)
        made = lists_of(model, data)
        found = answer(made.by_index(True), items=items, values=values, user=np.full(len(items), -1))
        assert (found["popular"] != fitted).all()
        if fitted:
            batch = next(RowBatches(data.rows("user"), data.num_users).epoch())
            expected, _ = top_items(model.score(model.encode(batch | {"index": batch["index"] * 0 - 1})), 6, seen=batch)
            assert (found["top_items"] == expected).mean() > 0.9
        else:
            counts = np.bincount(data.item, minlength=data.num_items)
            np.testing.assert_array_equal(found["scores"], np.tile(np.sort(counts)[::-1][:6], (len(items), 1)))
        far = answer(made.by_index(True), items=items, values=values, user=np.full(len(items), 10**6))
        np.testing.assert_array_equal(far["top_items"], found["top_items"])


@pytest.mark.parametrize("case", SESSIONS, ids="-".join)
def test_next_items_are_those_of_the_model(case):
    data = session_trials.clicks()
    data = replace(data, item_table=trials.genres(data.num_items).assign(category="x"))
    model = session_trials.fresh(case, data)
    clicks = [[3], [1, 5, 1, 1, 7, 2, 0, 4, 9, 9, 3, 2], [0, 0, 8]]
    scores = scores_after(model, *clicks)
    made = lists_of(model, data)
    # Unknown items (-1, 99) may be anywhere.
    gaps = [[-1, 3, -1], [1, -1, 5, 1, 1, 7, 2, 0, 4, -1, 99, 9, 9, 3, 2], [0, 0, 8]]
    found = answer(made.by_index(False), items=padded([*gaps, [-1]], -1))
    expected, values = top_items(scores, 6)
    assert found["popular"].tolist() == [False, False, False, True]
    np.testing.assert_allclose(found["scores"][:3], values, rtol=1e-5, atol=1e-6)
    assert (found["top_items"][:3] == expected).mean() > 0.8
    unseen = answer(made.by_index(True), items=padded(clicks, -1))
    assert not any(set(clicks[row]) & set(unseen["top_items"][row]) for row in range(3))


def test_raw_ids_are_text_and_unknown_ones_are_left_out():
    model, data = model_of(("ease", "default"))
    made = lists_of(model, data)
    texts = np.array([["i3", "never", "i5"], ["never", "", ""]], object)
    found = answer(made.by_id(True), item_ids=texts, values=np.full((2, 3), 5, np.float32))
    same = answer(made.by_index(True), items=[[3, -1, 5], [-1, -1, -1]], values=np.full((2, 3), 5, np.float32))
    assert found["popular"].tolist() == [False, True]
    assert [[f"i{item}".encode() for item in row] for row in same["top_items"]] == found["top_item_ids"].tolist()


def test_of_an_item_that_comes_twice_the_last_value_counts():
    items, values = distinct(np.array([[7, 2, 7, -1, 2, 2]], np.int32), np.array([[1, 2, 3, 9, 5, 4]], np.float32))
    pairs = [(item, value) for item, value in zip(items[0].numpy(), values[0].numpy(), strict=True) if item >= 0]
    assert pairs == [(2, 4), (7, 3)]
    items, _ = distinct(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32))
    assert items.numpy().tolist() == [[-1], [-1]]


def test_the_best_come_first_and_ties_by_index():
    scores, seen = np.array([[1, 3, 3, -np.inf, 2]], np.float32), np.array([[1, 1, -1]], np.int32)
    items, values = best(tf.constant(scores), 5, seen, True, None)
    assert items.numpy().tolist() == [[2, 4, 0, -1, -1]]
    assert values.numpy().tolist() == [[3, 2, 1, 0, 0]]
    items, _ = best(tf.constant(scores), 3, seen, False, np.array([0, 0, -np.inf, 0, 0], np.float32))
    assert items.numpy().tolist() == [[1, 4, 0]]


def test_ids_are_found_as_text():
    ids = Ids(np.array([42, 7]))
    assert ids.indices(tf.constant([["7", "", "42", "8"]])).numpy().tolist() == [[1, -1, 0, -1]]
    assert ids.of(tf.constant([1, -1], tf.int64)).numpy().tolist() == [b"7", b""]


def test_the_last_events_in_order():
    items = np.array([[-1, 4, -1, 0, 6, -1], [-1, -1, -1, -1, -1, -1], [1, 2, 3, 4, 5, 6]], np.int32)
    assert last_events(items, 4).numpy().tolist() == [[-1, 4, 0, 6], [-1] * 4, [3, 4, 5, 6]]
    assert last_events(items[:, :1], 2).numpy().tolist() == [[-1, -1], [-1, -1], [-1, 1]]


def test_people_are_fitted_together_as_one_by_one():
    rng = np.random.default_rng(0)
    vectors, average = rng.random((30, 8)).astype(np.float32), rng.normal(size=9).astype(np.float32)
    rows = [rng.permutation(30)[:number] for number in (0, 1, 5, 25)]
    items, values = padded(rows, -1), rng.normal(size=(4, 25)).astype(np.float32)
    weights = (items >= 0).astype(np.float32)
    found = fold_in_rows(vectors[items], values, weights, average, 0.7).numpy()
    for row, own in enumerate(rows):
        expected = fold_in(vectors[own], values[row, : len(own)], np.ones(len(own), np.float32), average, 0.7)
        np.testing.assert_allclose(found[row], expected if len(own) else average, atol=2e-5)


def test_sparse_rows_side_by_side():
    from scipy import sparse

    columns, values = padded_rows(sparse.csr_array(np.array([[0, 2, 3], [0, 0, 0], [1, 0, 0]], np.float32)))
    assert columns.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert values.tolist() == [[2, 3], [0, 0], [1, 0]]


@pytest.mark.parametrize("name", ["als", "bias", "svd", "user_knn", "random", "content_knn"])
def test_what_has_no_graph_says_so(name):
    case = (name, next(iter(trials.MODELS.get(name, trials.Trial()).variants)))
    case = (name, "mean") if name == "content_knn" else case
    data = trials.data_of(case)
    assert issubclass(get_class(trials.settings_of(case)["_target_"]), trials.Baseline)
    model = trials.untrained(case, data)
    with pytest.raises(ConfigError, match=f"{name} cannot be exported: .* predict.py writes its lists"):
        lists_of(model, data)


def test_a_session_baseline_says_so():
    data = session_trials.clicks()
    model = session_trials.trained(("markov", "default"), data)[0]
    with pytest.raises(ConfigError, match="markov cannot be exported"):
        answer(lists_of(model, data).by_index(False), items=[[1, 2]])

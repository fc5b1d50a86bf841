"""CNN3D: inputs, masking, the loss, and recommendations of new items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sessions import Sessions
from nnrec.data.simulators.sessions import simulate_clicks
from nnrec.evaluation.sessions import NextItemEvaluation
from nnrec.splits.sessions import ColdItems
from nnrec.training.settings import Trainer
from tests.models.small_sessions import random_clicks, scores_after, sessions_of

pytestmark = pytest.mark.neural
CONVOLUTIONS = (
    {"filters": 8, "kernel": (1, 3, 1), "pool": (1, 2, 1)},
    {"filters": 8, "kernel": (2, 3, 2), "pool": (1, 2, 2)},
)
TITLES = ["red lamp", "red table", "blue lamp", "blue table", "green lamp", "green table"]


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def cnn3d(num_items: int = 6, **options):
    from nnrec.models.sessions.cnn3d import CNN3D

    small = {"texts": ["title"], "characters": 12, "character_units": 4, "clicks": 3, "embedding_dim": 8}
    small |= {"convolutions": CONVOLUTIONS, "hidden_units": [12], "n_sample": 8, "id_dropout": 0.0, "dropout": 0.0}
    return CNN3D(num_items, **small | options)


def told(clicks, titles=TITLES, **columns) -> Sessions:
    table = pd.DataFrame({"title": titles} | columns)
    return replace(sessions_of(clicks, len(table)), item_table=table)


def trained(train: Sessions, epochs: int = 4, precision: str | None = None, trainer=None, **options):
    from nnrec.training.loop import Stage, compile_model

    backend.seed(0)
    model = cnn3d(train.num_items, **options)
    model.adapt(train)
    trainer = Trainer(**{"epochs": epochs, "batch_size": 64, "learning_rate": 5e-3} | (trainer or {}))
    compile_model(model, trainer)
    Stage("refit", trainer, model, train, seed=3, epochs=epochs).run()
    return model


CLICKS = random_clicks(60, 5, seed=1)  # item 5 never occurs


@pytest.fixture(scope="module")
def model(_started):
    return trained(told(CLICKS))


def test_only_the_last_clicks_count(model):
    np.testing.assert_allclose(
        scores_after(model, [4, 4, 0, 1, 2]), scores_after(model, [3, 0, 1, 2])[:, :], rtol=1e-5, atol=1e-6
    )
    assert np.abs(scores_after(model, [0, 1, 2]) - scores_after(model, [1, 1, 2])).max() > 1e-3


def test_absent_clicks_are_masked_in_every_layer(model):
    """Scores do not depend on the items at positions without a click, although every layer has non-zero biases."""
    for layer in (*model.content.layers, *model.layers_over_clicks):
        assert np.abs(np.asarray(layer.bias)).max() > 0
    items = np.arange(6, dtype=np.int32)
    maps, inputs, _, _ = model._items(items, model._rows(items))
    present = np.array([[0, 0, 1], [0, 1, 1]], np.float32)
    one, other = np.array([[0, 0, 2], [0, 1, 2]], np.int32), np.array([[4, 3, 2], [5, 1, 2]], np.int32)
    queries = [np.asarray(model._session(maps, inputs, clicks, present)) for clicks in (one, other)]
    np.testing.assert_array_equal(*queries)
    assert np.abs(queries[0] - np.asarray(model._session(maps, inputs, other, np.ones_like(present)))).max() > 1e-3


def test_the_loss_is_that_of_the_scores_it_recommends_with():
    """Without dropout and with all items in the batch, the scores in training equal those in prediction."""
    train = told(CLICKS)
    model = trained(train, n_sample=200)
    batch = next(model.training_batches(train, 10_000, 0).epoch())
    scores = np.asarray(model(batch, training=False))
    loss = float(sum(model.losses))
    row, step = np.nonzero(batch["weight"])
    size = batch["weight"].shape[1]
    known = batch["unique_ids"][batch["unique_ids_scale"] > 0]
    for place in (0, len(row) // 2, len(row) - 1):
        window = slice(step[place], step[place] + 3)
        there = batch["present"][row[place], window] > 0
        session = batch["unique_ids"][batch["input"][row[place], window][there]]
        alone = scores_after(model, session.tolist())[0, known]
        np.testing.assert_allclose(scores[row[place] * size + step[place], : len(known)], alone, rtol=1e-4, atol=1e-5)
    # cross-entropy with s - ln P: an item counts aimed / support + drawn / support ** alpha times
    count = batch["aimed"] / batch["support"].clip(1) + batch["drawn"] / batch["support"].clip(1) ** 0.75
    target = batch["target"].ravel()
    own = scores[np.arange(len(target)), target] - np.log(batch["support"][target])
    total = np.log((np.exp(scores) * count).sum(axis=1))
    by_hand = (batch["weight"].ravel() * (total - own)).sum() / len(target)
    assert loss == pytest.approx(by_hand, rel=1e-4)


def test_an_item_that_was_never_seen_is_scored_by_its_title():
    """Sessions contain only lamps or only tables. Two items are new, and only their titles show what they are."""
    colours = ["red", "blue", "green", "white", "black", "brown", "pink", "grey"]
    titles = [f"{colour} {kind}" for colour in colours for kind in ("lamp", "table")]
    rng = np.random.default_rng(0)
    clicks = [(2 * rng.integers(0, 7, 5) + number % 2).tolist() for number in range(150)]
    model = trained(told(clicks, titles), epochs=6, id_dropout=0.3)
    assert "new_items" in model.capabilities
    scores = scores_after(model, [0, 4], [1, 5], [6], [7])  # lamps, tables, lamps, tables
    better = scores[:, 14] > scores[:, 15]  # the new lamp, the new table
    assert better.tolist() == [True, False, True, False]
    # their own vectors and biases have not moved
    for table in model.row_tables:
        assert not np.asarray(table)[14:].any() and np.asarray(table)[:14].any()


def shop(shuffle: bool) -> Sessions:
    return simulate_clicks(2_500, 15_000, 200, shuffle_content=shuffle, succession=0.0)


def test_it_reads_what_items_say():
    """In one simulated shop content predicts clicks; in the other, content is shuffled among items: no signal."""
    found = {}
    for shuffle in (False, True):
        split = ColdItems()(shop(shuffle), 0)
        model = trained(
            split.train, 3, texts=["title", "category"], characters=32, ids=False, embedding_dim=32, n_sample=64
        )
        figures = NextItemEvaluation((20,), new_items=True)(model, split.train, split.test, "ranking").figures
        found[shuffle] = figures
    assert found[False]["recall_new@20"] > 2 * found[True]["recall_new@20"]
    assert found[False]["recall@20"] > 1.2 * found[True]["recall@20"]
    assert found[False]["recall_new@20"] > 2.5 * 20 / 200  # chance


def test_categories_and_numbers_enter():
    price = [1.0, 2.0, 3.0, 4.0, np.nan, 1000.0]
    train = told(CLICKS, kind=["a", "b", "a", "b", None, "c"], price=price)
    model = trained(train, 1, texts=["id"], categories=["kind"], numbers=["price"])
    # item 5 was not trained on: its category is unknown; mean 2.5, deviation sqrt(1.25) of the others' prices
    assert np.asarray(model.content.category_codes)[:, 0].tolist() == [1, 2, 1, 2, 0, 0]
    np.testing.assert_allclose(
        np.asarray(model.content.quantities)[:, 0], [-1.3416, -0.4472, 0.4472, 1.3416, 0, 5], atol=1e-4
    )
    other = trained(replace(train, item_table=train.item_table.assign(price=price[::-1])), 1,
                    texts=["id"], categories=["kind"], numbers=["price"])  # fmt: skip
    assert np.abs(scores_after(model, [0]) - scores_after(other, [0])).max() > 1e-4


def test_a_kind_of_event_is_learnt():
    """The item bought is always item 5, whatever the clicks."""
    clicks = [[*session[:4], 5] for session in random_clicks(80, 5, seed=2)]
    kinds = [[0] * (len(session) - 1) + [1] for session in clicks]
    event = np.concatenate(kinds).astype(np.int16)
    train = replace(told(clicks), event=event, event_names=("click", "buy"))
    model = trained(train, event="buy")
    assert (scores_after(model, [0, 1], [3], [2, 4, 1]).argmax(axis=1) == 5).all()
    later = replace(train, ids=type(train.ids)(range(1000, 1000 + train.num_sessions)))
    measured = NextItemEvaluation((1,), event="buy")(model, train, later, "ranking")
    assert measured.figures["recall@1"] == 1
    assert measured.predicted.sum() == len(clicks)


def test_vectors_of_items_follow_the_weights(model):
    before = model.item_vectors()
    weights = model.get_weights()
    model.set_weights([weight * 0.5 if weight.dtype.kind == "f" else weight for weight in weights])
    assert np.abs(model.item_vectors() - before).max() > 1e-3
    model.set_weights(weights)
    np.testing.assert_array_equal(model.item_vectors(), before)


def test_mixed_precision_trains(model):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = trained(told(CLICKS))
    finally:
        keras.config.set_dtype_policy("float32")
    scores, whole = (scores_after(made, [0, 1], [2]) for made in (half, model))
    assert half.compute_dtype == "bfloat16" and scores.dtype == np.float32
    assert np.corrcoef(scores.ravel(), whole.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": []}, "model.texts must name at least one"),
        ({"clicks": 1}, "model.clicks=1 is too few for model.convolutions, which together cover 2 clicks"),
        ({"convolutions": [{"filters": 8, "kernel": [1, 3], "pool": [1, 1, 1]}]}, "model.convolutions must give each"),
        ({"convolutions": CONVOLUTIONS[1:]}, "begin with a layer that covers a single click"),
        ({"dropout": 1.0}, "model.dropout must be at least 0 and below 1"),
        ({"alphabet": "aa"}, "model.alphabet must hold 1 to 254 different characters"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        cnn3d(**options)


def test_a_column_that_is_missing_is_named():
    with pytest.raises(
        DataError, match=r"model\.texts: the data's items have no category. Columns there: title; and id"
    ):
        cnn3d(texts=["title", "category"]).adapt(told(CLICKS))
    with pytest.raises(DataError, match=r"model\.texts: the data's items have no title. Columns there: none; and id"):
        cnn3d().adapt(sessions_of(CLICKS, 6))
    with pytest.raises(DataError, match="'blue lamp' is not a number|'red lamp' is not a number"):
        cnn3d(numbers=["title"]).adapt(told(CLICKS))

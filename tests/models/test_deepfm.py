"""DeepFM: the score and the loss by hand, its identity, what its parts leave out, and what it refuses."""

from __future__ import annotations

import math
from itertools import combinations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.devices import backend
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.encoding.fields import Fields

pytestmark = pytest.mark.neural

# One categorical field of 3 ids, a multi-valued one of 4 (ids 3 to 6, two values kept), one number.
FIELDS = Fields(("device",), (3,), ("genres",), (4,), (2,), ("age",))
BATCH = {
    "categorical": np.array([[1], [2]], np.int32),
    "multi": np.array([[4, 5], [3, 3]], np.int32),
    "multi_share": np.array([[0.5, 0.5], [0, 0]], np.float32),
    "numeric": np.array([[2.0], [-1.0]], np.float32),
    "label": np.array([1, 0], np.float32),
    "weight": np.ones(2, np.float32),
    "key": np.array([1, 2], np.uint32),
}


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


def make(**options):
    from nnrec.models.clickthrough.deepfm import DeepFM

    return DeepFM(FIELDS, **({"embedding_dim": 2, "hidden_units": ()} | options))


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def by_hand(**options):
    """Id 1 has the vector (1, 2) and the weight .1, 2 zeros, 4 (4, 0), .2, 5 (0, 2), .4, the number (.5, 1), .3."""
    model = make(**options)
    table = np.zeros((7, 3), np.float32)
    table[[1, 4, 5]] = [[1, 2, 0.1], [4, 0, 0.2], [0, 2, 0.4]]
    vector, weight = [0, 1] * (model.dim > 0), [2] * model.first_order
    model.table.assign(table[:, vector + weight])
    model.numbers.assign(np.array([[0.5, 1, 0.3]], np.float32)[:, weight if model.raw else vector + weight])
    model.bias.assign(0.25)
    return model


def test_scores_and_loss_by_hand():
    # Row 0: device (1, 2), genres ((4, 0) + (0, 2)) / 2 = (2, 1), age 2 (.5, 1) = (1, 2).
    # Pairs: device.genres 2 + 2 = 4, device.age 1 + 4 = 5, genres.age 2 + 2 = 4, together 13.
    # Weights: .1 + (.2 + .4) / 2 + 2 .3 = 1. Score .25 + 1 + 13 = 14.25.
    # Row 1: nothing but age -1 (.5, 1) and -.3: score .25 - .3 = -.05.
    model = by_hand()
    np.testing.assert_allclose(numpy(model(BATCH)), [14.25, -0.05], rtol=1e-6)
    # ln(1 + e^14.25) - 14.25 and ln(1 + e^-.05), divided by two.
    expected = (math.log1p(math.exp(-14.25)) + math.log1p(math.exp(-0.05))) / 2
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_parts_leave_out_what_is_not_theirs():
    assert numpy(by_hand(second_order=False)(BATCH))[0] == pytest.approx(1.25)
    assert numpy(by_hand(first_order=False)(BATCH))[0] == pytest.approx(13.25)
    # Raw numbers have a weight, and no vector: .25 + 1 + device.genres 4.
    assert numpy(by_hand(numeric="raw")(BATCH))[0] == pytest.approx(5.25)


def test_a_padded_row_weighs_nothing_and_the_mean_is_over_all():
    model = by_hand(task="rating")
    padded = BATCH | {"weight": np.array([1, 0], np.float32)}
    model(padded)
    assert float(sum(model.losses)) == pytest.approx((14.25 - 1) ** 2 / 2)


def test_the_penalty_is_on_vectors_and_weights_of_the_fields():
    model = by_hand(l2=0.1)
    model(BATCH)
    plain = by_hand()
    plain(BATCH)
    # Table 1 + 4 + .01 + 16 + .04 + 4 + .16 = 25.21, number .25 + 1 + .09 = 1.34; .1 / 2 of it.
    assert float(sum(model.losses) - sum(plain.losses)) == pytest.approx(0.05 * 26.55, rel=1e-4)


def test_the_deep_part_sees_vectors_and_raw_numbers():
    model = by_hand(first_order=False, second_order=False, hidden_units=(2,), numeric="raw")
    # Inputs: device (1, 2), genres (2, 1), age 2. Unit 0 adds them up: 8, less 1; unit 1 is -8, so 0.
    model.hidden[0].kernel.assign(np.array([[1, -1]] * 5, np.float32))
    model.hidden[0].bias.assign([-1.0, 0.0])
    model.output_kernel.assign([0.5, 100.0])
    assert numpy(model(BATCH))[0] == pytest.approx(0.25 + 3.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_the_linear_time_identity_equals_the_double_sum(fields, dim, seed):
    from nnrec.models.clickthrough.deepfm import second_order

    vectors = np.random.default_rng(seed).normal(size=(3, fields, dim)).astype(np.float32)
    naive = [sum(float(row[f] @ row[g]) for f, g in combinations(range(fields), 2)) for row in vectors]
    np.testing.assert_allclose(numpy(second_order(keras.ops.convert_to_tensor(vectors))), naive, rtol=1e-4, atol=1e-4)


def random_batch(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 3, rows)
    share = (np.arange(2) < lengths[:, None]) / np.maximum(lengths, 1)[:, None]
    return {
        "categorical": rng.integers(0, 3, (rows, 1), np.int32),
        "multi": np.where(share > 0, rng.integers(4, 7, (rows, 2)), 3).astype(np.int32),
        "multi_share": share.astype(np.float32),
        "numeric": rng.normal(size=(rows, 1)).astype(np.float32),
    }


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_units": (6, 4), "batch_normalization": True},
        {"hidden_units": (5,), "numeric": "raw", "first_order": False},
        {"hidden_units": ()},
        {"second_order": False, "hidden_units": ()},
    ],
)
@pytest.mark.parametrize("item_side", [("genres",), ("genres", "age"), ("device", "age")])
def test_pairs_of_user_and_item_score_as_their_rows_do(options, item_side):
    keras.utils.set_random_seed(0)
    model = make(initial_spread=1.0, **options)
    for layer in model.hidden:
        if layer.layer.batch_normalization:
            layer.mean.assign(np.linspace(-1, 1, layer.units))
            layer.variance.assign(np.linspace(0.5, 2, layer.units))
    users, items = random_batch(4, 1), random_batch(7, 2)
    model.hold_items(items, item_side)
    scores = numpy(model.score(model.encode(users)))
    assert scores.shape == (4, 7)
    of_item = {"categorical": "device" in item_side, "numeric": "age" in item_side}
    of_item |= dict.fromkeys(("multi", "multi_share"), "genres" in item_side)
    for u in range(4):
        rows = {
            name: array if of_item[name] else np.repeat(users[name][u : u + 1], 7, 0) for name, array in items.items()
        }
        whole = model.estimate(rows)
        np.testing.assert_allclose(model.as_estimates(scores[u]), whole, rtol=1e-4, atol=1e-6)
    some = np.array([5, 0])
    np.testing.assert_allclose(numpy(model.score(model.encode(users), some)), scores[:, some], rtol=1e-5, atol=1e-6)


def test_items_are_scored_in_blocks(monkeypatch):
    import nnrec.models.clickthrough.deepfm as module

    keras.utils.set_random_seed(0)
    model = make(initial_spread=1.0, hidden_units=(6,))
    model.hold_items(random_batch(7, 2), ("genres",))
    queries = model.encode(random_batch(4, 1))
    whole = numpy(model.score(queries))
    monkeypatch.setattr(module, "PAIR_ENTRIES", 4 * 6 * 3)
    np.testing.assert_allclose(numpy(model.score(queries)), whole, rtol=1e-5, atol=1e-6)


def test_it_starts_from_the_mean_label():
    from types import SimpleNamespace

    model = make()
    model.adapt(SimpleNamespace(label=np.array([1, 0, 0, 0], np.float32)))
    assert float(model.bias) == pytest.approx(math.log(1 / 3))
    rating = make(task="rating")
    rating.adapt(SimpleNamespace(label=np.array([1, 5, 3], np.float32)))
    assert float(rating.bias) == 3
    assert rating.rating_scale.tolist() == [1, 5]
    np.testing.assert_array_equal(rating.as_estimates(np.array([0.5, 9])), [1, 5])


def test_labels_that_are_no_clicks_are_refused():
    from types import SimpleNamespace

    with pytest.raises(DataError, match="between 1 and 5, and model.task=click needs 0 and 1"):
        make().adapt(SimpleNamespace(label=np.array([1, 5], np.float32)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numeric": "bucket"}, "model.numeric must be embedded or raw"),
        ({"task": "regression"}, "model.task must be click or rating"),
        ({"first_order": False, "second_order": False}, "Nothing is left of the model"),
        ({"hidden_units": (0,)}, "model.hidden_units must list whole numbers"),
        ({"embedding_dim": 0}, "model.embedding_dim must be at least 1"),
        ({"dropout": 1.0}, "model.dropout must be at least 0 and below 1"),
        ({"l2": -1.0}, "model.l2 must not be negative"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)

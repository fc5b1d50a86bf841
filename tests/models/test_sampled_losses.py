"""Losses of next-item models: values by hand, the authors' formulas over M x (M + N) scores, extreme scores."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from nnrec.models.layers import sampled_losses as losses
from nnrec.models.layers.sampled_losses import Columns, Scored

ALL = {
    "cross-entropy": losses.cross_entropy,
    "bpr": losses.bpr,
    "bpr-max": losses.bpr_max,
    "top1": losses.top1,
    "top1-max": losses.top1_max,
}
LN2, LN4 = np.log(2), np.log(4)
# Two rows, their targets in columns 0 and 1, and one negative. exp: 4 1 2 / 1 2 1.
SCORES = np.array([[LN4, 0, LN2], [0, LN2, 0]], np.float32)


def scored(scores, target=(0, 1), aimed=(1, 1, 0), drawn=(0, 0, 1), support=(1, 1, 1)) -> Scored:
    columns = Columns(*(ops.convert_to_tensor(np.array(part, np.float32)) for part in (aimed, drawn, support)))
    return Scored(ops.convert_to_tensor(scores), ops.convert_to_tensor(np.array(target, np.int32)), columns)


def values(loss, *arguments, **options) -> np.ndarray:
    return ops.convert_to_numpy(loss(scored(SCORES), *arguments, **options))


def test_cross_entropy():
    # -ln(4 / 7), -ln(2 / 4)
    np.testing.assert_allclose(values(losses.cross_entropy), [0.559616, 0.693147], rtol=1e-5)


def test_cross_entropy_with_logq():
    # Support 8, 2 and 4; targets are divided by their support, the negative by 4^.5 = 2.
    # Row 0: 4/8, 1/2, 2/2: -ln(.5 / 2) = ln 4. Row 1: 1/8, 2/2, 1/2: -ln(1 / 1.625).
    found = losses.cross_entropy(scored(SCORES, support=(8, 2, 4)), 1.0, 0.5)
    np.testing.assert_allclose(ops.convert_to_numpy(found), [1.386294, 0.485508], rtol=1e-5)


def test_bpr():
    # sigmoid(r_i - r_j) = e^r_i / (e^r_i + e^r_j): 4/5 and 4/6; 2/3 and 2/3.
    # (ln(5/4) + ln(3/2)) / 2 and ln(3/2)
    np.testing.assert_allclose(values(losses.bpr), [0.314304, 0.405465], rtol=1e-5)


def test_bpr_max():
    # Shares of the competitors: 1/3, 2/3 and 1/2, 1/2; the target has none.
    # Row 0: -ln(1/3 4/5 + 2/3 2/3) = .340927, penalty .5 * 2/3 ln(2)^2 = .160151. Row 1: -ln(2/3), penalty 0.
    np.testing.assert_allclose(values(losses.bpr_max, 0.5), [0.501078, 0.405465], rtol=1e-5)


def test_top1():
    # sigmoid(ln(2)^2) = .617855. The target's own sigmoid(0) = .5 stays, its sigmoid(r^2) is taken off.
    # Row 0: (.5 + 1/5 + .5 + 1/3 + .617855) / 3. Row 1: (.5 + 2 (1/3 + .5)) / 3.
    np.testing.assert_allclose(values(losses.top1), [0.717063, 0.722222], rtol=1e-5)


def test_top1_max():
    # Row 0: 1/3 (1/5 + .5) + 2/3 (1/3 + .617855). Row 1: 1/3 + .5.
    np.testing.assert_allclose(values(losses.top1_max), [0.867458, 0.833333], rtol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive(name: str, r: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The losses as the authors write them, over (M, M + N) scores with the targets on the diagonal."""
    rows, columns = r.shape
    own, others = np.diag(r)[:, None], 1 - np.eye(rows, columns)
    shares = np.exp(r) * others / (np.exp(r) * others).sum(axis=1, keepdims=True)
    if name == "cross-entropy":
        corrected = np.exp(r - 0.7 * np.log(np.where(np.arange(columns) < rows, support, support**0.4)))
        return -np.log(np.diag(corrected) / corrected.sum(axis=1))
    if name == "bpr":
        return (-np.log(sigmoid(own - r)) * others).sum(axis=1) / (columns - 1)
    if name == "bpr-max":
        return -np.log((shares * sigmoid(own - r)).sum(axis=1)) + 0.9 * (shares * r**2).sum(axis=1)
    errors = sigmoid(r - own) + sigmoid(r**2)
    if name == "top1":
        return errors.mean(axis=1) - sigmoid(own[:, 0] ** 2) / columns
    return (shares * errors).sum(axis=1)


@pytest.mark.parametrize("name", ALL)
def test_a_column_that_counts_twice_is_two_columns(name):
    """Some items are the target of several rows, drawn twice, or both drawn and a target, also of the same row."""
    rng = np.random.default_rng(0)
    targets, negatives = np.array([4, 1, 1, 0, 2]), np.array([4, 3, 3, 1, 5, 5, 5])
    by_item = rng.normal(size=(5, 8))
    support = rng.integers(1, 50, 8).astype(float)
    listed = np.concatenate([targets, negatives])
    expected = naive(name, by_item[:, listed], support[listed])
    order = rng.permutation(8)  # items 6 and 7 are no columns, and must not matter
    aimed, drawn = (np.bincount(part, minlength=8)[order] for part in (targets, negatives))
    places = np.argsort(order)[targets]
    by_item[:, 6:] = 30.0
    made = scored(by_item[:, order].astype(np.float32), places, aimed, drawn, support[order])
    options = {"cross-entropy": (0.7, 0.4), "bpr-max": (0.9,)}.get(name, ())
    np.testing.assert_allclose(ops.convert_to_numpy(ALL[name](made, *options)), expected, rtol=2e-5)


def gradient(loss, scores: np.ndarray, **columns) -> np.ndarray:
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda r: ops.sum(loss(scored(r, **columns))))(scores))
    import tensorflow as tf

    tensor = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total = ops.sum(loss(scored(tensor, **columns)))
    return tape.gradient(total, tensor).numpy()


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_the_authors_formulas(name):
    """By central differences in float64; some items are the target of several rows, drawn twice, or both."""
    rng = np.random.default_rng(3)
    targets, negatives = np.array([4, 1, 1, 0]), np.array([4, 3, 3, 1, 2])
    by_item, support = rng.normal(size=(4, 5)), rng.integers(1, 50, 5).astype(float)
    listed, weights = np.concatenate([targets, negatives]), np.array([1.0, 0.5, 2.0, 0.0])
    expected = np.zeros_like(by_item)
    for place in np.ndindex(by_item.shape):
        sides = []
        for step in (1e-5, -1e-5):
            moved = by_item.copy()
            moved[place] += step
            sides.append(weights @ naive(name, moved[:, listed], support[listed]))
        expected[place] = (sides[0] - sides[1]) / 2e-5
    columns = {"target": targets, "support": support}
    columns |= {"aimed": np.bincount(targets, minlength=5), "drawn": np.bincount(negatives, minlength=5)}
    options = {"cross-entropy": (0.7, 0.4), "bpr-max": (0.9,)}.get(name, ())
    found = gradient(
        lambda made: weights.astype(np.float32) * ALL[name](made, *options), by_item.astype(np.float32), **columns
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [60.0, 1e4])
def test_extreme_scores_stay_finite(name, size):
    for signs in ([[1, -1, -1], [-1, 1, -1]], [[-1, 1, 1], [1, -1, 1]]):
        scores = size * np.array(signs, np.float32)
        assert np.isfinite(ops.convert_to_numpy(ALL[name](scored(scores)))).all()
        assert np.isfinite(gradient(ALL[name], scores)).all()


@pytest.mark.parametrize("name", ALL)
def test_a_single_row_without_negatives_moves_nothing(name):
    columns = {"target": (0,), "aimed": (1, 0, 0), "drawn": (0, 0, 0)}
    scores = np.array([[0.3, 5.0, -2.0]], np.float32)
    assert np.isfinite(ops.convert_to_numpy(ALL[name](scored(scores, **columns)))).all()
    np.testing.assert_allclose(gradient(ALL[name], scores, **columns), 0.0, atol=1e-6)

"""Error functions: values and gradients worked out by hand, samples that stand for the whole."""

from __future__ import annotations

from math import exp, log

import keras
import numpy as np
import pytest
from keras import ops

from nnrec.models.layers import catalogue_losses
from nnrec.models.layers.activations import Activation
from nnrec.models.layers.catalogue_losses import ScaledMarginal, Scored

SIGMOID, LINEAR, TANH, SOFTMAX = (Activation(name) for name in ("sigmoid", "linear", "tanh", "softmax"))
# ln 3: a sigmoid of 3/4. Two rows over three items: the first likes items 0 and 1, the second likes item 2.
L3 = log(3)
X = np.array([[L3, -L3, 0.0], [L3, 0.0, -L3]], np.float32)
ROW, COLUMN, VALUE = np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([5, 4, 3], np.float32)


def gradient(function, x):
    """Value and gradient of a scalar function of one tensor, on either backend."""
    x = np.asarray(x, np.float32)
    if keras.backend.backend() == "jax":
        import jax

        value, slope = jax.value_and_grad(function)(x)
    else:
        import tensorflow as tf

        tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        slope = tape.gradient(value, tensor)
    return float(value), np.asarray(slope)


def scored(x, weight=(1.0, 1.0, 1.0)):
    """The dense form: the whole catalogue, and the three ones among it."""
    ones = ops.take(ops.reshape(x, [-1]), ROW * 3 + COLUMN)
    weight = np.array(weight, np.float32)
    return Scored(ops.convert_to_tensor(x), None, ones, None, ROW, (weight > 0).astype(np.float32), weight)


def of(error, activation, target):
    return lambda x: ops.sum(error(activation, x, target))


@pytest.mark.parametrize(
    ("error", "activation", "x", "target", "value", "slope"),
    [
        # a = 3/4, da/dx = a (1 - a) = 3/16
        (catalogue_losses.l1, SIGMOID, L3, 1, 1 / 4, -3 / 16),
        (catalogue_losses.l1, SIGMOID, L3, 0, 3 / 4, 3 / 16),
        (catalogue_losses.l2, SIGMOID, L3, 1, 1 / 32, -1 / 4 * 3 / 16),
        (catalogue_losses.l2, LINEAR, 3.0, 1, 2.0, 2.0),
        (catalogue_losses.l2, LINEAR, 3.0, 0, 4.5, 3.0),
        # 1 - a and 1 + a
        (catalogue_losses.hinge, LINEAR, 0.25, 1, 0.75, -1.0),
        (catalogue_losses.hinge, LINEAR, 1.5, 1, 0.0, 0.0),
        (catalogue_losses.hinge, LINEAR, 0.25, 0, 1.25, 1.0),
        (catalogue_losses.hinge, LINEAR, -1.5, 0, 0.0, 0.0),
        # below 1, above 0; nothing on the other side
        (catalogue_losses.l2_hinge, LINEAR, 0.5, 1, 0.125, -0.5),
        (catalogue_losses.l2_hinge, LINEAR, 1.5, 1, 0.0, 0.0),
        (catalogue_losses.l2_hinge, LINEAR, 0.5, 0, 0.125, 0.5),
        (catalogue_losses.l2_hinge, LINEAR, -0.5, 0, 0.0, 0.0),
        # -ln(3/4), -ln(1/4); a - t
        (catalogue_losses.cross_entropy, SIGMOID, L3, 1, log(4 / 3), -1 / 4),
        (catalogue_losses.cross_entropy, SIGMOID, L3, 0, log(4), 3 / 4),
        (catalogue_losses.cross_entropy, SIGMOID, 40.0, 0, 40.0, 1.0),
        # -ln(tanh(atanh(1/2))) = ln 2; d/dx ln tanh = (1 - a^2) / a = 3/2
        (catalogue_losses.cross_entropy, TANH, np.arctanh(0.5), 1, log(2), -1.5),
    ],
)
def test_errors_of_one_item(error, activation, x, target, value, slope):
    found, found_slope = gradient(of(error, activation, target), [x])
    assert found == pytest.approx(value, rel=1e-5, abs=1e-7)
    assert found_slope == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("x", "target", "value", "slope"),
    [
        (L3, 1, 2 * log(4 / 3), 2 * -1 / 4),  # .75 < .9: oneScale (a - 1)
        (4.0, 1, 0.0, 0.0),  # .982 is beyond .9: costs nothing
        (L3, 0, 3 * log(4), 3 * 3 / 4),  # .75 > .1: zeroScale a
        (-4.0, 0, 0.0, 0.0),  # .018 is below .1
    ],
)
def test_scaled_marginal_targets_are_thresholds(x, target, value, slope):
    error = ScaledMarginal(one_target=0.9, zero_target=0.1, one_scale=2.0, zero_scale=3.0)
    found, found_slope = gradient(of(error, SIGMOID, target), [x])
    assert found == pytest.approx(value, rel=1e-5)
    assert found_slope == pytest.approx(slope, rel=1e-5)


def test_defaults_of_the_scaled_marginal_cross_entropy():
    assert ScaledMarginal() == ScaledMarginal(one_target=0.9, zero_target=0.1, one_scale=1.0, zero_scale=1.0)


def test_a_row_sums_ones_and_zeros():
    # row 0: ones .75 and .25, zero .5: -ln .75 - ln .25 - ln .5 = 2.36712361
    # row 1: zeros .75 and .5, one .25: -ln .25 - ln .5 - ln .25 = 3.46573590
    found = catalogue_losses.summed(catalogue_losses.cross_entropy, SIGMOID, scored(X))
    np.testing.assert_allclose(found, [2.36712361, 3.46573590], rtol=1e-5)


def test_the_data_weighted_form_multiplies_the_ones():
    # row 0: 5 (-ln .75) + 4 (-ln .25) - ln .5 = 7.67673479; row 1: 3 (-ln .25) - ln .25 - ln .5 = 6.23832463
    found = catalogue_losses.summed(catalogue_losses.cross_entropy, SIGMOID, scored(X), VALUE)
    np.testing.assert_allclose(found, [7.67673479, 6.23832463], rtol=1e-5)
    value, slope = gradient(lambda x: ops.sum(catalogue_losses.summed(ScaledMarginal(), SIGMOID, scored(x), VALUE)), X)
    assert value == pytest.approx(7.67673479 + 6.23832463, rel=1e-5)
    np.testing.assert_allclose(slope, [[5 * -0.25, 4 * -0.75, 0.5], [0.75, 0.5, 3 * -0.75]], rtol=1e-5)


def test_weights_multiply_ones_and_their_mean_zeros():
    # row 0: 3 (-ln .75) + 1 (-ln .25) + (3 + 1) / 2 (-ln .5) = 3.63563494; row 1: half of the above
    found = catalogue_losses.summed(catalogue_losses.cross_entropy, SIGMOID, scored(X, weight=(3, 1, 0.5)))
    np.testing.assert_allclose(found, [3.63563494, 3.46573590 / 2], rtol=1e-5)


def test_padding_is_no_one():
    # row 0 likes item 0 alone: -ln .75 - ln .75 - ln .5
    found = catalogue_losses.summed(catalogue_losses.cross_entropy, SIGMOID, scored(X, weight=(1, 0, 1)))
    assert float(found[0]) == pytest.approx(-2 * log(0.75) - log(0.5), rel=1e-5)


def test_multinomial():
    # row 0: softmax of (3, 1/3, 1): sum 13/3; -ln(9/13) - ln(1/13) = 2.93267385; row 1: -ln((1/3) / (13/3)) = ln 13
    error = catalogue_losses.multinomial(scored(X))
    np.testing.assert_allclose(error, [2.93267385, log(13)], rtol=1e-5)
    # d/dx = n a - 1 on the ones
    _, slope = gradient(lambda x: ops.sum(catalogue_losses.multinomial(scored(x))), X)
    np.testing.assert_allclose(
        slope, [[2 * 9 / 13 - 1, 2 * 1 / 13 - 1, 2 * 3 / 13], [9 / 13, 3 / 13, 1 / 13 - 1]], rtol=1e-4
    )
    # targets 1/n: half of it in a row of two
    np.testing.assert_allclose(
        catalogue_losses.multinomial(scored(X), shared=True), [2.93267385 / 2, log(13)], rtol=1e-5
    )


def test_scaled_marginal_of_a_softmax():
    # a = (9, 1, 3) / 13, and (9, 3, 1) / 13. oneTarget .5: the first row's item 0 (.69) costs nothing.
    # row 0: -2/2 ln(1/13); row 1: -2/1 ln(1/13)
    marginal = ScaledMarginal(one_target=0.5, zero_target=0.25, one_scale=2.0, zero_scale=3.0)
    np.testing.assert_allclose(
        catalogue_losses.softmax_marginal(marginal, scored(X)), [log(13), 2 * log(13)], rtol=1e-5
    )
    # a - oneScale / n on such ones; zeroScale a on zeros above .25: only 9/13 of the second row
    value, slope = gradient(lambda x: ops.sum(catalogue_losses.softmax_marginal(marginal, scored(x))), X)
    assert value == pytest.approx(3 * log(13), rel=1e-5)
    expected = [[0, 1 / 13 - 2 / 2, 0], [3 * 9 / 13, 0, 1 / 13 - 2]]
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_sparseness():
    # means .5 and .2 (the last row is padding), p = .1: KL = .1 ln .2 + .9 ln 1.8 = .36806420 and
    # .1 ln .5 + .9 ln 1.125 = .03669000; beta 2, two of three rows: 2 * .4047542 * 2/3
    a = np.array([[0.25, 0.1], [0.75, 0.3], [0.9, 0.9]], np.float32)
    real = np.array([1, 1, 0], np.float32)
    value, slope = gradient(lambda x: catalogue_losses.sparseness(x, real, p=0.1, beta=2.0), a)
    assert value == pytest.approx(2 * 0.4047542 * 2 / 3, rel=1e-5)
    # 2 (-.1/.5 + .9/.5) = 3.2 and 2 (-.1/.2 + .9/.8) = 1.25 for each row, over the batch of 3
    np.testing.assert_allclose(slope, [[3.2 / 3, 1.25 / 3], [3.2 / 3, 1.25 / 3], [0, 0]], rtol=1e-5)


def test_sparseness_of_units_that_never_fire_pulls_on():
    # pi is clipped to 1e-6: beta (-p / 1e-6 + (1 - p) / (1 - 1e-6)) = -.5 / 1e-6 + .5
    _, slope = gradient(
        lambda x: catalogue_losses.sparseness(x, np.ones(2, np.float32), p=0.5, beta=1.0), np.zeros((2, 1))
    )
    np.testing.assert_allclose(slope, np.full((2, 1), (-5e5 + 0.5) / 2), rtol=1e-5)
    value, _ = gradient(
        lambda x: catalogue_losses.sparseness(x, np.ones(2, np.float32), p=0.0, beta=1.0), np.full((2, 1), 0.5)
    )
    assert value == pytest.approx(log(2), rel=1e-5)


def sample_of(x, drawn, probability, count):
    """The scores and scales of a batch that sampled these items."""
    times = np.bincount(drawn, minlength=x.shape[1])
    items = np.flatnonzero(times)
    scale = (times[items] / (count * probability[items])).astype(np.float32)
    whole = np.zeros(x.shape[1], np.float32)
    whole[items] = scale
    ones = x[ROW, COLUMN]
    return Scored(x[:, items], scale, ones, whole[COLUMN], ROW, np.ones(3, np.float32), np.ones(3, np.float32))


@pytest.mark.parametrize("error", [catalogue_losses.cross_entropy, catalogue_losses.l2, ScaledMarginal(one_scale=2.0)])
def test_the_mean_over_all_samples_is_the_whole(error):
    """Sums over all sequences of two draws, times their probabilities, which gives the exact expectation."""
    probability = np.array([0.5, 0.2, 0.3])
    whole, expected = catalogue_losses.summed(error, SIGMOID, scored(X)), np.zeros(2)
    for first in range(3):
        for second in range(3):
            found = catalogue_losses.summed(error, SIGMOID, sample_of(X, np.array([first, second]), probability, 2))
            expected += probability[first] * probability[second] * np.asarray(found)
    np.testing.assert_allclose(expected, whole, rtol=1e-5)


def test_the_sum_behind_a_sampled_softmax_is_right_on_average():
    probability = np.array([0.5, 0.2, 0.3])
    expected = np.zeros(2)
    for item in range(3):
        _, log_ones = catalogue_losses.log_softmax(sample_of(X, np.array([item]), probability, 1))
        expected += probability[item] * np.exp(X[ROW, COLUMN] - np.asarray(log_ones))[[0, 2]]
    np.testing.assert_allclose(expected, np.exp(X).sum(axis=1), rtol=1e-5)


def test_a_softmax_sampled_with_much_larger_ones_stays_finite():
    x = X + np.array([[60, 0, 0], [0, 0, 60]], np.float32)
    error = catalogue_losses.multinomial(sample_of(x, np.array([1]), np.full(3, 1 / 3), 1))
    assert np.isfinite(np.asarray(error)).all()
    assert float(error[1]) == pytest.approx(exp(-50), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("sigmoid", L3, 0.75), ("tanh", 0.5, np.tanh(0.5)), ("linear", -2.0, -2.0), ("relu", -2.0, 0.0),
        ("lrelu", -2.0, -0.5), ("lrelu", 2.0, 2.0), ("elu", -1.0, 1.5 * (exp(-1) - 1)), ("elu", 2.0, 2.0),
        ("selu", -1.0, 2.0 * 1.5 * (exp(-1) - 1)), ("selu", 2.0, 4.0), ("softplus", 0.0, log(2)),
        ("softsign", -3.0, -0.75),
    ],
)  # fmt: skip
def test_activations(name, x, value):
    activation = Activation(name, relu_slope=0.25, elu_alpha=1.5, selu_lambda=2.0)
    assert float(activation(ops.convert_to_tensor(np.float32(x)))) == pytest.approx(value, rel=1e-5)


def test_softmax_runs_over_the_row():
    np.testing.assert_allclose(SOFTMAX(ops.convert_to_tensor(X[:1])), [[9 / 13, 1 / 13, 3 / 13]], rtol=1e-5)

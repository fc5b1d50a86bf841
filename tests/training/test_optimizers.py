"""The optimizers follow their formulas; the faster Adam gives Adam's results."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.training import optimizers

RNG = np.random.default_rng(0)
START = [RNG.normal(size=shape).astype(np.float32) for shape in ((7, 5), (5,), ())]
GRADIENTS = [[RNG.normal(size=array.shape).astype(np.float32) for array in START] for _ in range(6)]


def moved(optimizer) -> list[np.ndarray]:
    """The variables after a step for each of GRADIENTS; the learning rate falls on the way."""
    variables = [keras.Variable(array) for array in START]
    optimizer.build(variables)
    for number, gradients in enumerate(GRADIENTS):
        optimizer.learning_rate = 0.1 / (1 + number)
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def numpy_adam(value, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Kingma & Ba (2015), algorithm 1 with the efficient order of section 2, in double precision."""
    value, momentum, velocity = value.astype(np.float64), 0.0, 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        momentum = beta_1 * momentum + (1 - beta_1) * gradient
        velocity = beta_2 * velocity + (1 - beta_2) * gradient.astype(np.float64) ** 2
        rate = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        value = value - rate * momentum / (np.sqrt(velocity) + epsilon)
    return value


RATES = [0.1 / (1 + number) for number in range(len(GRADIENTS))]


@pytest.mark.parametrize("options", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}])
def test_adam_follows_the_paper(options):
    found = moved(optimizers.create("adam", 0.1, **options))
    for number, array in enumerate(START):
        expected = numpy_adam(array, [gradients[number] for gradients in GRADIENTS], RATES, **options)
        np.testing.assert_allclose(found[number], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"beta_1": 0.5, "epsilon": 1e-3}, {"clipnorm": 0.5}, {"weight_decay": 0.1}, {"amsgrad": True}]
)
def test_adam_is_keras_adam(options):
    ours, keras_own = moved(optimizers.create("adam", 0.1, **options)), moved(keras.optimizers.Adam(0.1, **options))
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has the kernel")
def test_the_fused_kernel_is_used_and_works_in_a_graph(monkeypatch):
    import tensorflow as tf

    used, kernel = [], tf.raw_ops.ResourceApplyAdam
    monkeypatch.setattr(tf.raw_ops, "ResourceApplyAdam", lambda **arguments: used.append(1) or kernel(**arguments))
    eager = moved(optimizers.create("adam", 0.1))
    assert len(used) == len(START) * len(GRADIENTS)
    optimizer = optimizers.create("adam", 0.1)
    variables = [keras.Variable(array) for array in START]
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    for rate, gradients in zip(RATES, GRADIENTS, strict=True):
        optimizer.learning_rate = rate
        step([tf.constant(gradient) for gradient in gradients])
    for one, other in zip(eager, variables, strict=True):
        np.testing.assert_allclose(one, keras.ops.convert_to_numpy(other), rtol=1e-6)


def test_rows_move_as_adam_moves_them():
    optimizer = optimizers.create("adam", 0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-3)
    rows, momentum, velocity = START[0], np.zeros((7, 5), np.float32), np.zeros((7, 5), np.float32)
    for iteration, (rate, gradients) in enumerate(zip(RATES, GRADIENTS, strict=True)):
        parts = optimizer.row_step(rows, gradients[0], momentum, velocity, rate, iteration)
        rows, momentum, velocity = (
            old + keras.ops.convert_to_numpy(change)
            for old, change in zip((rows, momentum, velocity), parts, strict=True)
        )
    gradients = [step[0] for step in GRADIENTS]
    expected = numpy_adam(START[0], gradients, RATES, beta_1=0.8, beta_2=0.95, epsilon=1e-3)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_one_step_of_a_row_by_hand():
    # first step: momentum .1 * 2, velocity .001 * 4; bias-corrected they are 2 and 4: the change is -.1 * 2 / 2
    optimizer = optimizers.create("adam", 0.1)
    one, two, zero = np.ones(1, np.float32), 2 * np.ones(1, np.float32), np.zeros(1, np.float32)
    change, momentum, velocity = (
        float(keras.ops.convert_to_numpy(part)[0]) for part in optimizer.row_step(one, two, zero, zero, 0.1, 0)
    )
    assert (change, momentum, velocity) == (pytest.approx(-0.1, rel=1e-4), pytest.approx(0.2), pytest.approx(0.004))


@pytest.mark.parametrize("nesterov", [False, True])
def test_rows_move_as_sgd_with_momentum_moves_them(nesterov):
    optimizer = optimizers.create("sgd", 0.1, momentum=0.8, nesterov=nesterov)
    rows, velocity = START[0], np.zeros((7, 5), np.float32)
    for iteration, (rate, gradients) in enumerate(zip(RATES, GRADIENTS, strict=True)):
        parts = optimizer.row_step(rows, gradients[0], velocity, rate, iteration)
        rows, velocity = (old + change for old, change in zip((rows, velocity), parts, strict=True))
    expected = moved(optimizers.create("sgd", 0.1, momentum=0.8, nesterov=nesterov))[0]
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_variables_have_their_own_rates(name):
    """Two equal variables, one at a quarter of the rate: its first step is a quarter as large."""
    start, gradient = np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float32)
    optimizer, variables = optimizers.create(name, 0.1), [keras.Variable(start) for _ in range(2)]
    optimizer.build(variables)
    optimizer.rate_factors = (1.0, 0.25)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)] * 2, variables)
    whole, quarter = (keras.ops.convert_to_numpy(variable) - start for variable in variables)
    np.testing.assert_allclose(quarter, 0.25 * whole, rtol=1e-4)
    assert np.abs(whole).min() > 0.01


def test_moments_of_rows_belong_to_the_optimizer():
    optimizer = optimizers.create("adam", 0.1)
    tables = [keras.Variable(np.zeros((4, 3), np.float32), trainable=False) for _ in range(2)]
    optimizer.build([])
    before = len(optimizer.variables)
    optimizer.build_rows(tables)
    assert [tuple(moment.shape) for pair in optimizer.row_moments for moment in pair] == [(4, 3)] * 4
    assert len(optimizer.variables) == before + 4


@pytest.mark.parametrize("name", ["sgd", "RMSprop", "Adam", "nadam"])
def test_any_optimizer_of_keras(name):
    optimizer = optimizers.create(name, 0.25)
    assert type(optimizer).__name__.lower() == name.lower()
    assert float(optimizer.learning_rate) == 0.25
    assert isinstance(optimizer, optimizers.Adam) == (name == "Adam")


def test_unknown_names_and_options():
    with pytest.raises(ConfigError, match=r"trainer\.optimizer: there is no 'adamm'\. Choose one of: .*adam, .*sgd"):
        optimizers.create("adamm", 0.1)
    with pytest.raises(ConfigError, match=r"trainer\.optimizer_options do not fit adam: .*momentun"):
        optimizers.create("adam", 0.1, momentun=0.9)


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_adagrad_follows_its_formula(momentum):
    """a = a + g^2, v = m v - rate g / sqrt(a + 1e-6), x = x + v, from a = v = 0; for weights and for rows."""
    found = moved(optimizers.create("adagrad", 0.1, momentum=momentum))
    for number, array in enumerate(START):
        value, square, velocity = array.astype(np.float64), 0.0, 0.0
        optimizer = optimizers.create("adagrad", 0.1, momentum=momentum)
        parts = [array, np.zeros_like(array), np.zeros_like(array)][: 3 if momentum else 2]
        for gradients, rate in zip(GRADIENTS, RATES, strict=True):
            gradient = gradients[number].astype(np.float64)
            square = square + gradient**2
            velocity = momentum * velocity - rate * gradient / np.sqrt(square + 1e-6)
            value = value + velocity
            changes = optimizer.row_step(parts[0], gradients[number], *parts[1:], rate, 0)
            parts = [part + keras.ops.convert_to_numpy(change) for part, change in zip(parts, changes, strict=True)]
        np.testing.assert_allclose(found[number], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(parts[0], value, rtol=1e-5, atol=1e-6)


def test_adagrads_first_step_is_the_learning_rate():
    """With an initial accumulator of 0; with Keras's .1 a gradient of .01 would move by a thirtieth of the rate."""
    variable = keras.Variable(np.zeros(2, np.float32))
    optimizer = optimizers.create("adagrad", 0.5)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(np.array([0.01, -3.0], np.float32))], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-0.5, 0.5], rtol=0.01)


def test_adagrad_refuses_a_momentum_without_sense():
    with pytest.raises(ConfigError, match="momentum must be at least 0 and below 1"):
        optimizers.create("adagrad", 0.1, momentum=1.0)

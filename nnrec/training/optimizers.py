"""Optimizers: Keras's own, and versions that can update single rows of tables."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nnrec.core.errors import ConfigError


class _RateFactors:
    """Mix-in: one factor of the learning rate per trainable variable, in order; () = 1 for all."""

    rate_factors: tuple[float, ...] = ()

    def _rate_of(self, variable: Any, learning_rate: Any) -> Any:
        if not self.rate_factors:
            return learning_rate
        return learning_rate * self.rate_factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]


class Adam(_RateFactors, keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015), with Keras's formula and defaults and two additions.

    Dense weights: on the TensorFlow backend, on one device, TensorFlow's fused kernel needs one
    pass over memory where Keras needs nine.

    Embedding tables: `row_step` updates only the rows that occur in a batch ("lazy" Adam). Other rows
    and their moments stay unchanged, whereas Adam would decay the moments and keep moving the rows.
    The cost is proportional to the batch, not to the table.
    """

    def build_rows(self, tables: list[keras.Variable]) -> None:
        """Creates the two moments of each table; they are saved with the optimizer's variables."""
        self.row_moments = [
            tuple(self.add_variable_from_reference(table, name=f"row_{kind}") for kind in ("momentum", "velocity"))
            for table in tables
        ]

    def row_step(self, rows, gradient, momentum, velocity, learning_rate, iteration):
        """The changes to add to rows and moments.

        Args:
            rows, gradient, momentum, velocity: (U, ...) tensors, the rows that occur in this batch.
            learning_rate: scalar.
            iteration: scalar, 0 in the first step.

        Returns:
            Three (U, ...) tensors: the changes of the rows, the momentum and the velocity.
        """
        step = ops.cast(iteration + 1, "float32")
        alpha = learning_rate * ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        momentum_change = (gradient - momentum) * (1 - self.beta_1)
        velocity_change = (ops.square(gradient) - velocity) * (1 - self.beta_2)
        change = -alpha * (momentum + momentum_change) / (ops.sqrt(velocity + velocity_change) + self.epsilon)
        return change, momentum_change, velocity_change

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = self._rate_of(variable, learning_rate)
        if not self._fused(gradient, variable):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = ops.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=(variable if isinstance(variable, tf.Variable) else variable.value).handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=ops.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
            use_locking=True,
        )

    def _fused(self, gradient: Any, variable: Any) -> bool:
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            return False
        import tensorflow as tf

        one_device = tf.distribute.get_strategy().num_replicas_in_sync == 1
        return one_device and isinstance(gradient, tf.Tensor) and gradient.dtype == variable.dtype


class SGD(_RateFactors, keras.optimizers.SGD):
    """Keras's stochastic gradient descent with momentum, which can also update single rows of tables.

    A row that does not occur in a batch, and its velocity, stay unchanged; plain momentum would keep moving the row.
    """

    def build_rows(self, tables: list[keras.Variable]) -> None:
        """Creates the velocity of each table."""
        self.row_moments = [(self.add_variable_from_reference(table, name="row_velocity"),) for table in tables]

    def row_step(self, rows, gradient, velocity, learning_rate, iteration):
        """The changes to add to (U, ...) rows and their velocity."""
        new = self.momentum * velocity - learning_rate * gradient
        change = self.momentum * new - learning_rate * gradient if self.nesterov else new
        return change, new - velocity

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self._rate_of(variable, learning_rate))


class Adagrad(_RateFactors, keras.optimizers.Optimizer):
    """Adagrad (Duchi, Hazan, Singer 2011) with momentum, as implemented by the authors of GRU4Rec.

        a = a + g^2,   v = momentum v - learning_rate g / sqrt(a + epsilon),   x = x + v

    a and v start at 0 (Keras's a starts at 0.1, and it has no v). Single rows of tables can be updated too: a row that
    does not occur in a batch stays unchanged, and so do its a and v.
    """

    def __init__(
        self,
        learning_rate: float = 0.05,
        momentum: float = 0.0,
        epsilon: float = 1e-6,
        name: str = "adagrad",
        **options: Any,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1. Received: {momentum}")
        super().__init__(learning_rate=learning_rate, name=name, **options)
        self.momentum, self.epsilon = momentum, epsilon

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("accumulator", "velocity") if self.momentum else ("accumulator",)

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the state of each weight."""
        if self.built:
            return
        super().build(variables)
        self._moments = [
            tuple(self.add_variable_from_reference(variable, name=kind) for kind in self._kinds)
            for variable in variables
        ]

    def build_rows(self, tables: list[keras.Variable]) -> None:
        """Creates the state of each table."""
        self.row_moments = [
            tuple(self.add_variable_from_reference(table, name=f"row_{kind}") for kind in self._kinds)
            for table in tables
        ]

    def row_step(self, rows, gradient, accumulator, *rest):
        """The changes to add to (U, ...) rows, their accumulator and, with momentum, their velocity.

        `rest` holds the velocity (only with momentum), the learning rate and the iteration.
        """
        *velocity, learning_rate, _ = rest
        square = ops.square(gradient)
        change = -learning_rate * gradient * ops.rsqrt(accumulator + square + self.epsilon)
        if not velocity:
            return change, square
        new = self.momentum * velocity[0] + change
        return new, square, new - velocity[0]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one weight."""
        learning_rate = ops.cast(self._rate_of(variable, learning_rate), variable.dtype)
        stores = (variable, *self._moments[self._get_variable_index(variable)])
        changes = self.row_step(variable, ops.cast(gradient, variable.dtype), *stores[1:], learning_rate, None)
        for store, change in zip(stores, changes, strict=True):
            self.assign_add(store, change)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"momentum": self.momentum, "epsilon": self.epsilon}


OWN = {"adam": Adam, "sgd": SGD, "adagrad": Adagrad}


def create(name: str, learning_rate: float, **options: Any) -> keras.optimizers.Optimizer:
    """Creates the optimizer of this name (one of `OWN`, or any of Keras's) with its options.

    Raises:
        ConfigError: the optimizer does not exist in Keras, or does not have an option.
    """
    classes = {key.lower(): value for key, value in vars(keras.optimizers).items() if isinstance(value, type)}
    classes |= OWN
    if name.lower() not in classes:
        raise ConfigError(f"trainer.optimizer: there is no {name!r}. Choose one of: {', '.join(classes)}.")
    try:
        return classes[name.lower()](learning_rate=learning_rate, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer.optimizer_options do not fit {name}: {error}") from error

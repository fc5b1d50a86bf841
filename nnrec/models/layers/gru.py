"""A layer of gated recurrent units, computed one step at a time."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class GRU(keras.layers.Layer):
    """Gated recurrent units whose reset gate acts after the recurrent product, as in cuDNN.

        r = sigmoid(x W_r + h U_r + b_r + d_r),  z = sigmoid(x W_z + h U_z + b_z + d_z)
        c = tanh(x W_c + b_c + r * (h U_c + d_c)),  h' = (1 - z) h + z c

    Each of the six matrices is initialised uniformly within +-sqrt(6 / (rows + columns)), the biases with 0.

    Args:
        num_inputs: length of x; 0 if x W is given to `enter`.
        units: length of h.
    """

    def __init__(self, num_inputs: int, units: int, *, name: str) -> None:
        super().__init__(name=name, autocast=False)
        self.units = units
        self.kernel = self._gates(num_inputs, "kernel") if num_inputs else None
        self.recurrent = self._gates(units, "recurrent")
        self.bias = self.add_weight((2, 3 * units), "zeros", name="bias", autocast=False)
        self.built = True

    def _gates(self, rows: int, name: str) -> keras.Variable:
        limit = (6 / (rows + self.units)) ** 0.5
        shape, drawn = (rows, 3 * self.units), keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight(shape, drawn, name=name, autocast=False)

    def enter(self, inputs: Any, given: Any = 0.0) -> Any:
        """(..., 3 units): the inputs of the gates, x W + b.

        Args:
            inputs: (..., num_inputs) x; ignored if num_inputs is 0.
            given: (..., 3 units) added to the result, such as a given x W.
        """
        product = 0.0 if self.kernel is None else ops.matmul(inputs, ops.convert_to_tensor(self.kernel))
        return given + product + self.bias[0]

    def step(self, entered: Any, state: Any) -> Any:
        """(B, units) new state h', from the result of `enter` and the state h."""
        back = ops.matmul(state, ops.convert_to_tensor(self.recurrent)) + self.bias[1]
        size = 2 * self.units
        gates = ops.sigmoid(entered[:, :size] + back[:, :size])
        reset, update = gates[:, : self.units], gates[:, self.units :]
        candidate = ops.tanh(entered[:, size:] + reset * back[:, size:])
        return state + update * (candidate - state)

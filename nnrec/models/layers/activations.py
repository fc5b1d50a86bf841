"""Activation functions by name, with the logarithms that error functions need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

# Arguments of logarithms are at least this.
SMALLEST = 1e-12


@dataclass(frozen=True)
class Activation:
    """An activation function of tensors of any shape.

    Args:
        name: a key of `FUNCTIONS`; an output layer computes "softmax" over its whole row.
        relu_slope: slope of lrelu for negative inputs.
        elu_alpha: alpha of elu and selu: their lower limit is -elu_alpha (for selu times selu_lambda).
        selu_lambda: the factor of selu.
    """

    name: str
    relu_slope: float = 1.0
    elu_alpha: float = 1.0
    selu_lambda: float = 1.050701

    def __call__(self, x: Any) -> Any:
        return FUNCTIONS[self.name](x, self)

    def log(self, x: Any) -> Any:
        """The logarithm of the activation, exact where a sigmoid is close to 0."""
        if self.name == "sigmoid":
            return -ops.softplus(-x)
        return ops.log(ops.maximum(self(x), SMALLEST))

    def log_rest(self, x: Any) -> Any:
        """The logarithm of 1 minus the activation, exact where a sigmoid is close to 1."""
        if self.name == "sigmoid":
            return -ops.softplus(x)
        return ops.log(ops.maximum(1.0 - self(x), SMALLEST))


def _exponential(x: Any, alpha: float) -> Any:
    return ops.where(x > 0, x, alpha * ops.expm1(ops.minimum(x, 0.0)))


FUNCTIONS: dict[str, Callable[[Any, Activation], Any]] = {
    "sigmoid": lambda x, _: ops.sigmoid(x),
    "tanh": lambda x, _: ops.tanh(x),
    "linear": lambda x, _: x,
    "relu": lambda x, _: ops.relu(x),
    "lrelu": lambda x, own: ops.where(x > 0, x, own.relu_slope * x),
    "elu": lambda x, own: _exponential(x, own.elu_alpha),
    "selu": lambda x, own: own.selu_lambda * _exponential(x, own.elu_alpha),
    "softplus": lambda x, _: ops.softplus(x),
    "softsign": lambda x, _: x / (1.0 + ops.abs(x)),
    "softmax": lambda x, _: ops.softmax(x),
}

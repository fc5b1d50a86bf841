"""Functions of a model's weights, compiled for whichever backend runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


def device_function(function: Callable[..., Any], weights: Sequence[keras.Variable]) -> Callable[..., Any]:
    """The function compiled; it reads the weights as they are when it is called, and changes none.

    Args:
        function: of arrays and nested lists of them, in `keras.ops`.
        weights: all that it reads.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)
    import jax

    @jax.jit
    def pure(values: list[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return function(*arguments)

    return lambda *arguments: pure([weight.value for weight in weights], *arguments)

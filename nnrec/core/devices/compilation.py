"""Functions compiled for whichever backend runs: small operations fused into one, functions of a model's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its element-wise operations in one pass over memory.

    On the TensorFlow backend XLA compiles it, and its gradient, by itself: for what stands between operations that XLA
    is slow at, such as large matrix products. On JAX, where all is compiled, it stays as it is.

    Args:
        function: of tensors, in `keras.ops`; it makes no variables.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=True)

    @wraps(function)
    def chosen(*arguments: Any) -> Any:
        return function(*arguments) if _plain else compiled(*arguments)

    return chosen


@contextmanager
def unfused() -> Iterator[None]:
    """Leaves functions as they are: for graphs that go where there may be no XLA."""
    global _plain
    _plain = True
    try:
        yield
    finally:
        _plain = False


_plain = False


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

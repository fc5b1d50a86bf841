"""Compilation of functions on either backend: fused element-wise operations, and functions of a model's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that fuses a function's element-wise operations into one pass over memory.

    On the TensorFlow backend XLA compiles the function and its gradient, separately from the rest of the model: use it
    between operations at which XLA is slow, such as large matrix products. On JAX, which compiles everything, the
    function is returned unchanged.

    Args:
        function: a function of tensors, in `keras.ops`; it must not create variables.
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
    """Turns `fused` off inside the block, for graphs that must run without XLA."""
    global _plain
    _plain = True
    try:
        yield
    finally:
        _plain = False


_plain = False


def device_function(function: Callable[..., Any], weights: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Compiles a function; every call uses the present values of the weights and changes none.

    Args:
        function: a function of arrays and nested lists of arrays, in `keras.ops`.
        weights: all weights that it reads.
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

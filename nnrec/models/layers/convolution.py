"""A convolution over the clicks of a session, the characters of their texts and their attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class Convolution(keras.layers.Layer):
    """A 3D convolution, ReLU and max-pooling, causal over clicks: no output depends on later clicks.

    In: (B, T, W, A, channels): T clicks, W characters, A attributes. Out: (B, T - reach, ceil(W / p), ceil(A / q),
    filters), with p and q the pool sizes over characters and attributes. An output depends on its click and the `reach`
    clicks before it. Over characters and attributes, the input is zero-padded to keep its size and pooled in disjoint
    blocks. Over clicks there is no padding, and pooling has stride 1: the maximum over each click and those before it.
    The kernel is initialised uniformly within +-sqrt(6 / fan-in) (He), the bias with 0.

    Args:
        channels: number of input channels.
        filters: number of output channels.
        kernel: kernel size in (clicks, characters, attributes).
        pool: pool size in (clicks, characters, attributes).
    """

    def __init__(self, channels: int, filters: int, kernel: Sequence[int], pool: Sequence[int], *, name: str) -> None:
        super().__init__(name=name, autocast=False)
        self.filters, self.extent, self.pool = filters, tuple(kernel), tuple(pool)
        clicks, characters, attributes = kernel
        limit = (6 / (clicks * characters * attributes * channels)) ** 0.5
        drawn = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight((*kernel, channels, filters), drawn, name="kernel", autocast=False)
        self.bias = self.add_weight((filters,), "zeros", name="bias", autocast=False)
        self.built = True

    @property
    def reach(self) -> int:
        """Number of preceding clicks that the output at a click depends on."""
        return self.extent[0] + self.pool[0] - 2

    def call(self, volume: Any) -> Any:
        around = [(size // 2, (size - 1) // 2) for size in self.extent[1:]]
        volume = ops.pad(volume, [(0, 0), (0, 0), *around, (0, 0)])
        found = ops.conv(volume, ops.cast(self.kernel, volume.dtype), padding="valid")
        found = ops.relu(found + ops.cast(self.bias, volume.dtype))
        size = (1, *self.pool[1:])
        if max(size) > 1:
            found = ops.max_pool(found, size, strides=size, padding="same")
        return last_of_each(found, self.pool[0])


def last_of_each(found: Any, size: int) -> Any:
    """Returns the maximum over each click and the size - 1 before it: (B, T - size + 1, ...) from (B, T, ...)."""
    highest = found[:, size - 1 :]
    for back in range(1, size):
        highest = ops.maximum(highest, found[:, size - 1 - back : -back])
    return highest

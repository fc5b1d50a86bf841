"""What Keras lacks for training on several devices, of its private parts: these are all that nnrec touches.

Keras 3.15 (pinned below 3.16). On JAX: batches that already lie on the devices are to be left alone, where Keras takes
all it gets for a process's own share. On TensorFlow with several workers (keras issues 20329 and 20585): a model built
before `fit` needs no symbolic build, and figures of a step need an axis over which workers are averaged.
"""

from __future__ import annotations

import math
from typing import Any

import keras


def of(devices: list[Any], large: int | None) -> keras.distribution.Distribution:
    """The distribution of weights over JAX's devices.

    Args:
        devices: on which to train.
        large: weights of at least so many numbers are cut, by rows if their number can be divided, else by columns;
            None = all are whole on each device.
    """
    import jax
    from keras.src.backend.jax import distribution_lib

    names = [f"{device.platform}:{device.id}" for device in devices]
    original = distribution_lib.distribute_data_input

    def distribute(batch: Any, layout: Any, batch_dim_name: str) -> Any:
        return batch if isinstance(batch, jax.Array) else original(batch, layout, batch_dim_name)

    distribution_lib.distribute_data_input = distribute
    mesh = keras.distribution.DeviceMesh((len(names),), ["batch"], names)
    return _Distribution(mesh, large)


class _Distribution(keras.distribution.DataParallel):
    """Every device holds all weights, or of large ones a share of the rows, or else of the columns."""

    def __init__(self, mesh: keras.distribution.DeviceMesh, large: int | None) -> None:
        super().__init__(device_mesh=mesh, auto_shard_dataset=False)
        self.large = large

    def get_data_layout(self, data_shape: Any) -> Any:
        # Batches come with a layout of their own.
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    def get_variable_layout(self, variable: Any) -> Any:
        shape, devices = variable.shape, len(self.device_mesh.devices.flatten())
        axes: list[str | None] = [None] * len(shape)
        if self.large is not None and math.prod(shape) >= self.large:
            even = [axis for axis, length in enumerate(shape) if length % devices == 0]
            if even:
                axes[even[0]] = "batch"
        return keras.distribution.TensorLayout(axes, self.device_mesh)


def figures(logs: dict[str, Any]) -> dict[str, Any]:
    """The figures of a step on one of several TensorFlow workers, with an axis to be averaged over."""
    return {name: value[None] for name, value in logs.items()}

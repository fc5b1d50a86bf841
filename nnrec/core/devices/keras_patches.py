"""Patches of Keras's private API for training on several devices: nnrec uses no other private parts of Keras.

For Keras 3.15 (pinned below 3.16). On JAX: batches that are already placed on the devices are passed through, whereas
Keras treats every batch as the process's own share. On TensorFlow with several workers (keras issues 20329 and 20585):
a model built before `fit` needs no symbolic build, and the metrics of a step need an axis over which Keras averages
the workers.
"""

from __future__ import annotations

import math
from typing import Any

import keras


def of(devices: list[Any], large: int | None) -> keras.distribution.Distribution:
    """Returns the distribution of weights over JAX's devices.

    Args:
        devices: the devices to train on.
        large: weights with at least this many elements are sharded: along rows if the number of devices divides
            their number, else along columns if it divides theirs; None = every device holds all weights.
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
    """Replicates weights on every device; shards large ones along rows, or else columns."""

    def __init__(self, mesh: keras.distribution.DeviceMesh, large: int | None) -> None:
        super().__init__(device_mesh=mesh, auto_shard_dataset=False)
        self.large = large

    def get_data_layout(self, data_shape: Any) -> Any:
        # Batches are already placed on the devices (`nnrec.core.devices.strategy.placed`).
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
    """Adds an axis to the metrics of a step on one of several TensorFlow workers, over which they are averaged."""
    return {name: value[None] for name, value in logs.items()}

"""Collectives over a batch that is divided among several devices.

On TensorFlow every device runs the step on its own part of the batch; these functions compute what depends on the whole
batch. On JAX one program sees the whole batch wherever its parts are placed, so no explicit communication is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def num_parts() -> int:
    """Returns the number of parts that each batch is cut into; 1 on JAX."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def in_parts(size: int) -> int:
    """Rounds a size up to a multiple of the number of parts."""
    parts = num_parts()
    return -(-size // parts) * parts


def global_sum(values: Any) -> Any:
    """Returns the sum of a tensor over the parts of the batch, or the sums of a list of tensors; differentiable."""
    if num_parts() == 1:
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def shared(function: Callable[[Any], Sequence[Any]], rows: Any) -> list[Any]:
    """Applies a row-wise function, dividing the rows among the devices; all devices get the whole result.

    Args:
        function: (n, ...) tensor -> tensors with n rows each; a row of the results depends on that row only.
        rows: (U, ...) tensor, the same on all devices; the number of parts divides U.
    """
    parts = num_parts()
    if parts == 1:
        return list(function(rows))
    import tensorflow as tf

    context, size = tf.distribute.get_replica_context(), tf.shape(rows)[0] // parts
    start = context.replica_id_in_sync_group * size

    @tf.custom_gradient
    def all_gather(part: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            return global_sum(tf.convert_to_tensor(upstream))[start : start + size]

        return context.all_gather(part, axis=0), gradient

    return [all_gather(part) for part in function(rows[start : start + size])]


def global_mean(values: Any, weights: Any) -> Any:
    """Returns the weighted mean over the rows of the global batch.

    Args:
        values: (B, d) tensor.
        weights: (B,) tensor, 0 for padding.

    Returns:
        (d,) tensor.
    """
    from keras import ops

    total, count = ops.sum(weights[:, None] * values, axis=0), ops.sum(weights)
    if num_parts() > 1:
        total, count = global_sum([total, count])
    return total / ops.maximum(count, 1e-12)

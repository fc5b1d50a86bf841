"""What couples the rows of a batch, in one place: of several devices each holds only a part of the batch.

On TensorFlow a step runs on every device with the device's own part; what concerns the whole batch is asked of the
others here. On JAX one program sees the whole batch, wherever its parts lie, so that there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def num_parts() -> int:
    """Into how many parts each batch is cut; 1 on JAX."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def in_parts(size: int) -> int:
    """The size of a batch, raised so that it can be cut."""
    parts = num_parts()
    return -(-size // parts) * parts


def global_sum(values: Any) -> Any:
    """The sum of a tensor over the parts of the batch, or the sums of a list of tensors; may be differentiated."""
    if num_parts() == 1:
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def shared(function: Callable[[Any], Sequence[Any]], rows: Any) -> list[Any]:
    """What a function makes of each row by itself; each device computes a part of it, and all of them get the whole.

    Args:
        function: (n, ...) tensor -> tensors with n rows each.
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
    """The weighted mean over the rows of the global batch.

    Args:
        values: (B, d) tensor.
        weights: (B,) tensor, 0 for rows that only fill up the batch.

    Returns:
        (d,) tensor.
    """
    from keras import ops

    total, count = ops.sum(weights[:, None] * values, axis=0), ops.sum(weights)
    if num_parts() > 1:
        total, count = global_sum([total, count])
    return total / ops.maximum(count, 1e-12)

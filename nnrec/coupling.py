"""What couples the rows of a batch, in one place: of several devices each holds only a part of the batch.

On TensorFlow a step runs on every device with the device's own part; what concerns the whole batch is asked of the
others here. On JAX one program sees the whole batch, wherever its parts lie, so that there is nothing to ask.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def num_parts() -> int:
    """Into how many parts each batch is cut; 1 on JAX."""
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


def global_mean(values: Any, weights: Any) -> Any:
    """The weighted mean over the rows of the global batch.

    Args:
        values: (B, d) tensor.
        weights: (B,) tensor, 0 for rows that only fill up the batch.

    Returns:
        (d,) tensor.
    """
    total, count = ops.sum(weights[:, None] * values, axis=0), ops.sum(weights)
    if num_parts() > 1:
        total, count = global_sum([total, count])
    return total / ops.maximum(count, 1e-12)

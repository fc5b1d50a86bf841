"""What couples the rows of a batch, in one place: with several devices, each holds only a part of the batch."""

from __future__ import annotations

from typing import Any

from keras import ops


def global_mean(values: Any, weights: Any) -> Any:
    """The weighted mean over the rows of the global batch.

    Args:
        values: (B, d) tensor.
        weights: (B,) tensor, 0 for rows that only fill up the batch.

    Returns:
        (d,) tensor.
    """
    total = ops.sum(weights[:, None] * values, axis=0)
    return total / ops.maximum(ops.sum(weights), 1e-12)

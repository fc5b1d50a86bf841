"""Random draws without a state: every number is a hash of what it is for.

A draw is keyed by (seed, epoch, row) on the host and by the column on the device. The same draw
therefore comes out wherever the row is computed (one device or many) and whenever (an interrupted
run that resumes), and nothing has to be saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def row_keys(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """A 32-bit key for each row in this epoch of this run.

    Args:
        rows: (B,) integers, global row numbers.

    Returns:
        (B,) uint32.
    """
    run = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
    bits = rows.astype(np.uint32) * np.uint32(0x9E3779B9) ^ run
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97), (15, 1)):
        bits = (bits ^ bits >> np.uint32(shift)) * np.uint32(factor)
    return bits


def uniform(keys: Any, columns: Any) -> Any:
    """Uniform numbers in [0, 1), one for each pair of a key and a column.

    The finaliser is Wellons' two-multiplication 32-bit integer hash, applied twice.

    Args:
        keys: uint32 tensor from `row_keys`.
        columns: integer tensor that broadcasts against `keys`.

    Returns:
        float32 tensor of the broadcast shape.
    """
    from keras import ops

    bits = ops.bitwise_xor(keys, ops.cast(columns, "uint32") * np.uint32(0x85EBCA6B))
    for _ in range(2):
        for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97), (15, None)):
            bits = ops.bitwise_xor(bits, ops.bitwise_right_shift(bits, np.uint32(shift)))
            if factor is not None:
                bits = bits * np.uint32(factor)
        bits = bits + np.uint32(0x9E3779B9)
    return ops.cast(ops.bitwise_right_shift(bits, np.uint32(8)), "float32") * np.float32(2.0**-24)


def dropout_mask(keys: Any, columns: Any, rate: float) -> Any:
    """Inverted dropout: 0 with probability `rate`, else 1 / (1 - rate); float32, broadcast shape."""
    from keras import ops

    return ops.cast(uniform(keys, columns) >= rate, "float32") / (1.0 - rate)


def normal(keys: Any, columns: Any) -> Any:
    """Standard normal numbers (Box & Muller 1958), one for each two neighbouring halves of the columns.

    Args:
        keys: uint32 tensor, (B, 1).
        columns: integers, (1, 2 d).

    Returns:
        (B, d) float32 tensor.
    """
    from keras import ops

    drawn = uniform(keys, columns)
    half = columns.shape[1] // 2
    radius = ops.sqrt(-2.0 * ops.log(1.0 - drawn[:, :half]))
    return radius * ops.cos(2.0 * np.pi * drawn[:, half:])

"""Stateless random draws: every number is a hash of its key.

A draw is keyed by (seed, epoch, row) on the host and by the column on the device. It is therefore
the same wherever the row is computed (one device or many) and whenever (also in a run that resumes
after an interruption), and no random state has to be saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def row_keys(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """Returns a 32-bit key for each row in this epoch of this run.

    Args:
        seed: seed of the run.
        epoch: number of the epoch.
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
    """Returns uniform numbers in [0, 1), one for each pair of a key and a column.

    The hash is Wellons' two-multiplication 32-bit integer hash, applied twice.

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
    """Mask of inverted dropout: 0 with probability `rate`, else 1 / (1 - rate); float32, the broadcast shape."""
    from keras import ops

    return ops.cast(uniform(keys, columns) >= rate, "float32") / (1.0 - rate)


def normal(keys: Any, columns: Any) -> Any:
    """Returns standard normal numbers (Box & Muller 1958): number j from the uniforms of columns j and d + j.

    Args:
        keys: uint32 tensor, (B, 1).
        columns: integer tensor, (1, 2 d).

    Returns:
        (B, d) float32 tensor.
    """
    from keras import ops

    drawn = uniform(keys, columns)
    half = columns.shape[1] // 2
    radius = ops.sqrt(-2.0 * ops.log(1.0 - drawn[:, :half]))
    return radius * ops.cos(2.0 * np.pi * drawn[:, half:])

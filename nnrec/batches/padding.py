"""Padding to a few sizes, so that shapes repeat and compiled functions are used again."""

from __future__ import annotations

import numpy as np


def bucket(size: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, ...: few distinct shapes, at most half of each padding."""
    power = 1 << max(size - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and size <= 3 * power // 4 else power


def padded(array: np.ndarray, size: int, fill: float = 0) -> np.ndarray:
    """`array` extended to `size` entries."""
    result = np.full(size, fill, array.dtype)
    result[: len(array)] = array
    return result

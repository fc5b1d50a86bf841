"""Padding to few distinct sizes, so that compiled functions are reused."""

from __future__ import annotations

import numpy as np


def bucket(size: int) -> int:
    """Rounds a size up to one of 1, 2, 3, 4, 6, 8, 12, 16, ...: few distinct shapes, each at most half padding."""
    power = 1 << max(size - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and size <= 3 * power // 4 else power


def padded(array: np.ndarray, size: int, fill: float = 0) -> np.ndarray:
    """Returns a flat `array` extended to `size` entries with `fill`."""
    result = np.full(size, fill, array.dtype)
    result[: len(array)] = array
    return result

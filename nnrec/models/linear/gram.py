"""How often items are liked together: the matrix that linear item-to-item models start from."""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Entries of the matrix that are computed at a time: with this many a block takes about 64 MiB.
BLOCK_ENTRIES = 2**22


def gram(rows: sparse.csr_array) -> np.ndarray:
    """X'X without another copy of it on the way.

    Args:
        rows: X, (num_users, num_items) float32.

    Returns:
        (num_items, num_items) float32, in C order, symmetric; whole numbers are exact up to 2^24.
    """
    num_items = rows.shape[1]
    result = np.empty((num_items, num_items), np.float32)
    by_item, columns = rows.T.tocsr(), rows.tocsc()
    width = max(1, BLOCK_ENTRIES // num_items)
    for start in range(0, num_items, width):
        block = slice(start, min(start + width, num_items))
        result[:, block] = (by_item @ columns[:, block]).toarray()
    return result


def gram_memory(num_items: int, num_ratings: int) -> int:
    """Bytes that `gram` holds at its peak, its result and copies of X included."""
    return 4 * num_items**2 + 16 * min(num_items**2, BLOCK_ENTRIES) + 32 * num_ratings

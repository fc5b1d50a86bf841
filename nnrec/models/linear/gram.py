"""The Gram matrix X'X of linear item-to-item models: how often items are liked together."""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Entries of the matrix computed at a time: a block of this size takes about 64 MiB.
BLOCK_ENTRIES = 2**22


def gram(rows: sparse.csr_array) -> np.ndarray:
    """Computes X'X without holding a second copy of it.

    Args:
        rows: X, (num_users, num_items) float32.

    Returns:
        (num_items, num_items) float32, in C order, symmetric; integer entries are exact up to 2^24.
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
    """Returns the peak memory of `gram` in bytes, including its result and copies of X."""
    return 4 * num_items**2 + 16 * min(num_items**2, BLOCK_ENTRIES) + 32 * num_ratings

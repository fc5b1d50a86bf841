"""The order of an epoch whose rows lie in files: approximately random, and read nearly in one go.

Rows are cut into blocks of neighbours. The blocks come in a random order, and as many of them as go into memory at
a time, a pool, are shuffled row by row. Every row comes once in each epoch; two rows of one block are never further
apart than a pool is long. Where everything is one pool, the order is any with the same probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

_Pool = TypeVar("_Pool")


def num_pools(number: int, pool_rows: int) -> int:
    """How many pools the rows make."""
    return -(-number // pool_rows)


def shuffled(seed: int, epoch: int, pool: int, number: int, pool_rows: int, block_rows: int) -> np.ndarray:
    """(P,) positions among the rows: the given pool of an epoch, in its order.

    Args:
        number: of all rows.
        pool_rows: of a pool; the last one has what is left.
        block_rows: of a block of neighbours.
    """
    if num_pools(number, pool_rows) == 1:
        return np.random.default_rng([seed, epoch]).permutation(number)
    blocks = np.random.default_rng([seed, epoch]).permutation(-(-number // block_rows))
    ends = np.cumsum(np.minimum((blocks + 1) * block_rows, number) - blocks * block_rows)
    start, stop = pool * pool_rows, min((pool + 1) * pool_rows, number)
    first, last = np.searchsorted(ends, [start, stop - 1], side="right")
    at = [np.arange(b * block_rows, min((b + 1) * block_rows, number)) for b in blocks[first : last + 1]]
    reset = int(ends[first - 1]) if first else 0
    together = np.concatenate(at)[start - reset : stop - reset]
    return np.random.default_rng([seed, epoch, pool]).permutation(together)


def one_ahead(read: Callable[[int], _Pool], numbers: Iterable[int]) -> Iterator[_Pool]:
    """What `read` returns for each number; while one is gone through, the next one is read."""
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for number in numbers:
            coming = reader.submit(read, number)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()

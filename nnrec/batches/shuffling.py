"""Approximately random order for the rows of an epoch that are stored in files, with mostly sequential reads.

The rows are divided into blocks of neighbours. The blocks are put in a random order and then divided into pools that
fit in memory; each pool is shuffled row by row. Every row comes once in each epoch; the rows of a block smaller than a
pool come in one pool or two consecutive ones. If there is one pool only, the order is a uniformly random permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

_Pool = TypeVar("_Pool")


def num_pools(number: int, pool_rows: int) -> int:
    """Returns the number of pools."""
    return -(-number // pool_rows)


def shuffled(seed: int, epoch: int, pool: int, number: int, pool_rows: int, block_rows: int) -> np.ndarray:
    """Returns (P,) row positions: the given pool of an epoch, in its order.

    Args:
        seed: seed of the order.
        epoch: number of the epoch.
        pool: number of the pool.
        number: number of all rows.
        pool_rows: rows of a pool; the last pool has the remaining ones.
        block_rows: rows of a block of neighbours.
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
    """Yields `read(number)` for each number; the next one is read in a thread while the caller uses the last."""
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for number in numbers:
            coming = reader.submit(read, number)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()

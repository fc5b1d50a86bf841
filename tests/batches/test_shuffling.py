"""Orders of rows in files: complete, repeatable, and in blocks."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnrec.batches.shuffling import num_pools, one_ahead, shuffled


@given(number=st.integers(1, 200), pool=st.integers(1, 60), block=st.integers(1, 30), seed=st.integers(0, 3))
def test_every_row_comes_once(number, pool, block, seed):
    pools = [shuffled(seed, 0, place, number, pool, block) for place in range(num_pools(number, pool))]
    assert sorted(np.concatenate(pools).tolist()) == list(range(number))
    assert all(len(part) == pool for part in pools[:-1])
    again = [shuffled(seed, 0, place, number, pool, block) for place in range(len(pools))]
    assert all(map(np.array_equal, pools, again))
    # Blocks at the edges may be cut in two.
    assert all(len(np.unique(part // block)) <= -(-pool // block) + 2 for part in pools)


def test_epochs_and_pools_differ():
    orders = {tuple(shuffled(0, epoch, place, 1000, 100, 10).tolist()) for epoch in range(3) for place in range(10)}
    assert len(orders) == 30


def test_one_is_read_ahead():
    seen, second = [], threading.Event()

    def read(number: int) -> int:
        seen.append(number)
        if number == 1:
            second.set()
        return number * number

    pools = one_ahead(read, range(3))
    assert next(pools) == 0
    assert second.wait(10)
    assert list(pools) == [1, 4]
    assert seen == [0, 1, 2]

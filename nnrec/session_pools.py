"""The sessions of an epoch in their order, as many at a time as go into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nnrec.data.sessions import Sessions
from nnrec.data.stored import StoredArray
from nnrec.shuffling import num_pools, one_ahead, shuffled

# Of sessions in files, those with so many events are read together, in blocks of neighbours with so many.
POOL_EVENTS = 2**22
BLOCK_EVENTS = 2**14


class Pool(NamedTuple):
    """Sessions in the order of an epoch.

    Attributes:
        which: (m,) their numbers.
        start: (m,) where each begins in `item`.
        item: (n,) int32.
    """

    which: np.ndarray
    start: np.ndarray
    item: np.ndarray


def pools(sessions: Sessions, shuffle: tuple[int, int] | None = None) -> Iterator[Pool]:
    """All sessions, each once: those in memory at once, those in files in pools of about `POOL_EVENTS` events.

    Args:
        shuffle: seed and epoch of a random order, which of several pools is approximate (`nnrec.shuffling`); None = as
            they are.
    """
    number = sessions.num_sessions
    if not sessions.stored:
        which = np.arange(number) if shuffle is None else np.random.default_rng(shuffle).permutation(number)
        yield Pool(which, sessions.offsets[which], sessions.item)
        return
    mean = max(len(sessions) / number, 1.0)
    rows, block = (max(int(events / mean), 1) for events in (POOL_EVENTS, BLOCK_EVENTS))

    def read(pool: int) -> Pool:
        if shuffle is None:
            return _read(sessions, np.arange(pool * rows, min((pool + 1) * rows, number)))
        return _read(sessions, shuffled(*shuffle, pool, number, rows, block))

    yield from one_ahead(read, num_pools(number, rows))


def _read(sessions: Sessions, which: np.ndarray) -> Pool:
    """Sessions in files, read from one end to the other."""
    assert isinstance(sessions.item, StoredArray)
    ascending = np.argsort(which)
    in_files = which[ascending]
    first, last = sessions.offsets[in_files], sessions.offsets[in_files + 1]
    edges = np.flatnonzero(first[1:] != last[:-1]) + 1
    begins, ends = first[np.append(0, edges)], last[np.append(edges - 1, len(last) - 1)]
    item = np.concatenate([sessions.item.slice(*pair) for pair in zip(begins.tolist(), ends.tolist(), strict=True)])
    start = np.empty(len(which), np.int64)
    start[ascending] = np.cumsum(last - first) - (last - first)
    return Pool(which, start, item)

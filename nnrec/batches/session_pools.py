"""The sessions of an epoch in order, in pools that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nnrec.batches.shuffling import num_pools, one_ahead, shuffled
from nnrec.core.stored_arrays import StoredArray
from nnrec.data.sessions import Sessions

# For sessions stored in files: events of a pool, whose sessions are read together, and of a block of neighbours.
POOL_EVENTS = 2**22
BLOCK_EVENTS = 2**14


class Pool(NamedTuple):
    """A pool of sessions, in the order of an epoch.

    Attributes:
        which: (m,) numbers of the sessions.
        start: (m,) position of each session's first event in `item`.
        item: (n,) int32 items of the events.
    """

    which: np.ndarray
    start: np.ndarray
    item: np.ndarray


def orders(sessions: Sessions, shuffle: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Yields the numbers of all sessions in order; for sessions in files about `POOL_EVENTS` events at a time.

    Args:
        shuffle: seed and epoch of a random order, approximate if there are several pools
            (`nnrec.batches.shuffling`); None = the order of the data.
    """
    for pool in range(_num_pools(sessions)):
        yield _order(sessions, shuffle, pool)


def pools(sessions: Sessions, shuffle: tuple[int, int] | None = None) -> Iterator[Pool]:
    """Yields the same pools with the items of their sessions, read one pool ahead."""
    return one_ahead(lambda pool: _read(sessions, _order(sessions, shuffle, pool)), range(_num_pools(sessions)))


def _num_pools(sessions: Sessions) -> int:
    return num_pools(sessions.num_sessions, _sessions_with(sessions, POOL_EVENTS)) if sessions.stored else 1


def _sessions_with(sessions: Sessions, events: int) -> int:
    """Returns how many sessions have this many events in total, on average."""
    return max(int(events / max(len(sessions) / sessions.num_sessions, 1.0)), 1)


def _order(sessions: Sessions, shuffle: tuple[int, int] | None, pool: int) -> np.ndarray:
    number = sessions.num_sessions
    if not sessions.stored:
        return np.arange(number) if shuffle is None else np.random.default_rng(shuffle).permutation(number)
    rows, block = (_sessions_with(sessions, events) for events in (POOL_EVENTS, BLOCK_EVENTS))
    if shuffle is None:
        return np.arange(pool * rows, min((pool + 1) * rows, number))
    return shuffled(*shuffle, pool, number, rows, block)


def _read(sessions: Sessions, which: np.ndarray) -> Pool:
    """Returns sessions with their items; those in files are read in ascending order."""
    if not isinstance(sessions.item, StoredArray):
        return Pool(which, sessions.offsets[which], sessions.item)
    ascending = np.argsort(which)
    in_files = which[ascending]
    first, last = sessions.offsets[in_files], sessions.offsets[in_files + 1]
    edges = np.flatnonzero(first[1:] != last[:-1]) + 1
    reset, ends = first[np.append(0, edges)], last[np.append(edges - 1, len(last) - 1)]
    item = np.concatenate([sessions.item.slice(*pair) for pair in zip(reset.tolist(), ends.tolist(), strict=True)])
    start = np.empty(len(which), np.int64)
    start[ascending] = np.cumsum(last - first) - (last - first)
    return Pool(which, start, item)

"""Batches of whole sessions for scoring, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnrec.batches.padding import bucket, padded
from nnrec.batches.protocol import Batch
from nnrec.data.sessions import Sessions


def blocks(sessions: Sessions, max_events: int) -> Iterator[Batch]:
    """Yields batches of sessions of similar length; every session is in exactly one batch.

    A batch of B sessions, padded to T events, holds
        `item`: (B, T) int32, each session's items, left-aligned; -1 for padding.
        `session`: (B,) int32, number of the session; -1 for padding, whose items are all -1.
        `time`: (B, T) float64, 0 for padding; only if the data have times.

    T is one of few sizes (see `nnrec.batches.padding.bucket`), and all batches of one T have the same B, so that there
    are few shapes. Shorter sessions come first; sessions of the same T keep their order.

    Args:
        sessions: the sessions to score.
        max_events: maximum of B * T, padding included; a longer session gets a batch of its own.
    """
    lengths = sessions.lengths
    distinct, which = np.unique(lengths, return_inverse=True)
    sizes = np.array([bucket(int(length)) for length in distinct], np.int64)[which]
    arrays = {"item": (sessions.item, -1), "time": (sessions.time, 0)}
    for size in map(int, np.unique(sizes)):
        group = np.flatnonzero(sizes == size).astype(np.int32)
        rows = min(max(max_events // size, 1), bucket(len(group)))
        for start in range(0, len(group), rows):
            chosen = group[start : start + rows]
            filled = np.arange(size) < padded(lengths[chosen], rows)[:, None]
            places = padded(sessions.offsets[chosen], rows)[:, None] + np.arange(size)
            batch = {"session": padded(chosen, rows, fill=-1)}
            for name, (array, fill) in arrays.items():
                if array is not None:
                    batch[name] = np.full((rows, size), fill, array.dtype)
                    batch[name][filled] = array[places[filled]]
            yield batch

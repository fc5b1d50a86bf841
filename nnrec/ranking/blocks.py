"""People and events a block at a time, so that their scores for all items stay small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnrec.batches.padding import bucket
from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.data.rows import Rows

# Events in a batch of sessions.
EVENTS_AT_A_TIME = 2**14


def filled(queries: np.ndarray, rows: int) -> np.ndarray:
    """Queries padded to this many rows by repeating the first, so that shapes stay the same."""
    short = rows - len(queries)
    return queries if short <= 0 else np.concatenate([queries, np.repeat(queries[:1], short, axis=0)])


# Scores held at a time: with this many floats a block takes 64 MiB.
BLOCK_ENTRIES = 2**24


def user_blocks(histories: Rows, num_items: int, which: np.ndarray | None = None) -> Iterator[Batch]:
    """Batches of users, so few at a time that their scores for all items stay small."""
    size = block_size(len(histories) if which is None else len(which), num_items)
    return RowBatches(histories, size, which=which).epoch()


def block_size(people: int, num_items: int) -> int:
    """How many of so many people are scored at a time."""
    return int(np.clip(BLOCK_ENTRIES // max(num_items, 1), 1, min(1024, bucket(people))))

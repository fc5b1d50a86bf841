"""Batches of users and events small enough that their scores for all items fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnrec.batches.padding import bucket
from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.data.rows import Rows

# Events in a batch of sessions when they are scored.
EVENTS_AT_A_TIME = 2**14


def filled(queries: np.ndarray, rows: int) -> np.ndarray:
    """Pads queries to `rows` rows by repeating the first one, so that all batches have the same shape."""
    short = rows - len(queries)
    return queries if short <= 0 else np.concatenate([queries, np.repeat(queries[:1], short, axis=0)])


# Scores held in memory at a time: this many floats take 64 MiB.
BLOCK_ENTRIES = 2**24


def user_blocks(histories: Rows, num_items: int, which: np.ndarray | None = None) -> Iterator[Batch]:
    """Yields batches of users small enough that their scores for all items fit in memory.

    Args:
        histories: a row of items for each user.
        num_items: size of the catalogue.
        which: row numbers of the users to include; None = all.
    """
    size = block_size(len(histories) if which is None else len(which), num_items)
    return RowBatches(histories, size, which=which).epoch()


def block_size(people: int, num_items: int) -> int:
    """Returns how many of `people` users are scored at a time: at least 1, at most 1,024."""
    return int(np.clip(BLOCK_ENTRIES // max(num_items, 1), 1, min(1024, bucket(people))))

"""From scores to ranked lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.batches import Batch, RowBatches, bucket
from nnrec.data.ratings import Rows

if TYPE_CHECKING:
    from nnrec.runs import StoredRows

# Scores held at a time: with this many floats a block takes 64 MiB.
BLOCK_ENTRIES = 2**24


def user_blocks(histories: Rows | StoredRows, num_items: int, which: np.ndarray | None = None) -> Iterator[Batch]:
    """Batches of users, so few at a time that their scores for all items stay small."""
    people = len(histories) if which is None else len(which)
    size = int(np.clip(BLOCK_ENTRIES // max(num_items, 1), 1, min(1024, bucket(people))))
    return RowBatches(histories, size, which=which).epoch()


def top_items(
    scores: Any, n: int, seen: Batch | None = None, barred: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The n best items of each row, best first; ties go to the lower item index.

    Args:
        scores: (B, num_items) tensor.
        n: length of the lists; at most num_items come back.
        seen: the batch that was encoded; its items are left out.
        barred: (num_items,) boolean, items left out for everybody.

    Returns:
        items: (B, n) int32; -1 where no item is left.
        values: (B, n) float32, their scores; -inf there.
    """
    from keras import ops

    if barred is not None:
        scores = ops.where(barred[None, :], -np.inf, scores)
    if seen is not None and (seen["weight"] > 0).any():
        # Padding repeats the first entry, so that shapes stay the same from batch to batch.
        entries = np.where(seen["weight"] > 0, np.arange(len(seen["row"])), np.argmax(seen["weight"] > 0))
        places = np.stack([seen["row"][entries], seen["column"][entries]], axis=1)
        scores = ops.scatter_update(scores, places, np.full(len(places), -np.inf, np.float32))
    values, items = ops.top_k(scores, min(n, int(scores.shape[1])))
    values, items = ops.convert_to_numpy(values), ops.convert_to_numpy(items).astype(np.int32)
    return np.where(np.isneginf(values), -1, items), values

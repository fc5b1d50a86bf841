"""From scores to ranked lists."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.core.errors import TrainingError


def top_items(
    scores: Any, n: int, seen: Batch | None = None, excluded: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the n best items of each row, best first; ties go to the lower item index.

    Args:
        scores: (B, num_items) array or tensor; a tensor is ranked on its device.
        n: length of the lists; lists have at most num_items items.
        seen: the encoded batch of histories; each row's items are excluded from its list.
        excluded: (num_items,) boolean, True for items excluded from all lists.

    Returns:
        items: (B, n) int32 item indices; -1 where no item is left.
        values: (B, n) float32 scores of these items; -inf where no item is left.
    """
    if isinstance(scores, np.ndarray):
        return _top_of_array(scores, n, seen, excluded)
    from keras import ops

    scores = ops.add(scores, 0.0)  # -0.0, which JAX ranks below 0.0, becomes 0.0
    if excluded is not None:
        scores = ops.where(excluded[None, :], -np.inf, scores)
    if seen is not None and (seen["weight"] > 0).any():
        # Padding repeats the first entry, so that shapes stay the same from batch to batch.
        entries = np.where(seen["weight"] > 0, np.arange(len(seen["row"])), np.argmax(seen["weight"] > 0))
        places = np.stack([seen["row"][entries], seen["column"][entries]], axis=1)
        scores = ops.scatter_update(scores, places, np.full(len(places), -np.inf, np.float32))
    values, items = ops.top_k(scores, min(n, int(scores.shape[1])))
    values, items = ops.convert_to_numpy(values), ops.convert_to_numpy(items).astype(np.int32)
    return np.where(np.isneginf(values), -1, items), values


def competing_ranks(scores: np.ndarray, target: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
    """Ranks one target item per row among the items of the catalogue; rank 1 is the best.

    Args:
        scores: (B, num_items) float32.
        target: (B,) int, item indices; a target is ranked even if it is not in the catalogue.
        catalogue: (num_items,) boolean, True for the items that compete with the target.

    Returns:
        (2, B) int64: 1 + the number of items scored higher; and 1 + the number of other items scored at least as high.

    Raises:
        TrainingError: a score is not a number.
    """
    scores = np.ascontiguousarray(scores, np.float32)
    ranks, wrong = np.empty((2, len(target)), np.int64), np.empty(len(target), np.int64)
    _counting()(scores, target, catalogue, ranks, wrong)
    if wrong.any():
        raise TrainingError(
            f"{int(wrong.sum()):,} scores are not a number, so that items cannot be ranked. Lower "
            "trainer.learning_rate, or look for extreme values in the data."
        )
    return ranks


@cache
def _counting() -> Any:
    from nnrec.core.jit import compiled

    def count(scores, target, catalogue, ranks, wrong):
        for row in range(len(target)):
            own, here = scores[row, target[row]], scores[row]
            higher = level = unordered = 0
            for item in range(len(here)):
                higher += catalogue[item] & (here[item] > own)
                level += catalogue[item] & (here[item] == own)
                unordered += catalogue[item] & (here[item] != here[item])
            ranks[0, row] = 1 + higher
            ranks[1, row] = higher + level + (not catalogue[target[row]])
            wrong[row] = unordered + (own != own)

    return compiled(count)


def _top_of_array(
    scores: np.ndarray, n: int, seen: Batch | None, excluded: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    scores = scores.astype(np.float32) + np.float32(0)  # a copy, in which -0.0 is 0.0
    if excluded is not None:
        scores[:, excluded] = -np.inf
    if seen is not None:
        entries = seen["weight"] > 0
        scores[seen["row"][entries], seen["column"][entries]] = -np.inf
    # One integer key per entry, ordered by score and then by descending index. float32 values sort like the integers
    # with the same bits, once the bits of negative values are flipped.
    width = scores.shape[1]
    bits = scores.view(np.int32)
    keys = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64) << 32
    keys |= np.arange(width - 1, -1, -1)
    n = min(n, width)
    keys.partition(width - n, axis=1)
    best = np.sort(keys[:, width - n :], axis=1)[:, ::-1]
    items = (width - 1 - (best & 0xFFFFFFFF)).astype(np.int32)
    values = np.take_along_axis(scores, items, axis=1)
    return np.where(np.isneginf(values), np.int32(-1), items), values

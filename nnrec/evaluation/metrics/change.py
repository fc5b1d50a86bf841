"""How much lists change: between two models, between two points in time (churn), or with one more event.

`before` and `after` are (num_users, k) int: item indices, best first, without repeats, negative behind the end of a
list; row i of both belongs to the same user. Each function returns (num_users,) float64, NaN if both lists are empty.
"""

from __future__ import annotations

import numpy as np

from nnrec.evaluation.metrics.rankings import hits


def churn(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """1 - |before and after| / k: 0 = the same items in any order, 1 = no item in common.

    k is the length of the longer list.

    Raises:
        ValueError: lists of different shapes.
    """
    longer = _longer(before, after)
    shared = hits(before, *_flat(after)).sum(axis=1)
    return 1 - np.divide(shared, longer, out=np.full(len(longer), np.nan), where=longer > 0)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """1 if any place of the list holds a different item, else 0; the mean is the share of lists that changed.

    Raises:
        ValueError: lists of different shapes.
    """
    longer = _longer(before, after)
    different = (np.maximum(before, -1) != np.maximum(after, -1)).any(axis=1)
    return np.where(longer > 0, different, np.nan)


def rank_biased_overlap(before: np.ndarray, after: np.ndarray, p: float = 0.9) -> np.ndarray:
    """Extrapolated rank-biased overlap: 1 = identical lists, 0 = no item in common; the first places weigh most.

    A_k p^k + (1 - p) / p * sum over depths d = 1 ... k of A_d p^d, A_d = |first d of before and first d of after| / d.
    Webber et al., A Similarity Measure for Indefinite Rankings (2010), RBO_EXT, where k is the length of the longer
    list; places behind the end of the shorter list match nothing.

    Args:
        before, after: as above.
        p: persistence, between 0 and 1; at 0.9 the first ten places have 86% of the weight.

    Raises:
        ValueError: lists of different shapes; p out of range.
    """
    if not 0 < p < 1:
        raise ValueError(f"p lies between 0 and 1. Received: {p}")
    longer = _longer(before, after)
    num_users, width = before.shape
    agreement = _shared_by_depth(before, after) / np.arange(1, width + 1)
    depth = np.arange(1, width + 1)
    weight = (1 - p) / p * p**depth * (depth <= longer[:, None])
    last = agreement[np.arange(num_users), np.maximum(longer, 1) - 1] if width else np.zeros(num_users)
    return np.where(longer > 0, last * p**longer + (agreement * weight).sum(axis=1), np.nan)


def _shared_by_depth(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(num_users, k) number of items that the first d = 1 ... k places of both lists share."""
    num_users, width = before.shape
    num_items = 1 + max(before.max(initial=0), after.max(initial=0))
    user, place = np.nonzero(after >= 0)
    keys = user * num_items + after[user, place]
    order = np.argsort(keys)
    user_before, place_before = np.nonzero(hits(before, *_flat(after)))
    wanted = user_before * num_items + before[user_before, place_before]
    place_after = place[order][np.searchsorted(keys[order], wanted)]
    cells = user_before * width + np.maximum(place_before, place_after)
    return np.bincount(cells, minlength=num_users * width).reshape(num_users, width).cumsum(axis=1)


def _longer(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(f"Two lists per user, equally wide, expected. Received: {before.shape} and {after.shape}")
    return np.maximum((before >= 0).sum(axis=1), (after >= 0).sum(axis=1))


def _flat(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns lists as offsets and concatenated items, the form in which `hits` takes relevant items."""
    return np.concatenate([[0], np.cumsum((lists >= 0).sum(axis=1))]), lists[lists >= 0]

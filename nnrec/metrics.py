"""Figures of merit, as plain functions on NumPy arrays.

Rating accuracy takes values and predictions. Ranking takes `hit`, a boolean matrix that says which places of each
user's list hold a relevant item, and `num_relevant`, how many relevant items each user has; each ranking metric
returns one number per user, NaN for a user without a relevant item, so that nobody is averaged in as a failure by
accident. Places are counted from 1. A list that is shorter than k counts as ended there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def rmse(value: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Root mean squared error, sqrt(sum w (value - prediction)^2 / sum w).

    Args:
        value, prediction: (n,).
        weight: (n,) w, or None for 1 everywhere.

    Raises:
        ValueError: shapes differ, or there is nothing to average.
    """
    return math.sqrt(_mean(_difference(value, prediction) ** 2, weight))


def mae(value: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean absolute error, sum w |value - prediction| / sum w; arguments and errors as in `rmse`."""
    return _mean(np.abs(_difference(value, prediction)), weight)


def hits(lists: np.ndarray, offsets: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Which places of each list hold a relevant item.

    Args:
        lists: (num_users, k_max) int, item indices, best first; negative where a list has ended.
        offsets: (num_users + 1,) int, where each user's relevant items start in `relevant`.
        relevant: (n,) int, item indices.

    Returns:
        (num_users, k_max) bool.

    Raises:
        ValueError: lists and offsets are of different numbers of users.
    """
    if lists.ndim != 2 or len(lists) != len(offsets) - 1:
        raise ValueError(f"One list per user expected. Received: lists {lists.shape}, {len(offsets) - 1} users")
    width = 1 + max(lists.max(initial=0), relevant.max(initial=0))
    owner = np.repeat(np.arange(len(lists)), np.diff(offsets))
    pairs = np.arange(len(lists))[:, None] * width + lists
    return np.isin(pairs, owner * width + relevant) & (lists >= 0)


def recall(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Recall@k = hits among the first k / |relevant|.

    Args:
        hit: (num_users, k_max) bool, from `hits`.
        num_relevant: (num_users,) int.
        k: length of the list that is looked at, 1 or more.

    Returns:
        (num_users,) float64 in [0, 1].
    """
    return _ratio(_first(hit, k).sum(axis=1), num_relevant)


def truncated_recall(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Recall@k with the best reachable as 1 = hits among the first k / min(k, |relevant|).

    Liang et al., Variational Autoencoders for Collaborative Filtering (2018), section 4.2. Arguments as in `recall`.
    """
    return _ratio(_first(hit, k).sum(axis=1), np.minimum(num_relevant, k))


def precision(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Precision@k = hits among the first k / k. Arguments as in `recall`."""
    return _ratio(_first(hit, k).sum(axis=1), np.where(num_relevant > 0, k, 0))


def ndcg(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with gain 1 = sum over hits at places r <= k of 1 / log2(r + 1), over its largest possible value.

    The largest is the sum over r = 1 ... min(k, |relevant|). Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation
    of IR Techniques (2002), with the discount 1 / log2(r + 1) of Liang et al. (2018). Arguments as in `recall`.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    first = _first(hit, k)
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(num_relevant, k)]
    return _ratio(first @ discount[: first.shape[1]], best)


def mrr(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Reciprocal rank@k = 1 / place of the first hit, 0 without one among the first k. Arguments as in `recall`."""
    first = _first(hit, k)
    found = np.where(first.any(axis=1), 1 / (1.0 + first.argmax(axis=1)), 0)
    return np.where(num_relevant > 0, found, np.nan)


def hit_rate(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Hit rate@k = 1 if there is a hit among the first k, else 0. Arguments as in `recall`."""
    return np.where(num_relevant > 0, _first(hit, k).any(axis=1), np.nan)


def ranking(
    lists: np.ndarray, offsets: np.ndarray, relevant: np.ndarray, cutoffs: Sequence[int], truncated: bool = False
) -> dict[str, float]:
    """All ranking metrics at all cutoffs, averaged over the users with a relevant item.

    Args:
        lists, offsets, relevant: as in `hits`.
        cutoffs: the k's.
        truncated: `recall_min@k` (`truncated_recall`) in place of `recall@k`.

    Raises:
        ValueError: no user has a relevant item; arguments that `hits` refuses.
    """
    hit, num_relevant = hits(lists, offsets, relevant), np.diff(offsets)
    if not num_relevant.any():
        raise ValueError("No user has a relevant item.")
    found = {"recall_min": truncated_recall} if truncated else {"recall": recall}
    found |= {"precision": precision, "ndcg": ndcg, "mrr": mrr, "hit_rate": hit_rate}
    return {
        f"{name}@{k}": float(np.nanmean(metric(hit, num_relevant, k)))
        for name, metric in found.items()
        for k in cutoffs
    }


def _difference(value: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    if value.shape != prediction.shape:
        raise ValueError(f"One prediction per value expected. Received: shapes {value.shape} and {prediction.shape}")
    return value.astype(np.float64) - prediction


def _mean(error: np.ndarray, weight: np.ndarray | None) -> float:
    if not len(error) or (weight is not None and not weight.any()):
        raise ValueError("There is no error to average: no values, or all of weight 0.")
    return float(np.average(error, weights=weight))


def _first(hit: np.ndarray, k: int) -> np.ndarray:
    if k < 1:
        raise ValueError(f"A list is 1 or more long. Received: k={k}")
    return hit[:, :k]


def _ratio(amount: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(amount, whole, out=np.full(len(amount), np.nan), where=whole > 0)

"""Metrics of the positions of relevant items in ranked lists.

Most functions take `hit`, a boolean matrix from `hits` that marks the places of each user's list with a relevant item,
and `num_relevant`, the number of relevant items of each user. Each returns one number per user, NaN for a user without
a relevant item. Places are counted from 1. Places behind the end of a list are not hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def hits(lists: np.ndarray, offsets: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Marks the places of each list that hold a relevant item.

    Args:
        lists: (num_users, k_max) int, item indices, best first; negative behind the end of a list.
        offsets: (num_users + 1,) int, where each user's relevant items start in `relevant`.
        relevant: (n,) int, item indices.

    Returns:
        (num_users, k_max) bool.

    Raises:
        ValueError: lists and offsets have different numbers of users.
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
        k: length of the list, 1 or more.

    Returns:
        (num_users,) float64 in [0, 1].
    """
    return _ratio(_first(hit, k).sum(axis=1), num_relevant)


def truncated_recall(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Recall@k scaled so that 1 can be reached = hits among the first k / min(k, |relevant|).

    Liang et al., Variational Autoencoders for Collaborative Filtering (2018), section 4.2. Arguments as in `recall`.
    """
    return _ratio(_first(hit, k).sum(axis=1), np.minimum(num_relevant, k))


def precision(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Precision@k = hits among the first k / k. Arguments as in `recall`."""
    return _ratio(_first(hit, k).sum(axis=1), np.where(num_relevant > 0, k, 0))


def ndcg(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with gain 1 = sum over hits at places r <= k of 1 / log2(r + 1), divided by its largest possible value.

    The largest value is the sum over r = 1 ... min(k, |relevant|). Järvelin and Kekäläinen, Cumulated Gain-Based
    Evaluation of IR Techniques (2002), with the discount 1 / log2(r + 1) of Liang et al. (2018). Arguments as in
    `recall`.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    first = _first(hit, k)
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(num_relevant, k)]
    return _ratio(first @ discount[: first.shape[1]], best)


def average_precision(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """AP@k = sum over hits at places r <= k of (hits among the first r) / r, divided by min(k, |relevant|).

    With this denominator, a list with all hits at its top has the value 1 for every k. The mean over users is MAP@k.
    Manning et al., Introduction to Information Retrieval (2008), section 8.4, cut off at k. Arguments as in `recall`.
    """
    first = _first(hit, k)
    precisions = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    return _ratio((precisions * first).sum(axis=1), np.minimum(num_relevant, k))


def mrr(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Reciprocal rank@k = 1 / place of the first hit, 0 without a hit among the first k. Arguments as in `recall`."""
    first = _first(hit, k)
    reciprocal = (first / np.arange(1, first.shape[1] + 1)).max(axis=1, initial=0)
    return np.where(num_relevant > 0, reciprocal, np.nan)


def reciprocal_hit_rank(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Reciprocal hit rank@k = sum over hits at places r <= k of 1 / r; its mean over users is ARHR@k.

    With one relevant item it equals `mrr`; with several it can exceed 1. Deshpande and Karypis, Item-Based Top-N
    Recommendation Algorithms (2004); Kane, Building Recommender Systems with Machine Learning and AI.
    Arguments as in `recall`.
    """
    first = _first(hit, k)
    return np.where(num_relevant > 0, first @ (1 / np.arange(1, first.shape[1] + 1)), np.nan)


def hit_rate(hit: np.ndarray, num_relevant: np.ndarray, k: int) -> np.ndarray:
    """Hit rate@k = 1 if there is a hit among the first k, else 0. Arguments as in `recall`."""
    return np.where(num_relevant > 0, _first(hit, k).any(axis=1), np.nan)


def cumulative_hit_rate(
    hit: np.ndarray, num_relevant: np.ndarray, k: int, value: np.ndarray, threshold: float
) -> np.ndarray:
    """Hit rate@k of items with a rating of at least `threshold`; Kane, Building Recommender Systems with ML and AI.

    With a predicted rating per place, value (num_users, k_max), hits below the threshold do not count, and their users
    stay in the mean. With one rating per user, value (num_users,), users below the threshold are left out (NaN). The
    course uses the latter with the true rating of the one held-out item.

    Args:
        hit, num_relevant, k: as in `recall`.
        value: (num_users, k_max) predicted ratings of the places, or (num_users,) the rating of the held-out item.
        threshold: lowest rating that counts.

    Raises:
        ValueError: value has another shape.
    """
    if value.shape == hit.shape:
        return hit_rate(hit & (value >= threshold), num_relevant, k)
    _per_user(value, hit)
    return hit_rate(hit, np.where(value >= threshold, num_relevant, 0), k)


def hit_rate_by_value(
    hit: np.ndarray, num_relevant: np.ndarray, k: int, value: np.ndarray, levels: np.ndarray | None = None
) -> dict[float, tuple[float, int]]:
    """Hit rate@k by rating value (rHR); Kane, Building Recommender Systems with ML and AI.

    Args:
        hit, num_relevant, k: as in `recall`.
        value: (num_users,) rating of the user's held-out item, true or predicted.
        levels: rating values, ascending, required for predicted ratings; each user counts at the nearest one, at the
            higher one if two are equally near. None = the distinct values.

    Returns:
        level -> (hit rate, number of users), without levels that have no users.

    Raises:
        ValueError: value has another shape.
    """
    _per_user(value, hit)
    found = hit_rate(hit, num_relevant, k)
    found, value = found[num_relevant > 0], value[num_relevant > 0]
    levels = np.unique(value) if levels is None else np.asarray(levels)
    level = np.searchsorted((levels[1:] + levels[:-1]) / 2, value, side="right")
    users, total = np.bincount(level, minlength=len(levels)), np.bincount(level, found, minlength=len(levels))
    return {float(levels[i]): (float(total[i] / users[i]), int(users[i])) for i in np.flatnonzero(users)}


RANKING = {
    "recall": recall,
    "recall_min": truncated_recall,
    "precision": precision,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": mrr,
    "hit_rate": hit_rate,
    "arhr": reciprocal_hit_rank,
}


def ranking_per_user(
    lists: np.ndarray,
    offsets: np.ndarray,
    relevant: np.ndarray,
    cutoffs: Sequence[int],
    names: Sequence[str] = tuple(RANKING),
) -> dict[str, np.ndarray]:
    """Computes ranking metrics at all cutoffs.

    Args:
        lists, offsets, relevant: as in `hits`.
        cutoffs: list lengths k.
        names: metrics among recall, recall_min (`truncated_recall`), precision, ndcg, map, mrr, hit_rate, arhr.

    Returns:
        name such as `recall@10` -> (num_users,) float64, NaN for users without a relevant item.

    Raises:
        ValueError: as in `hits`; an unknown name.
    """
    if unknown := set(names) - set(RANKING):
        raise ValueError(f"Ranking metrics are {', '.join(RANKING)}. Received: {', '.join(sorted(unknown))}")
    hit, num_relevant = hits(lists, offsets, relevant), np.diff(offsets)
    return {f"{name}@{k}": RANKING[name](hit, num_relevant, k) for name in names for k in cutoffs}


def target_ranks(
    scores: np.ndarray, target: np.ndarray, ties: Literal["standard", "conservative", "median"] = "standard"
) -> np.ndarray:
    """Ranks one target item per row among all items; rank 1 is the best.

    standard: 1 + the number of items scored strictly higher; conservative: the number of items scored at least as high,
    the target included; median: the mean of the two. If all scores are equal, the ranks are 1, num_items and the mean
    of both. These are the tie rules of the code of GRU4Rec's authors, Hidasi and Karatzoglou.

    Args:
        scores: (B, num_items); -inf for excluded items.
        target: (B,) int, item indices.
        ties: tie rule.

    Returns:
        (B,) float64.

    Raises:
        ValueError: not one target per row, an unknown `ties`, or a score that is NaN.
    """
    if scores.ndim != 2 or target.shape != (len(scores),):
        raise ValueError(f"One target per row of scores expected. Received: {target.shape} targets, {scores.shape}")
    if ties not in ("standard", "conservative", "median"):
        raise ValueError(f"ties is standard, conservative or median. Received: {ties!r}")
    if np.isnan(scores).any():
        raise ValueError(f"Scores that can be ordered expected. Received: NaN in {np.isnan(scores).sum()} places")
    own = np.take_along_axis(scores, target[:, None], axis=1)
    standard, conservative = 1.0 + (scores > own).sum(axis=1), (scores >= own).sum(axis=1).astype(np.float64)
    return {"standard": standard, "conservative": conservative, "median": (standard + conservative) / 2}[ties]


def hit_rate_at(rank: np.ndarray, k: int) -> np.ndarray:
    """Hit rate@k = recall@k of single targets: 1 if rank <= k, else 0; NaN for NaN ranks.

    Args:
        rank: (n,) from `target_ranks`, NaN for a target that could not be ranked.
        k: 1 or more.
    """
    return np.where(np.isnan(rank), np.nan, rank <= k)


def reciprocal_rank_at(rank: np.ndarray, k: int) -> np.ndarray:
    """Reciprocal rank@k of single targets: 1 / rank if rank <= k, else 0. Arguments and NaN as in `hit_rate_at`."""
    return hit_rate_at(rank, k) / rank


def discounted_gain_at(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of single targets: 1 / log2(1 + rank) if rank <= k, else 0. Arguments and NaN as in `hit_rate_at`."""
    return hit_rate_at(rank, k) / np.log2(1 + rank)


def _first(hit: np.ndarray, k: int) -> np.ndarray:
    if k < 1:
        raise ValueError(f"A list is 1 or more long. Received: k={k}")
    return hit[:, :k]


def _per_user(value: np.ndarray, hit: np.ndarray) -> None:
    if value.shape != (len(hit),):
        raise ValueError(f"One value per user or per place expected. Received: shapes {value.shape} and {hit.shape}")


def _ratio(amount: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(amount, whole, out=np.full(len(amount), np.nan), where=whole > 0)

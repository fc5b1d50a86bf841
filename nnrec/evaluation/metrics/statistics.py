"""Confidence intervals and significance tests of metrics; the users are the sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

# Entries of the random matrices held at a time, chosen for speed: in products with a matrix, and with a vector.
RESAMPLED_ENTRIES = 2**20
SWAPPED_ENTRIES = 2**18


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Percentile bootstrap interval over users, of a mean or of a ratio of sums.

    Each resample draws num_users users with replacement and is used for all columns. Efron and Tibshirani, An
    Introduction to the Bootstrap (1993), chapter 13. For RMSE pass each user's sum of squared errors and number of
    ratings, and take the root of both bounds.

    Args:
        values: (num_users,) or (num_users, m); users with the value NaN are left out of that column.
        weights: the ratio's denominators, shaped like values; None = 1, which gives the mean.
        confidence: share of the draws between the bounds.
        draws: number of resamples.
        seed: the same seed gives the same bounds.

    Returns:
        (2,) or (2, m) float64, lower and upper bound; NaN where no user has a value.

    Raises:
        ValueError: no users, shapes differ, or confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1. Received: {confidence}")
    if not len(values) or (weights is not None and weights.shape != values.shape):
        shapes = (values.shape, None if weights is None else weights.shape)
        raise ValueError(f"Values of one user or more, with a weight each, expected. Received: shapes {shapes}")
    table = values.reshape(len(values), -1).astype(np.float64)
    given = ~np.isnan(table)
    above = np.where(given, table, 0.0)
    below = given * (1.0 if weights is None else weights.reshape(table.shape))
    columns = np.concatenate([above, below], axis=1)
    sums = np.concatenate([counts @ columns for counts in _resamples(len(values), draws, seed)])
    above, below = np.split(sums, 2, axis=1)
    empty = ~below.any(axis=0)
    # With few users, a resample may contain none that has a value. It is ignored.
    ratio = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    ratio[:, empty] = 0
    bounds = np.nanquantile(ratio, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    bounds[:, empty] = np.nan
    return bounds.reshape(2, *values.shape[1:])


def bootstrap_intervals(
    values: Mapping[str, np.ndarray], confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """`bootstrap_interval` of the mean for many metrics at once, with the same resamples.

    Args:
        values: name -> (num_users,), NaN where undefined; all arrays have the same users.
        confidence, draws, seed: as in `bootstrap_interval`.

    Returns:
        name -> (lower, upper).
    """
    if not values:
        return {}
    low, high = bootstrap_interval(np.stack(list(values.values()), axis=1), None, confidence, draws, seed)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(values)}


class PairedTest(NamedTuple):
    """The difference of two models on the same users, and its significance.

    Attributes:
        difference: mean of a - b over the users with both values.
        low, high: bootstrap interval of the difference.
        p_value: two-sided p value.
        num_users: number of users with both values.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_users: int


def paired_test(
    a: np.ndarray, b: np.ndarray, seed: int = 0, draws: int = 10_000, confidence: float = 0.95
) -> PairedTest:
    """Paired randomisation test: how often is the difference as large if each user's values are swapped at random?

    p = (1 + draws with |sum of +-d| >= |sum of d|) / (1 + draws), d the differences by user. Smucker et al., A
    Comparison of Statistical Significance Tests for Information Retrieval Evaluation (2007).

    Args:
        a, b: (num_users,) the metric of two models, the same users in the same order; NaN in either leaves a user out.
        seed: of the test and of the interval.
        draws: random sign patterns.
        confidence: of the interval, as in `bootstrap_interval`.

    Raises:
        ValueError: shapes differ, or no user has both values.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"Two values per user expected. Received: shapes {a.shape} and {b.shape}")
    difference = a.astype(np.float64) - b
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        raise ValueError(f"No user has both values. Received: {len(a)} users")
    low, high = bootstrap_interval(difference, None, confidence, seed=seed)
    swapped = difference[difference != 0]
    # Sums that differ only by rounding count as equal.
    observed = abs(swapped.sum()) - 1e-12 * np.abs(swapped).sum()
    rng, extreme = np.random.default_rng(seed), 0
    for size in _block_sizes(len(swapped), draws, SWAPPED_ENTRIES):
        bits = rng.integers(0, 256, (size, -(-len(swapped) // 8)), dtype=np.uint8)
        kept = np.unpackbits(bits, axis=1, count=len(swapped)).astype(np.float64) @ swapped
        extreme += int(np.sum(np.abs(2 * kept - swapped.sum()) >= observed))
    p_value = (1 + extreme) / (1 + draws)
    return PairedTest(float(difference.mean()), float(low), float(high), p_value, len(difference))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's correction: adjusts the p values of m comparisons to control the family-wise error rate.

    In ascending order, the i-th of m p values becomes max over j <= i of (m - j + 1) p_j, at most 1. Holm, A Simple
    Sequentially Rejective Multiple Test Procedure (1979).

    Args:
        p_values: (m,).

    Returns:
        (m,) in the given order.
    """
    p_values = np.asarray(p_values, np.float64)
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    steps = np.arange(len(p_values), 0, -1) * p_values[order]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def _resamples(num_users: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields blocks of resamples: (draws in the block, num_users) int, how often each user was drawn."""
    rng = np.random.default_rng(seed)
    for size in _block_sizes(num_users, draws, RESAMPLED_ENTRIES):
        drawn = rng.integers(num_users, size=(size, num_users)) + num_users * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * num_users).reshape(size, num_users)


def _block_sizes(width: int, draws: int, entries: int) -> Iterator[int]:
    step = max(1, entries // max(width, 1))
    return (min(step, draws - start) for start in range(0, draws, step))

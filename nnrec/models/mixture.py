"""Putting scores of different models on one scale, and finding the weights to add them with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

# Of reciprocal ranks: how little the first places stand out; the value of Cormack et al..
RANK_OFFSET = 60
# Weight moves from model to model in steps of these sizes.
STEPS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and standard deviation 1; a row of equal scores becomes 0."""
    scores = scores.astype(np.float32)
    largest = np.abs(scores).max(axis=1, keepdims=True, initial=0)
    scores -= scores.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.square(scores).mean(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    # What rounding leaves of equal scores is no spread.
    return np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 1e-6 * largest)


def reciprocal_ranks(scores: np.ndarray) -> np.ndarray:
    """1 / (60 + rank) of each score in its row: rank 1 is the highest, equal scores share their mean rank."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    rank = np.arange(1, scores.shape[1] + 1, dtype=np.float32)
    new = np.diff(ordered, axis=1, prepend=np.inf) != 0
    first = np.maximum.accumulate(np.where(new, rank, 0), axis=1)
    ends = np.roll(new, -1, axis=1)
    ends[:, -1:] = True
    last = np.minimum.accumulate(np.where(ends, rank, np.inf)[:, ::-1], axis=1)[:, ::-1]
    result = np.empty(scores.shape, np.float32)
    np.put_along_axis(result, order, 1 / (RANK_OFFSET + (first + last) / 2), axis=1)
    return result


def least_squares_weights(predictions: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The weights of the weighted mean with the least squared error: not negative, their sum 1.

    Args:
        predictions: (n, m) of m models.
        target: (n,) what they should be.
        weight: (n,) how much each counts; None = 1.

    Returns:
        (m,) float64.
    """
    errors = predictions.astype(np.float64) - target[:, None]
    errors *= 1.0 if weight is None else np.sqrt(weight)[:, None]
    # For weights s * v with sum(v) = 1 the objective is s^2 |E v|^2 + (s - 1)^2. At its best s it is
    # |E v|^2 / (|E v|^2 + 1), which is least where |E v| is.
    errors /= max(np.abs(errors).max(initial=0.0), 1e-12) * np.sqrt(len(errors))
    found, _ = nnls(np.vstack([errors, np.ones(errors.shape[1])]), np.append(np.zeros(len(errors)), 1.0))
    return found / found.sum()


def best_weights(num_models: int, gains: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Weights, not negative and of sum 1, for a high mean gain.

    Starts from the best model alone and moves weight from one model to another, a half first and a sixteenth in the
    end, as long as the mean gain rises by more than its standard error (of the users' differences): chance alone
    gives a useless model no weight.

    Args:
        num_models: m.
        gains: of (m,) weights -> (n,) how good each user's list is.

    Returns:
        (m,) float64.
    """
    alone = list(np.eye(num_models))
    found = [gains(weights) for weights in alone]
    best = int(np.argmax([gain.mean() for gain in found]))
    weights, gain = alone[best], found[best]
    for step in STEPS:
        while True:
            moved = [_move(weights, i, j, step) for i in range(num_models) for j in range(num_models) if i != j]
            moved = [candidate for candidate in moved if candidate.min() >= 0]
            found = [gains(candidate) for candidate in moved]
            if not found:
                break
            best = int(np.argmax([each.mean() for each in found]))
            rise = found[best] - gain
            if not rise.mean() > rise.std() / np.sqrt(len(rise)):
                break
            weights, gain = moved[best], found[best]
    return weights


def _move(weights: np.ndarray, source: int, goal: int, amount: float) -> np.ndarray:
    moved = weights.copy()
    moved[source] -= amount
    moved[goal] += amount
    return moved

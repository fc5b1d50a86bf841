"""Bringing the scores of different models to a common scale, and fitting the weights of their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import nnls

import nnrec.evaluation.metrics as metrics
from nnrec.batches.protocol import Batch
from nnrec.data.rows import Rows
from nnrec.models.base.scorer import Scorer
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items
from nnrec.splits.split import HeldOut

# Offset of reciprocal ranks, the value of Cormack et al.; with a larger one, the first ranks differ less from the rest.
RANK_OFFSET = 60
# Step sizes by which weight is moved from one model to another.
STEPS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Scales each row to mean 0 and standard deviation 1; a row of equal scores becomes 0."""
    scores = scores.astype(np.float32)
    largest = np.abs(scores).max(axis=1, keepdims=True, initial=0)
    scores -= scores.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.square(scores).mean(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    # A spread this small is a rounding error of equal scores.
    return np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 1e-6 * largest)


def reciprocal_ranks(scores: np.ndarray) -> np.ndarray:
    """Returns 1 / (60 + rank) of each score in its row; rank 1 is the highest, equal scores share their mean rank."""
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
    """Fits the weighted mean of m models with the least squared error; weights are not negative and sum to 1.

    Args:
        predictions: (n, m) predictions of the m models.
        target: (n,) true values.
        weight: (n,) weights of the squared errors; None = 1.

    Returns:
        (m,) float64 weights.
    """
    errors = predictions.astype(np.float64) - target[:, None]
    errors *= 1.0 if weight is None else np.sqrt(weight)[:, None]
    # For weights s * v with sum(v) = 1 the objective is s^2 |E v|^2 + (s - 1)^2. For the best s it equals
    # |E v|^2 / (|E v|^2 + 1), which has its minimum where |E v| has it.
    errors /= max(np.abs(errors).max(initial=0.0), 1e-12) * np.sqrt(len(errors))
    found, _ = nnls(np.vstack([errors, np.ones(errors.shape[1])]), np.append(np.zeros(len(errors)), 1.0))
    return found / found.sum()


def best_weights(num_models: int, gains: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Searches weights with a high mean gain; weights are not negative and sum to 1.

    The search starts with all weight on the best model and moves weight from one model to another, in steps from 1/2
    down to 1/16. A step is taken only if the mean gain rises by more than the standard error of the users' differences,
    so that a useless model does not get weight by chance.

    Args:
        num_models: m.
        gains: function of (m,) weights that returns the (n,) gains of the users, such as their ndcg.

    Returns:
        (m,) float64 weights.
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


def predictions(model: Scorer, held_out: HeldOut) -> np.ndarray:
    """(n,) a model's scores of the held-out entries, in the entries' order."""
    target = held_out.target
    offsets = np.searchsorted(target.user, np.arange(target.num_users + 1))
    found = []
    for batch in user_blocks(held_out.history.rows("user"), target.num_items, np.unique(target.user)):
        users = batch["index"][batch["index"] >= 0]
        entries = slice(offsets[users[0]], offsets[users[-1] + 1])
        rows = np.repeat(np.arange(len(users)), offsets[users + 1] - offsets[users])
        found.append(model.score_pairs(model.encode(batch), rows, target.item[entries]))
    return np.concatenate(found)


def ndcg_of(
    batches: Sequence[Batch], scores: Sequence[Sequence[np.ndarray]], wanted: Rows, k: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns each user's ndcg@k as a function of the models' weights.

    Args:
        batches: histories of the users; their items are excluded from the lists.
        scores: for each model, its (B, num_items) scores for each batch.
        wanted: the relevant items of the users, in the order of the batches.
        k: length of the lists.
    """

    def ndcg(weights: np.ndarray) -> np.ndarray:
        lists = []
        for number, batch in enumerate(batches):
            total = sum(np.float32(weight) * own[number] for weight, own in zip(weights, scores, strict=True) if weight)
            lists.append(top_items(total, k, seen=batch)[0][: np.count_nonzero(batch["index"] >= 0)])
        return metrics.ranking_per_user(np.concatenate(lists), wanted.offsets, wanted.ids, [k], ["ndcg"])[f"ndcg@{k}"]

    return ndcg


def _move(weights: np.ndarray, source: int, goal: int, amount: float) -> np.ndarray:
    moved = weights.copy()
    moved[source] -= amount
    moved[goal] += amount
    return moved

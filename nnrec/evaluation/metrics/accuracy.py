"""Accuracy of predictions: of ratings, and of labels of 0 or 1."""

from __future__ import annotations

import math

import numpy as np

# Probabilities are clipped to [this, 1 - this], so that a wrong prediction of 0 or 1 costs 16.1 instead of infinity.
SMALLEST_PROBABILITY = 1e-7


def rmse(value: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Root mean squared error, sqrt(sum w (value - prediction)^2 / sum w).

    Args:
        value, prediction: (n,).
        weight: (n,) w, or None for 1 everywhere.

    Raises:
        ValueError: shapes differ, or there are no values of positive weight.
    """
    return math.sqrt(_mean(_difference(value, prediction) ** 2, weight))


def mae(value: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean absolute error, sum w |value - prediction| / sum w; arguments and errors as in `rmse`."""
    return _mean(np.abs(_difference(value, prediction)), weight)


def auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs with the positive scored higher.

    Sum over pairs (p, q), p positive and q negative, of w_p w_q ([s_p > s_q] + [s_p = s_q] / 2), divided by the same
    sum of w_p w_q: a tie counts half. Computed from ranks as in Hanley and McNeil, The Meaning and Use of the Area
    under a ROC Curve (1982).

    Args:
        label: (n,), 1 or 0.
        score: (n,), on any scale.
        weight: (n,) w, or None for 1 everywhere.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, a score is NaN, or one of the two classes is missing.
    """
    _same_shape(label, score)
    if not np.isin(label, (0, 1)).all():
        raise ValueError(f"Labels are 0 or 1. Received: {np.setdiff1d(label, (0, 1))[:3].tolist()} among them")
    if np.isnan(score).any():
        raise ValueError(f"Scores that can be ordered expected. Received: NaN in {np.isnan(score).sum()} places")
    weight = np.ones(len(label)) if weight is None else weight
    levels, level = np.unique(score, return_inverse=True)
    positive = np.bincount(level, weight * (label == 1), minlength=len(levels))
    negative = np.bincount(level, weight * (label == 0), minlength=len(levels))
    pairs = positive.sum() * negative.sum()
    if not pairs:
        raise ValueError(f"Both labels expected. Received: weights {negative.sum():g} of 0, {positive.sum():g} of 1")
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / pairs)


def log_loss(label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Binary cross-entropy in nats, -sum w (y ln p + (1 - y) ln(1 - p)) / sum w, p clipped to [1e-7, 1 - 1e-7].

    Args:
        label: (n,) y, between 0 and 1.
        probability: (n,) p, the predicted probability that y is 1.
        weight: (n,) w, or None for 1 everywhere.

    Raises:
        ValueError: shapes differ, a label or probability is not between 0 and 1, or there are no values of positive
            weight.
    """
    _same_shape(label, probability)
    for name, given in (("Labels", label), ("Probabilities", probability)):
        if not np.all((given >= 0) & (given <= 1)):
            raise ValueError(f"{name} lie between 0 and 1. Received: {np.min(given):g} to {np.max(given):g}")
    p = np.clip(probability.astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return _mean(-(label * np.log(p) + (1 - label) * np.log1p(-p)), weight)


def _difference(value: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    _same_shape(value, prediction)
    return value.astype(np.float64) - prediction


def _same_shape(value: np.ndarray, prediction: np.ndarray) -> None:
    if value.shape != prediction.shape:
        raise ValueError(f"One prediction per value expected. Received: shapes {value.shape} and {prediction.shape}")


def _mean(error: np.ndarray, weight: np.ndarray | None) -> float:
    if not len(error) or (weight is not None and not weight.any()):
        raise ValueError("There is no error to average: no values, or all of weight 0.")
    return float(np.average(error, weights=weight))

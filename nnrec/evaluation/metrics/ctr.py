"""Metrics of click-through prediction: AUC within groups such as users, and calibration of probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def auc_by_group(group: np.ndarray, label: np.ndarray, score: np.ndarray, num_groups: int) -> np.ndarray:
    """The AUC within each group (such as a user's rows); a tie counts half, see `nnrec.evaluation.metrics.auc`.

    The mean of the defined values, weighted by the groups' numbers of rows, is GAUC (Zhu et al.: Optimized Cost per
    Click in Taobao Display Advertising, KDD 2017, equation 11).

    Args:
        group: (n,) integers from 0 to num_groups - 1.
        label: (n,), 1 or 0.
        score: (n,), on any scale.
        num_groups: number of groups.

    Returns:
        (num_groups,) float64, NaN for groups without rows of both labels.
    """
    levels = np.unique(score, return_inverse=True)[1]
    order = np.lexsort((levels, group))
    group, levels, positive = group[order], levels[order], label[order] == 1
    # Each row's rank in its group, starting from 1; tied rows share the mean of their ranks.
    starts = np.searchsorted(group, np.arange(num_groups))
    place = np.arange(1, len(group) + 1) - starts[group]
    tie = np.flatnonzero(np.r_[[True] * bool(len(group)), (np.diff(group) > 0) | (np.diff(levels) > 0)])
    lengths = np.diff(np.r_[tie, len(group)])
    rank = np.repeat(place[tie] + (lengths - 1) / 2, lengths)
    positives = np.bincount(group, positive, num_groups)
    negatives = np.bincount(group, ~positive, num_groups)
    above = np.bincount(group, rank * positive, num_groups) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.divide(above, pairs, out=np.full(num_groups, np.nan), where=pairs > 0)


class Calibration(NamedTuple):
    """Predicted and observed probabilities in bins of about equally many rows, by ascending probability: (bins,) each.

    Attributes:
        predicted: mean predicted probability.
        observed: mean label, the share of positives.
        rows: number of rows.
    """

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |predicted - observed|, weighted by the bins' numbers of rows."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.rows))


def calibration(label: np.ndarray, probability: np.ndarray, bins: int = 20) -> Calibration:
    """Compares predicted with observed probabilities by bin.

    Source: Naeini et al.: Obtaining Well Calibrated Probabilities, AAAI 2015. Rows of equal probability share a bin, so
    that there may be fewer bins than asked for.

    Args:
        label: (n,), between 0 and 1.
        probability: (n,) predicted probability of the label 1.
        bins: number of bins.
    """
    edges = np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, probability, side="right")
    rows = np.bincount(place, minlength=len(edges) + 1)
    there = rows > 0
    predicted, observed = (np.bincount(place, of, len(rows))[there] / rows[there] for of in (probability, label))
    return Calibration(predicted, observed, rows[there])

"""How well labels of 0 and 1 are told apart within each user, and how far probabilities can be taken at their word."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def auc_by_group(group: np.ndarray, label: np.ndarray, score: np.ndarray, num_groups: int) -> np.ndarray:
    """The AUC within each group (a user's rows, say), a tie counting half; see `nnrec.metrics.auc`.

    Weighted by its number of rows, its mean over the groups that have one is GAUC (Zhu et al.: Optimized Cost per Click
    in Taobao Display Advertising, KDD 2017, equation 11).

    Args:
        group: (n,) integers from 0 to num_groups - 1.
        label: (n,), 1 or 0.
        score: (n,), any scale.

    Returns:
        (num_groups,) float64, NaN where a group lacks one of the labels.
    """
    levels = np.unique(score, return_inverse=True)[1]
    order = np.lexsort((levels, group))
    group, levels, positive = group[order], levels[order], label[order] == 1
    # A row's place in its group, from 1 on; of rows that tie, the mean of their places.
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
    """Of rows in the order of their probabilities, in bins of equally many: (bins,) each.

    Attributes:
        predicted: mean probability.
        observed: share of the label 1.
        rows: how many.
    """

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean over the rows of |predicted - observed| of their bin."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.rows))


def calibration(label: np.ndarray, probability: np.ndarray, bins: int = 20) -> Calibration:
    """Predicted against observed, bin by bin (Naeini et al.: Obtaining Well Calibrated Probabilities, AAAI 2015).

    Rows of the same probability share a bin, so that there may be fewer.

    Args:
        label: (n,) 0 to 1.
        probability: (n,) that it is 1.
        bins: how many.
    """
    edges = np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, probability, side="right")
    rows = np.bincount(place, minlength=len(edges) + 1)
    there = rows > 0
    predicted, observed = (np.bincount(place, of, len(rows))[there] / rows[there] for of in (probability, label))
    return Calibration(predicted, observed, rows[there])

"""The evaluation outcome of an impression model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnrec.evaluation.metrics.ctr import Calibration
from nnrec.evaluation.outcomes.ratings import Outcome, Tables

if TYPE_CHECKING:
    from nnrec.splits.impressions import Examples, ImpressionSplit

# Number of bootstrap resamples: DRAWS, or fewer (at least LEAST_DRAWS) if together they had more than DRAWN_ROWS rows.
DRAWS, LEAST_DRAWS, DRAWN_ROWS = 1000, 100, 2**28


@dataclass
class ImpressionOutcome(Outcome):
    """`Outcome` in which `predictions` are per row (probabilities or ratings) and `users_per_second` counts rows.

    `per_user` holds `gauc`, the AUC within each user's rows, and each user's contribution to the metrics that are means
    over rows, scaled so that its mean over the users is the metric.

    Attributes:
        examples: the predicted rows.
        by_row: metrics that are means over rows: name -> (n,) values; for `rmse` the squared errors.
        calibration: predicted against observed probabilities; None for ratings.
    """

    examples: Examples = None  # type: ignore[assignment]
    by_row: dict[str, np.ndarray] = field(default_factory=dict)
    calibration: Calibration | None = None

    def add_rows(self, by_row: dict[str, np.ndarray]) -> None:
        """Adds metric values per row, and their means as metrics (for `rmse` the root of the mean)."""
        self.by_row |= by_row
        for name, values in by_row.items():
            mean = float(values.mean(dtype=np.float64))
            self.figures[name] = mean**0.5 if name == "rmse" else mean
            if len(self.users):
                sums = self._by_user(values) * len(self.users) / len(values)
                self.per_user[{"rmse": "squared_error", "mae": "absolute_error"}.get(name, name)] = sums

    def _by_user(self, values: np.ndarray) -> np.ndarray:
        """(m,) sums of (n,) values over the rows of each of `users`; rows without a user are left out."""
        row = self.rows_of_users
        return np.bincount(row[row >= 0], values[row >= 0], len(self.users))

    @property
    def rows_of_users(self) -> np.ndarray:
        """(n,) the position of each row's user in `users`; -1 for rows without a user."""
        user = self.examples.user
        if user is None:
            return np.full(len(self.examples), -1, np.int64)
        return np.where(user < 0, -1, np.searchsorted(self.users, user))

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """Returns 95% bootstrap confidence intervals by metric: over users, or over rows if the data have no users.

        Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: percentile intervals. All metrics use
        the same resamples; rows without a user are part of every resample once.
        """
        number, rng = len(self.examples), np.random.default_rng(seed)
        groups = self.rows_of_users if len(self.users) else np.arange(number)
        num_groups = len(self.users) or number
        draws = int(np.clip(DRAWN_ROWS // max(number, 1), LEAST_DRAWS, DRAWS))
        found: dict[str, list[float]] = {name: [] for name in self.figures if name != "calibration_error"}
        area = None if self.predictions is None or "auc" not in found else _Area(self.examples.label, self.predictions)
        rows_per_user = self._by_user(np.ones(number)) if len(self.users) else None
        for _ in range(draws):
            times = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups).astype(np.float32)
            weight = np.where(groups >= 0, times[groups], np.float32(1))
            total = float(weight.sum(dtype=np.float64))
            for name, values in self.by_row.items():
                mean = float(weight @ values) / max(total, 1e-12)
                found[name].append(mean**0.5 if name == "rmse" else mean)
            if area is not None:
                found["auc"].append(area(weight))
            if "gauc" in found:
                assert rows_per_user is not None
                found["gauc"].append(_weighted(self.per_user["gauc"], times * rows_per_user))
        return {
            name: np.nanquantile(values, [0.025, 0.975]).tolist()
            for name, values in found.items()
            if np.isfinite(values).any()
        }

    def tables(self, split: ImpressionSplit | Any) -> Tables:
        """Returns the tables that a run folder stores: test_impressions.parquet and test_users.parquet."""
        examples = self.examples
        number = len(examples)
        missing = np.full(number, -1, np.int32)
        rows: dict[str, Any] = {
            "user": missing if examples.user is None else examples.user,
            "item": missing if examples.item is None else examples.item,
            "label": examples.label,
            "prediction": self.predictions,
        }
        tables: Tables = {"test_impressions.parquet": pd.DataFrame(rows)}
        if len(self.users):
            tables["test_users.parquet"] = pd.DataFrame({"user": self.users, **self.per_user})
        return tables


class _Area:
    """Computes the area under the ROC curve for many weightings of the same rows."""

    def __init__(self, label: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])  # the last row of each tie
        self.positive = label[self.order] == 1

    def __call__(self, weight: np.ndarray) -> float:
        weight = weight[self.order].astype(np.float64)
        positive = np.diff(np.cumsum(weight * self.positive)[self.ends], prepend=0.0)
        negative = np.diff(np.cumsum(weight * ~self.positive)[self.ends], prepend=0.0)
        pairs = positive.sum() * negative.sum()
        return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs else float("nan")


def _weighted(values: np.ndarray, weight: np.ndarray) -> float:
    there = ~np.isnan(values)
    total = weight[there].sum()
    return float(values[there] @ weight[there] / total) if total else float("nan")

"""The evaluation outcome: metrics, the values behind them, and their confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

import nnrec.evaluation.metrics as metrics
from nnrec.splits.split import Split

# Data frames and arrays by file name.
Tables: TypeAlias = dict[str, pd.DataFrame | Mapping[str, np.ndarray]]


@dataclass
class Outcome:
    """Metrics of an evaluation, and the lists and predictions that they were computed from.

    Attributes:
        users: (m,) indices of the evaluated users.
        figures: metric values by name.
        per_user: values of the metrics that are means over users: name -> (m,), NaN where undefined. For rating
            accuracy, per-user sums: `squared_error`, `absolute_error` and `weight`.
        lists, scores: (m, max k) recommended items, -1 behind the end of a list, and their scores.
        predictions: (n,) predicted ratings of the held-out entries; None if scores are not ratings.
        by_rating: with one held-out item per user, the hit rate at the first cutoff by the item's "true" and
            "predicted" rating: rating -> (hit rate, number of users).
        users_per_second: users scored and ranked per second.
        notes: one line for each thing that was left out or looks wrong.
    """

    users: np.ndarray
    figures: dict[str, float] = field(default_factory=dict)
    per_user: dict[str, np.ndarray] = field(default_factory=dict)
    lists: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    predictions: np.ndarray | None = None
    by_rating: dict[str, dict[float, tuple[float, int]]] = field(default_factory=dict)
    users_per_second: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add(self, per_user: dict[str, np.ndarray]) -> None:
        """Adds metric values per user, and their means as metrics; a metric undefined for all users is left out."""
        self.per_user |= per_user
        known = {name: values[~np.isnan(values)] for name, values in per_user.items()}
        self.figures |= {name: float(values.mean()) for name, values in known.items() if len(values)}

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """Returns 95% confidence intervals by metric, for metrics with per-user values, by bootstrap over the users."""
        sums = ("squared_error", "absolute_error", "weight")
        means = {name: values for name, values in self.per_user.items() if name not in sums}
        bounds = {name: list(pair) for name, pair in metrics.bootstrap_intervals(means, seed=seed).items()}
        if "weight" in self.per_user:
            errors = np.stack([self.per_user[name] for name in sums[:2]], axis=1)
            weight = np.repeat(self.per_user["weight"][:, None], 2, axis=1)
            squared, absolute = metrics.bootstrap_interval(errors, weight, seed=seed).T
            bounds |= {"rmse": np.sqrt(squared).tolist(), "mae": absolute.tolist()}
        return {name: bounds[name] for name in self.figures if name in bounds}

    def tables(self, split: Split) -> Tables:
        """Returns the tables that a run folder stores: test_lists.npz, test_users.parquet and test_ratings.parquet.

        If held-out users are absent from the training part, test_histories.parquet holds the histories of these users.
        """
        target = split.test.target
        ratings = pd.DataFrame({"user": target.user, "item": target.item, "value": target.value})
        if self.predictions is not None:
            ratings["prediction"] = self.predictions
        users = pd.DataFrame({"user": self.users, **self.per_user})
        lists = {"users": self.users, "items": self.lists, "scores": self.scores}
        tables: Tables = {"test_lists.npz": lists, "test_ratings.parquet": ratings, "test_users.parquet": users}
        if split.new_users:  # their histories are not part of the training histories
            shown = split.test.history
            tables["test_histories.parquet"] = pd.DataFrame(
                {"user": shown.user, "item": shown.item, "value": shown.value}
            )
        return tables

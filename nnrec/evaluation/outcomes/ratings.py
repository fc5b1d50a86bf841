"""The outcome of an evaluation: figures, the values behind them, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

import nnrec.evaluation.metrics as metrics
from nnrec.splits.split import Split

# Data frames and arrays by the names of their files.
Tables: TypeAlias = dict[str, pd.DataFrame | Mapping[str, np.ndarray]]


@dataclass
class Outcome:
    """What was measured, and what it was measured on.

    Attributes:
        users: (m,) who was measured.
        figures: by name.
        per_user: the figures that are means over users: name -> (m,), NaN where undefined. For rating
            accuracy the sums: `squared_error`, `absolute_error` and `weight`.
        lists, scores: (m, max k) the recommended items, -1 where a list ended, and their scores.
        predictions: (n,) predicted ratings of the held-out entries; None where scores are no ratings.
        by_rating: hit rate at the first cutoff by "true" and "predicted" rating of the one item that
            was held out of each user: value -> (hit rate, users).
        users_per_second: scored and ranked.
        notes: what was left out or looks wrong, a line each.
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
        """Takes up per-user values, and their means as figures; a figure that nobody has is left out."""
        self.per_user |= per_user
        known = {name: values[~np.isnan(values)] for name, values in per_user.items()}
        self.figures |= {name: float(values.mean()) for name, values in known.items() if len(values)}

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """95% confidence intervals of the figures that users contribute to, by bootstrap over the users."""
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
        """What a run folder keeps of it: test_lists.npz, test_users.parquet and test_ratings.parquet.

        Where held-out users are absent from the training part, test_histories.parquet tells what was shown of them.
        """
        target = split.test.target
        ratings = pd.DataFrame({"user": target.user, "item": target.item, "value": target.value})
        if self.predictions is not None:
            ratings["prediction"] = self.predictions
        users = pd.DataFrame({"user": self.users, **self.per_user})
        lists = {"users": self.users, "items": self.lists, "scores": self.scores}
        tables: Tables = {"test_lists.npz": lists, "test_ratings.parquet": ratings, "test_users.parquet": users}
        if split.new_users:  # what is shown of them is no part of the training's histories
            shown = split.test.history
            tables["test_histories.parquet"] = pd.DataFrame(
                {"user": shown.user, "item": shown.item, "value": shown.value}
            )
        return tables

"""Popularity: all users get the most popular items."""

from __future__ import annotations

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline, matrix


class Popularity(Baseline):
    """Scores an item by the number of users who liked it in training.

    Source: the usual non-personal baseline, for example Cremonesi, Koren, Turrin: Performance of
    Recommender Algorithms on Top-N Recommendation Tasks, 2010, section 3.1 (TopPop).

    In: any history. Out: (B, num_items) float32, the sum of the weights (1 each, unless the data
    have weights) of the item's relevant training ratings.

    Differs: ratings below `relevant` do not count.

    Args:
        num_users, num_items: sizes of the data.
        relevant: ratings of at least this value count; None = all.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})
    personal = False
    learnt = ("count",)

    def __init__(
        self, num_users: int, num_items: int, *, relevant: float | None = None, name: str = "popularity"
    ) -> None:
        super().__init__(num_users, num_items, name=name)
        self.relevant = relevant

    def fit(self, train: Ratings) -> None:
        self.count = matrix(train, self.relevant, weighted=True).sum(axis=0).astype(np.float32)

    def encode(self, batch: Batch) -> np.ndarray:
        """(B, 1) ones: scores do not depend on the user."""
        return np.ones((len(batch["index"]), 1), np.float32)

    def score(self, queries: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        return queries * (self.count if items is None else self.count[items])

    def linear(self) -> np.ndarray:
        return self.count

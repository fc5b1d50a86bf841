"""Classical recommenders: NumPy and SciPy, no Keras, trained in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.core.errors import DataError
from nnrec.data.ratings import Ratings
from nnrec.models.base.fitted import Fitted
from nnrec.models.base.scorer import Scorer


class Baseline(Fitted, Scorer):
    """A model that is fitted to the training ratings at once.

    A subclass implements `fit`, `encode` and `score`; `encode` and `score` work on NumPy arrays.

    Args:
        num_users, num_items: sizes of the data.
        memory_limit: GB that fitting and scoring may take; None = what is free.
        name: as in the configuration.
    """

    smaller = "Drop rare items (data.filters.min_ratings_per_item)"

    def __init__(self, num_users: int, num_items: int, *, memory_limit: float | None = None, name: str) -> None:
        super().__init__(memory_limit=memory_limit, name=name)
        self.num_users, self.num_items = num_users, num_items

    @property
    def sizes(self) -> str:
        return f"{self.num_users:,} users and {self.num_items:,} items"

    def fit(self, train: Ratings) -> None:
        """Learns from the training ratings."""
        raise NotImplementedError

    def linear(self) -> np.ndarray | sparse.csr_array | None:
        """What scores are a linear function with, for `nnrec.serving`.

        Returns:
            (num_items, num_items) M where scores are x M, with x 1 for every liked item of the history;
            (num_items,) scores that everybody gets; None where scores are neither.
        """
        return None


def histories(batch: Batch, num_items: int, relevant: float | None = None) -> sparse.csr_array:
    """The batch as a (B, num_items) float32 matrix of its values; padding left out.

    Args:
        batch: rows of users, see `RowBatches`.
        num_items: width.
        relevant: only entries of at least this value; None = all.
    """
    kept = batch["weight"] > 0
    if relevant is not None:
        kept &= batch["value"] >= relevant
    entries = (batch["value"][kept], (batch["row"][kept], batch["column"][kept]))
    return sparse.csr_array(entries, shape=(len(batch["index"]), num_items), dtype=np.float32)


def liked(history: sparse.csr_array) -> sparse.csr_array:
    """The same matrix with 1 for every entry, those of value 0 included."""
    return sparse.csr_array((np.ones_like(history.data), history.indices, history.indptr), shape=history.shape)


def matrix(train: Ratings, relevant: float | None = None, weighted: bool = False) -> sparse.csr_array:
    """The ratings as a (num_users, num_items) float32 matrix of their values.

    Args:
        train: ratings.
        relevant: only those of at least this value; None = all.
        weighted: the ratings' weights (1 where they have none) in place of their values.

    Raises:
        DataError: no rating is relevant.
    """
    kept = np.ones(len(train), bool) if relevant is None else train.value >= relevant
    if not kept.any():
        raise DataError(
            f"No training rating reaches {relevant:g} (model.relevant, by default evaluation.relevant): the highest is "
            f"{train.scale[1]:g}. Lower it, or set it to null to count every rating."
        )
    data: Any = train.value
    if weighted:
        data = np.ones(len(train), np.float32) if train.weight is None else train.weight
    entries = (data[kept], (train.user[kept], train.item[kept]))
    return sparse.csr_array(entries, shape=(train.num_users, train.num_items), dtype=np.float32)

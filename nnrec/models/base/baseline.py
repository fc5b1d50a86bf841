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
    """A model that one call of `fit` trains on the training ratings.

    A subclass implements `fit`, `encode` and `score`; `encode` and `score` work on NumPy arrays.

    Args:
        num_users, num_items: sizes of the data.
        memory_limit: memory in GB that fitting and scoring may use; None = the free memory.
        name: the model's name in the configuration.
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
        """Returns the weights of linear or constant scores, for `nnrec.serving`.

        Returns:
            (num_items, num_items) matrix M if scores are x M, where x is 1 for the liked items of the history and else
            0; (num_items,) scores if they are the same for all users; None otherwise.
        """
        return None


def histories(batch: Batch, num_items: int, relevant: float | None = None) -> sparse.csr_array:
    """Returns a batch as a (B, num_items) float32 matrix of its values, without padding.

    Args:
        batch: rows of users, see `RowBatches`.
        num_items: number of columns.
        relevant: keep only entries of at least this value; None = all.
    """
    kept = batch["weight"] > 0
    if relevant is not None:
        kept &= batch["value"] >= relevant
    entries = (batch["value"][kept], (batch["row"][kept], batch["column"][kept]))
    return sparse.csr_array(entries, shape=(len(batch["index"]), num_items), dtype=np.float32)


def liked(history: sparse.csr_array) -> sparse.csr_array:
    """Returns the matrix with the value 1 for every stored entry, including entries of value 0."""
    return sparse.csr_array((np.ones_like(history.data), history.indices, history.indptr), shape=history.shape)


def matrix(train: Ratings, relevant: float | None = None, weighted: bool = False) -> sparse.csr_array:
    """Returns the ratings as a (num_users, num_items) float32 matrix of their values.

    Args:
        train: ratings.
        relevant: keep only ratings of at least this value; None = all.
        weighted: use the ratings' weights (1 if the data have none) instead of their values.

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

"""Ratings and batches from small dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary


def ratings_of(values, weights=None) -> Ratings:
    """The nonzero entries of a (users x items) matrix as ratings, with the weights at the same places."""
    values = np.asarray(values, np.float32)
    user, item = np.nonzero(values)
    return Ratings.build(
        users=Vocabulary(range(values.shape[0])),
        items=Vocabulary(range(values.shape[1])),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        value=values[user, item],
        weight=None if weights is None else np.asarray(weights, np.float32)[user, item],
    )


def batch_of(values, new: bool = False) -> Batch:
    """A batch with a row for each row of the matrix; `new`: users not seen in training."""
    ratings = ratings_of(values)
    batch = next(RowBatches(ratings.rows("user"), ratings.num_users).epoch())
    return batch | {"index": np.full_like(batch["index"], -1)} if new else batch


def random_likes(num_users: int = 40, num_items: int = 12, share: float = 0.3, seed: int = 0) -> np.ndarray:
    """A random matrix of ones and zeros, in which two groups of users like different items."""
    user, item = np.indices((num_users, num_items))
    chance = np.where((user + item) % 2 == 0, 2 * share, share / 2)
    return (np.random.default_rng(seed).random((num_users, num_items)) < chance).astype(np.float32)


def weighted(ratings: Ratings, weight: np.ndarray) -> Ratings:
    """The ratings with a weight for each user."""
    return replace(ratings, weight=weight[ratings.user].astype(np.float32))

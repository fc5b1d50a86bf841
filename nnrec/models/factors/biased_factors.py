"""Base class of SVD and SVD++: a bias and a vector for every user and item, learnt by SGD one rating at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError, TrainingError
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline
from nnrec.models.basic.bias import check_varied, trained_users
from nnrec.models.layers.fold_in import fold_in

# Additional fold-in penalties of new users, in numbers of ratings: for the vector (times l2) and for the bias.
# Validation RMSE of users held out of MovieLens 100K (and 1M), from 10 random ratings each: .9845 (.9137);
# without these penalties 1.0122 (.9299). With whole histories they make no difference.
VECTOR_PRIOR, BIAS_PRIOR = 20.0, 5.0


@dataclass(frozen=True, eq=False)
class Entries:
    """Training ratings in the form that the compiled loops take.

    Attributes:
        user, item: (n,) int32, ordered by user.
        target: (n,) float32, value - mean.
        weight: (n,) float32, above 0.
        offsets: (num_users + 1,) int64, where each user's ratings start.
    """

    user: np.ndarray
    item: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    offsets: np.ndarray


class BiasedFactors(Baseline):
    """Predicts a rating as mean + user bias + item bias + user vector . item vector.

    A subclass creates additional parameters (`begin`), updates all parameters in a pass over the
    ratings (`epoch`), and sets the `user_factors` that are used for scoring (`finish`).

    Args:
        num_users, num_items: sizes of the data.
        factors: length of the vectors.
        epochs: passes over the ratings.
        learning_rate: step size of SGD.
        l2: penalty on the vectors, applied at every rating.
        l2_bias: penalty on the biases, applied at every rating.
        initial_spread: standard deviation of the vectors' initial values.
        seed: seed of the initial values and of the order of the ratings.
        options: `memory_limit` and `name`, as in `Baseline`.
    """

    family = "ratings"
    capabilities = frozenset({"new_users", "rating_scale"})
    learnt: tuple[str, ...] = (
        "rating_scale",
        "mean",
        "item_bias",
        "item_factors",
        "user_bias",
        "user_factors",
        "trained",
    )

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        factors: int,
        epochs: int,
        learning_rate: float,
        l2: float,
        l2_bias: float,
        initial_spread: float,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(num_users, num_items, **options)
        for key, count in (("factors", factors), ("epochs", epochs)):
            if count < 1:
                raise ConfigError(f"model.{key} must be 1 or more. Received: {count}")
        for key, value in (("learning_rate", learning_rate), ("initial_spread", initial_spread)):
            if not value > 0:
                raise ConfigError(f"model.{key} must be positive. Received: {value}")
        for key, value in (("l2", l2), ("l2_bias", l2_bias)):
            if value < 0:
                raise ConfigError(f"model.{key} must not be negative. Received: {value}")
        self.factors, self.epochs, self.learning_rate = factors, epochs, float(learning_rate)
        self.l2, self.l2_bias, self.initial_spread, self.seed = float(l2), float(l2_bias), initial_spread, seed

    def begin(self) -> None:
        """Creates the parameters that the model has besides biases and vectors. By default there are none."""

    def epoch(self, entries: Entries, rng: np.random.Generator) -> float:
        """Makes one pass over the ratings; returns the sum of the weighted squared errors, each before its step."""
        raise NotImplementedError

    def finish(self, train: Ratings) -> None:
        """Completes `user_factors`."""

    def start(self, items: np.ndarray) -> np.ndarray:
        """(factors + 1,) vector and bias towards which fold-in shrinks a new user who has rated these items."""
        return np.zeros(self.factors + 1, np.float32)

    def fit(self, train: Ratings) -> None:
        check_varied(train)
        if train.weight is not None:
            train = train.take(train.weight > 0)
        weight = np.ones(len(train), np.float32) if train.weight is None else train.weight
        self.rating_scale, self.trained = np.array(train.scale, np.float32), trained_users(train)
        self.mean = np.float32(np.average(train.value.astype(np.float64), weights=weight))
        rng = np.random.default_rng(self.seed)
        self.user_bias, self.item_bias = (np.zeros(size, np.float32) for size in (self.num_users, self.num_items))
        self.user_factors, self.item_factors = (
            self.initial_spread * rng.standard_normal((size, self.factors), np.float32)
            for size in (self.num_users, self.num_items)
        )
        # Users and items without ratings have zero vectors.
        self.user_factors[~self.trained] = 0
        self.item_factors[np.bincount(train.item, minlength=self.num_items) == 0] = 0
        offsets = np.searchsorted(train.user, np.arange(self.num_users + 1))
        entries = Entries(train.user, train.item, train.value - self.mean, weight, offsets)
        self.begin()
        with ProgressBar(self.name, self.epochs) as bar:
            for epoch in range(self.epochs):
                error = (self.epoch(entries, rng) / weight.sum(dtype=np.float64)) ** 0.5
                if not np.isfinite(error):
                    raise TrainingError(
                        f"The training error is {error} in epoch {epoch + 1} of {self.name}. "
                        f"Lower model.learning_rate (now {self.learning_rate:g})."
                    )
                bar.advance()
                bar.report(f"train_rmse {error:.4f}", final=epoch == self.epochs - 1)
        self.finish(train)

    def encode(self, batch: Batch) -> np.ndarray:
        """(B, factors + 1) vectors of the users, followed by their biases; new users are folded in by their history."""
        users = np.maximum(batch["index"], 0)
        known = (batch["index"] >= 0) & self.trained[users]
        queries = np.column_stack([self.user_factors[users], self.user_bias[users]])
        queries[~known] = 0
        visible = batch["weight"] > 0
        row, item, value, weight = (batch[key][visible] for key in ("row", "column", "value", "weight"))
        target = value - self.mean - self.item_bias[item]
        for position in np.setdiff1d(row, np.flatnonzero(known)):
            own = slice(*np.searchsorted(row, [position, position + 1]))
            prior = self.l2 * (weight[own].sum() + VECTOR_PRIOR), BIAS_PRIOR
            vectors, start = self.item_factors[item[own]], self.start(item[own])
            queries[position] = fold_in(vectors, target[own], weight[own], start, *prior)
        return queries

    def score(self, queries: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        """(B, num_items) or (B, m) predicted ratings, not clipped: clipping would make the best items tie."""
        chosen = slice(None) if items is None else items
        bias = self.item_bias[chosen] + self.mean
        return queries[:, :-1] @ self.item_factors[chosen].T + queries[:, -1:] + bias

    def score_pairs(self, queries: np.ndarray, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        vectors, bias = queries[rows, :-1], queries[rows, -1]
        products = np.einsum("nf,nf->n", vectors, self.item_factors[items])
        return products + bias + self.item_bias[items] + self.mean

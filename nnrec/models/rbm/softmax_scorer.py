"""Scoring by the probabilities of the rating values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.batches.rows import RowBatches
from nnrec.data.ratings import Ratings
from nnrec.models.base.neural import Recommender
from nnrec.models.layers.fold_in import fold_in_softmax
from nnrec.models.rbm.boltzmann import states


class SoftmaxScorer(Recommender):
    """Predicts a rating from hidden units h: the expectation, or the mode, of softmax_k(b_ik + sum_j h_j W_ikj).

    Each subclass sets these attributes.

    Attributes:
        by: "user" (h belongs to users, W to items) or "item" (h belongs to items, W to users).
        num_items: size of the catalogue.
        num_rows, weight_decay: determine the penalty with which unseen users are fitted.
        prediction: "expectation" or "mode".
        level_values: (K,) rating values, ascending.
        visible_weights: (columns, K, units) W.
        visible_bias: (columns, K) b.
        known: (columns,) 1 for columns with training ratings.
        encodings: (num_items, units) hidden units of the items, set by `prepare` (by="item" only).
        average: (K, units + 1) weights and biases of the average user, set by `prepare` (by="item" only).
    """

    by: str
    num_items: int
    num_rows: int
    weight_decay: float
    prediction: str
    level_values: keras.Variable
    visible_weights: keras.Variable
    visible_bias: keras.Variable
    known: keras.Variable
    encodings: keras.Variable
    average: keras.Variable

    def hidden_of(self, batch: Batch) -> Any:
        """(B, units) float32: probabilities of the hidden units as multiplied with the visible weights."""
        raise NotImplementedError

    def rating_of(self, logits: Any, axis: int = -1) -> Any:
        """Returns predicted ratings from logits of the K values along `axis`."""
        if self.prediction == "mode":
            return ops.take(self.level_values, ops.argmax(logits, axis=axis))
        return self.expectation(logits, axis)

    def expectation(self, logits: Any, axis: int = -1) -> Any:
        shape = [1] * len(logits.shape)
        shape[axis] = -1
        return ops.sum(ops.softmax(logits, axis=axis) * ops.reshape(self.level_values, shape), axis=axis)

    def prepare(self, history: Ratings) -> None:
        """Infers the hidden units of all items from the ratings in `history` (by="item" only)."""
        if self.by != "item":
            return
        batches = RowBatches(history.rows("item"), 256)
        encodings = [ops.convert_to_numpy(self.hidden_of(batch)) for batch in batches.epoch()]
        self.encodings.assign(np.concatenate(encodings)[: self.num_items])
        share = self.known / ops.maximum(ops.sum(self.known), 1.0)
        self.average.assign(ops.sum(share[:, None, None] * self._units(slice(None)), axis=0))

    def _units(self, columns: Any) -> Any:
        """(m, K, units + 1) weights and biases of these visible units."""
        weights, bias = ops.convert_to_tensor(self.visible_weights), ops.convert_to_tensor(self.visible_bias)
        if not isinstance(columns, slice):
            weights, bias = ops.take(weights, columns, axis=0), ops.take(bias, columns, axis=0)
        return ops.concatenate([weights, bias[:, :, None]], axis=2)

    def encode(self, batch: Batch) -> Any:
        """(B, units) hidden units of users, or (B, K, units + 1) weights and biases of their visible units."""
        if self.by == "user":
            return self.hidden_of(batch)
        users = np.asarray(batch["index"])
        trained = (users >= 0) & (np.asarray(ops.convert_to_numpy(self.known))[users] > 0)
        average = ops.convert_to_numpy(self.average)
        queries = np.tile(average, (len(users), 1, 1))
        queries[trained] = ops.convert_to_numpy(self._units(users[trained]))
        rated = np.bincount(batch["row"], weights=batch["weight"], minlength=len(users)) > 0
        unseen = np.flatnonzero(rated & ~trained)
        if len(unseen):
            vectors = ops.convert_to_numpy(self.encodings)
            level = np.asarray(ops.convert_to_numpy(states(batch["value"], self.level_values)))
        for position in unseen:
            entries = np.flatnonzero((batch["row"] == position) & (batch["weight"] > 0))
            observed = vectors[batch["column"][entries]], level[entries], batch["weight"][entries]
            queries[position] = fold_in_softmax(*observed, average, l2=self.num_rows * self.weight_decay)
        return ops.convert_to_tensor(queries)

    def export_scores(self, batch: Any) -> Any:
        """Scores in an exported graph; with by="item" only for users known from training, as others must be fitted."""
        if self.by == "user":
            return super().export_scores(batch)
        return self.score(self._units(ops.maximum(batch["index"], 0)))

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """(B, num_items) or (B, m) predicted ratings."""
        items = np.arange(self.num_items) if items is None else np.asarray(items)
        rows = queries.shape[0] or ROWS  # in an exported graph the number is unknown
        size = max(BLOCK // (rows * self.level_values.shape[0]), 1)
        blocks = [self._score(queries, items[start : start + size]) for start in range(0, len(items), size)]
        return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)

    def _score(self, queries: Any, items: np.ndarray) -> Any:
        if self.by == "user":
            table = ops.take(self.visible_weights, items, axis=0)
            size, values, units = table.shape
            logits = ops.matmul(queries, ops.transpose(ops.reshape(table, (-1, units))))
            logits = ops.reshape(logits, (-1, size, values)) + ops.take(self.visible_bias, items, axis=0)
            return self.rating_of(logits, 2)
        _, values, units = queries.shape
        encodings = ops.transpose(ops.take(self.encodings, items, axis=0))
        logits = ops.matmul(ops.reshape(queries[:, :, :-1], (-1, units - 1)), encodings)
        return self.rating_of(ops.reshape(logits, (-1, values, len(items))) + queries[:, :, -1:], 1)

    def score_pairs(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self._of_pairs(self.rating_of, (), queries, rows, items)

    def probabilities(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Probabilities of the rating values for single (query, item) pairs.

        Args:
            queries: from `encode`.
            rows: (m,) positions in `queries`.
            items: (m,) item indices.

        Returns:
            (m, K) float32; the K values are `level_values`, ascending.
        """
        return self._of_pairs(ops.softmax, self.level_values.shape, queries, rows, items)

    def _of_pairs(
        self, function: Callable[[Any], Any], shape: tuple[int, ...], queries: Any, rows: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """(m, *shape) float32: applies a function to the (block, K) logits of single pairs, one block at a time."""
        size = max(BLOCK // int(np.prod(self.visible_weights.shape[1:])), 1)
        found = [np.empty((0, *shape), np.float32)]
        for start in range(0, len(items), size):
            some = items[start : start + size]
            query = ops.take(queries, rows[start : start + size], axis=0)
            if self.by == "user":
                products = ops.take(self.visible_weights, some, axis=0) * query[:, None, :]
                logits = ops.sum(products, axis=2) + ops.take(self.visible_bias, some, axis=0)
            else:
                products = query[:, :, :-1] * ops.take(self.encodings, some, axis=0)[:, None, :]
                logits = ops.sum(products, axis=2) + query[:, :, -1]
            found.append(ops.convert_to_numpy(function(logits)))
        return np.concatenate(found)


# Size of the largest intermediate tensor when scoring.
BLOCK = 2**26
# Number of users assumed when the block size of an exported graph is chosen.
ROWS = 64

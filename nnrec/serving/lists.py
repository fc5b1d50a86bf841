"""Graphs that compute top-N lists from histories or from the events of sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from scipy import sparse

from nnrec.core.calling import typed
from nnrec.core.errors import ConfigError
from nnrec.models.base.baseline import Baseline
from nnrec.models.base.neural import Recommender
from nnrec.recommend.lists import lists
from nnrec.runs.trained import TrainedRun
from nnrec.serving.graph import Graph, Ids, Port, Tensors, best, excluding, kept

# From this many items on, rows are gathered and summed instead of multiplying with a (B, num_items) input matrix.
GATHER_FROM = 50_000


class Lists:
    """The top-N lists of one run, as graphs.

    Inputs are those of `predict.py`: for each user a history of items with values (of repeated items the last value
    counts), or for each session its events in order. Unknown items are ignored. Users or sessions without any input
    that the model can use get the popular items.

    Args:
        run: the finished run.
        n: length of the lists.

    Raises:
        ConfigError: the model cannot be exported as a graph.
    """

    def __init__(self, run: TrainedRun, n: int) -> None:
        if isinstance(run.model, Baseline):
            self.linear = Linear(run.model)
        elif isinstance(run.model, Recommender):
            run.model.row_sparse |= len(run.items) >= GATHER_FROM
            run.model.keep_for_graph(kept)
        top = lists(run, n, False, None)
        self.n, self.num_users, self.num_items, self.model = top.n, len(run.users), len(run.items), run.model
        self.sessions, self.by_user = run.family.ordered, run.model.export_input == "user"
        self.item_ids, self.user_ids = Ids(run.items.ids), Ids(run.users.ids) if self.by_user else None
        self.excluded = excluding(top.excluded)
        popular = top.popular()
        room = (0, self.n - len(popular))
        self.popular = kept(np.pad(popular, room, constant_values=-1).astype(np.int64))
        self.counts = kept(np.pad(run.item_counts[popular], room).astype(np.float32))
        self.scale = None
        if "rating_scale" in run.model.capabilities:
            self.scale = tuple(float(bound) for bound in np.asarray(run.model.rating_scale))

    def by_index(self, exclude_seen: bool | None) -> Graph:
        """The graph from item indices to item indices.

        Args:
            exclude_seen: whether lists leave out the items of the history; None = an input decides.
        """
        inputs = {"items": Port(tf.int64, (None, None), f"item indices {self._what}; -1 fills up")}
        inputs |= self._more_inputs
        if self.by_user:
            about = "index of the user in the run; -1 = somebody else"
            inputs["user"] = Port(tf.int64, (None,), about)
        if exclude_seen is None:
            inputs["exclude_seen"] = Port(tf.bool, (1,), "whether to leave out the items given")
        outputs = {"top_items": Port(tf.int64, (None, self.n), "item indices, best first; -1 = no item is left")}

        def compute(**given: Any) -> Tensors:
            exclude = given.pop("exclude_seen")[0] if exclude_seen is None else exclude_seen
            return self._ranked(exclude=exclude, **given)

        about = f"Lists from indices{_told(exclude_seen)}."
        return Graph(inputs, outputs | self._more_outputs, compute, about, exclude_seen=exclude_seen)

    def by_id(self, exclude_seen: bool) -> Graph:
        """The graph from raw ids to raw ids, as text."""
        inputs = {"item_ids": Port(tf.string, (None, None), f"raw item ids {self._what}; '' fills up")}
        inputs |= self._more_inputs
        if self.by_user:
            inputs["user_id"] = Port(tf.string, (None,), "raw id of the user; '' = somebody new")
        outputs = {"top_item_ids": Port(tf.string, (None, self.n), "raw item ids, best first; '' = no item is left")}

        def compute(item_ids: Any, user_id: Any = None, **given: Any) -> Tensors:
            if self.user_ids is not None:
                given["user"] = self.user_ids.indices(user_id)
            found = self._ranked(self.item_ids.indices(item_ids), exclude=exclude_seen, **given)
            return {"top_item_ids": self.item_ids.of(found.pop("top_items")), **found}

        tables = (self.item_ids,) if self.user_ids is None else (self.item_ids, self.user_ids)
        about = f"Lists from raw ids{_told(exclude_seen)}."
        return Graph(inputs, outputs | self._more_outputs, compute, about, tables, exclude_seen=exclude_seen)

    @property
    def _what(self) -> str:
        return "of each session's events in order" if self.sessions else "of each user's history"

    @property
    def _more_inputs(self) -> dict[str, Port]:
        if self.sessions:
            return {}
        about = "the ratings" if self.scale else "ratings, or 1 for what was liked"
        if self.model.min_value is not None:
            about += f"; those below {self.model.min_value:g} say nothing"
        return {"values": Port(tf.float32, (None, None), about)}

    @property
    def _more_outputs(self) -> dict[str, Port]:
        return {
            "scores": Port(tf.float32, (None, self.n), "of each item; 0 where no item is left"),
            "popular": Port(tf.bool, (None,), "true: nothing to go by; the popular items, their counts as scores"),
        }

    def _ranked(self, items: Any, exclude: Any, values: Any = None, user: Any = None) -> Tensors:
        items = tf.cast(tf.where(items < self.num_items, items, -1), tf.int32)
        if self.sessions:
            scores, known = self.model.export_scores(items), items >= 0
        else:
            items, values = distinct(items, values)
            scores, known = self._scores(items, values, user), items >= 0
            if self.model.min_value is not None:
                known &= values >= self.model.min_value
        empty = ~tf.reduce_any(known, axis=1)
        if not self.model.serves_unseen_users:
            empty |= (user < 0) | (user >= self.num_users)
        found, values = best(tf.cast(scores, tf.float32), self.n, items, exclude, self.excluded)
        if self.scale is not None:
            values = tf.where(found < 0, 0.0, tf.clip_by_value(values, *self.scale))
        return {
            "top_items": tf.where(empty[:, None], self.popular, found),
            "scores": tf.where(empty[:, None], self.counts, values),
            "popular": empty,
        }

    def _scores(self, items: Any, values: Any, user: Any) -> Any:
        size, length = tf.shape(items)[0], tf.shape(items)[1]
        row = tf.broadcast_to(tf.range(size)[:, None], (size, length))
        arrays = {"row": row, "column": tf.maximum(items, 0), "value": tf.where(items >= 0, values, 0.0)}
        arrays["weight"] = tf.cast(items >= 0, tf.float32)
        batch = {name: tf.reshape(array, [-1]) for name, array in arrays.items()}
        if isinstance(self.model, Baseline):
            return self.linear(batch, size)
        index = tf.fill([size], -1) if user is None else tf.cast(tf.where(user < self.num_users, user, -1), tf.int32)
        return self.model.export_scores(batch | {"index": index, "key": tf.zeros([size], tf.uint32)})


class Linear:
    """Scores as the product of the history with a matrix.

    Args:
        model: a baseline.

    Raises:
        ConfigError: its scores are not such a product.
    """

    def __init__(self, model: Baseline) -> None:
        matrix = model.linear()
        if matrix is None:
            raise ConfigError(
                f"{model.name} cannot be exported: its scores are no product of the history with a matrix, but the "
                f"outcome of a program. {typed('predict')} writes its lists: output=recommendations.parquet."
            )
        self.num_items, self.least = model.num_items, model.min_value
        self.targets = None
        if isinstance(matrix, sparse.csr_array):
            targets, matrix = padded_rows(matrix)
            self.targets = kept(targets)
        self.weights = kept(matrix)

    def __call__(self, batch: Tensors, size: Any) -> Any:
        """(B, num_items) scores of a batch of B histories."""
        row, column, liked = batch["row"], batch["column"], batch["weight"]
        if self.least is not None:
            liked *= tf.cast(batch["value"] >= self.least, tf.float32)
        shape = tf.stack([size, self.num_items])
        if self.weights.shape.rank == 1:
            return tf.broadcast_to(self.weights, shape)
        if self.targets is None:
            history = tf.scatter_nd(tf.stack([row, column], axis=1), liked, shape)
            return tf.matmul(history, self.weights)
        targets = tf.gather(self.targets, column)
        votes = tf.gather(self.weights, column) * liked[:, None]
        places = tf.stack([tf.broadcast_to(row[:, None], tf.shape(targets)), targets], axis=2)
        return tf.scatter_nd(tf.reshape(places, [-1, 2]), tf.reshape(votes, [-1]), shape)


def padded_rows(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """A sparse matrix as (N, m) int32 columns and (N, m) float32 values, padded with column 0 and value 0."""
    lengths = np.diff(matrix.indptr)
    filled = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
    columns, values = np.zeros(filled.shape, np.int32), np.zeros(filled.shape, np.float32)
    columns[filled], values[filled] = matrix.indices, matrix.data
    return columns, values


def distinct(items: Any, values: Any) -> tuple[Any, Any]:
    """Histories without repeated items.

    Returns:
        (B, L + 1) items in ascending order, with -1 instead of all but the last occurrence of each item, and the
        (B, L + 1) values.
    """
    items, values = tf.pad(items, [[0, 0], [0, 1]], constant_values=-1), tf.pad(values, [[0, 0], [0, 1]])
    order = tf.argsort(items, axis=1, stable=True)
    items, values = (tf.gather(array, order, batch_dims=1) for array in (items, values))
    following = tf.pad(items[:, 1:], [[0, 0], [0, 1]], constant_values=-1)
    return tf.where(items == following, -1, items), values


def _told(exclude_seen: bool | None) -> str:
    return {None: "", True: ", without the items given", False: ", the items given among them"}[exclude_seen]

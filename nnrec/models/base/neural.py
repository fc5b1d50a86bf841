"""Neural recommenders: Keras models that score items for histories."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch, TrainingBatches, rows_per_batch
from nnrec.batches.rows import RowBatches
from nnrec.core.errors import RunError, TrainingError
from nnrec.data.ratings import Ratings
from nnrec.data.rows import Rows
from nnrec.models.base.row_tables import RowList
from nnrec.models.base.scorer import Scorer
from nnrec.models.base.session_scorer import SessionScorer
from nnrec.splits.split import HeldOut


class Recommender(Scorer, keras.Model):
    """A Keras model that scores items for histories.

    A subclass declares its family and capabilities, creates its weights in its constructor, adds its
    loss in `call`, and implements `encode` and `score`. A model is used like this:

        model = AutoRec(num_users, num_items, hidden_units=[500])
        model.adapt(train)                        # once: sets what is read from the data and not learnt
        model.compile(...); model.fit(...)        # on model.training_batches(train, batch_size, seed)
        model.prepare(history)                    # before scoring: the ratings that the model may use
        scores = model.score(model.encode(batch)) # batch: rows of history.rows("user")

    Attributes:
        rows_are: whether a training example is a "user" or an "item".
        row_sparse: whether a training step updates only those rows of `row_tables` that occur in the batch.
        fuses_step: whether such a step is compiled by XLA on TensorFlow; on a CPU that is slower for models whose steps
            contain large matrix products or convolutions.
        row_tables, row_lists: see `nnrec.training.step`.
    """

    rows_are: Literal["user", "item"] = "user"
    reads_files = True
    row_sparse = False
    fuses_step = True
    row_tables: tuple[keras.Variable, ...] = ()
    row_lists: tuple[RowList, ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.make_step: Callable[..., Any] | None = None  # set by `nnrec.training.loop.compile_model`
        self._of_step = threading.local()  # each device runs its steps in its own thread

    def adapt(self, train: Any) -> None:
        """Sets what is read from the training data and not learnt: means, the rating scale, which ids occur."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Is called at the start of each epoch, counted from 0, to update what depends on the epoch."""

    def rate_factor(self, variable: keras.Variable) -> float:
        """Returns the factor by which the learning rate of this variable is multiplied."""
        return 1.0

    def diagnostics(self, train: Ratings, validation: HeldOut | None) -> dict[str, float]:
        """Returns figures to report after each epoch, beside the loss.

        Args:
            train: the training ratings.
            validation: the validation ratings; None in the refit.
        """
        return {}

    def training_rows(self, train: Ratings) -> Rows:
        """Returns the matrix whose rows are the training examples."""
        return train.rows(self.rows_are)

    def training_batches(self, train: Any, batch_size: int | Literal["auto"], seed: int) -> TrainingBatches:
        """Returns the training batches: all training rows that are not empty.

        Args:
            train: the training part.
            batch_size: examples per batch, or "auto".
            seed: seed of their order and of all random draws.
        """
        rows = self.training_rows(train)
        which = np.flatnonzero(rows.lengths)
        ids = (train.items if self.rows_are == "item" else train.users).ids
        return self.batches(rows, rows_per_batch(batch_size, len(which)), which=which, seed=seed, ids=ids)

    def batches(self, rows: Rows, batch_size: int, **options: Any) -> RowBatches:
        """Returns batches of rows; `options` are passed to `RowBatches`."""
        return RowBatches(rows, batch_size, unique_ids=self.row_sparse, **options)

    def learnt_weights(self) -> list[keras.Variable]:
        """Returns the weights that are saved in a run folder."""
        return self.weights

    def state(self) -> dict[str, np.ndarray]:
        return {str(number): ops.convert_to_numpy(weight) for number, weight in enumerate(self.learnt_weights())}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        shapes = [tuple(weight.shape) for weight in self.learnt_weights()]
        found = [arrays[name].shape for name in sorted(arrays, key=int)]
        if shapes != found:
            raise RunError(f"weights.npz does not fit {self.name}. Expected shapes {shapes}. Received: {found}")
        for number, weight in enumerate(self.learnt_weights()):
            weight.assign(arrays.pop(str(number)))  # frees memory: large weights are not held twice

    def export_scores(self, batch: Any) -> Any:
        return self.score(self.encode(batch))

    def keep_for_graph(self, keep: Callable[[Any], Any]) -> None:
        """Precomputes what is the same in all calls of `export_scores`. By default there is nothing.

        Args:
            keep: function that turns a tensor into a variable of the graph.
        """

    def lists_of_rows(self) -> tuple[RowList, ...]:
        """Returns, for each of `row_tables`, the names of the batch's arrays that list the rows it uses."""
        return self.row_lists or (RowList(),) * len(self.row_tables)

    def rows_of(self, table: keras.Variable, batch: Batch) -> Any:
        """Returns a table as the batch indexes it: the whole table, or only the rows that the batch uses."""
        if "unique_ids" not in batch:
            return ops.convert_to_tensor(table)
        gathered = getattr(self._of_step, "gathered", None)
        if gathered is not None:
            return gathered[id(table)]
        names = zip(self.row_tables, self.lists_of_rows(), strict=True)
        return ops.take(table, batch[next(names.rows for other, names in names if other is table)], axis=0)

    @contextmanager
    def in_step(self, rows: Sequence[Any]) -> Iterator[list[Any]]:
        """Makes `rows_of` return these tensors, so that a step can differentiate with respect to them.

        Args:
            rows: one tensor for each of `row_tables`.

        Yields:
            A list that collects the losses that the model adds.
        """
        self._of_step.gathered = {id(table): row for table, row in zip(self.row_tables, rows, strict=True)}
        self._of_step.losses = []
        try:
            yield self._of_step.losses
        finally:
            self._of_step.gathered = self._of_step.losses = None

    def add_loss(self, loss: Any) -> None:
        """Adds a loss to the current step (see `in_step`), or to the model outside of a step."""
        losses = getattr(self._of_step, "losses", None)
        super().add_loss(loss) if losses is None else losses.append(loss)

    def train_step(self, *arguments):
        """Runs `make_step`, which `compile_model` sets.

        Raises:
            TrainingError: the model was compiled in another way.
        """
        if self.make_step is None:
            raise TrainingError(f"{self.name} has no training step: compile it with nnrec.training.loop.compile_model.")
        return self.make_step(self, *arguments)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: Keras would run a batch to build the model, but the constructor has built it."""


class SessionRecommender(SessionScorer, Recommender):
    """A Keras model that scores items as the next event of a session.

    A subclass implements `training_batches` of sessions, `encode`, `score` and, if one more event is cheaper to process
    than the whole session again, `advance`.
    """

    def adapt(self, train: Any) -> None:
        """Sets what is read from the training data and not learnt. By default there is nothing."""


def last_events(items: Any, count: int) -> Any:
    """Returns the last events of sessions in a graph of tensors.

    Args:
        items: (B, T) item indices, -1 for no event, which may be anywhere.
        count: number of events to return.

    Returns:
        (B, count) the last `count` events in order; if there are fewer, -1 before the first.
    """
    items = ops.pad(items, [(0, 0), (count, 0)], constant_values=-1)
    place = ops.broadcast_to(ops.arange(ops.shape(items)[1], dtype="int32")[None, :], ops.shape(items))
    # Positions without an event are moved to the front; the events keep their order.
    latest, _ = ops.top_k(ops.where(items >= 0, place + count, place - ops.shape(items)[1]), count)
    width = ops.shape(items)[1]
    latest = ops.flip(latest, axis=1)
    latest = ops.where(latest >= 0, latest - count, latest + width)
    return ops.take_along_axis(items, latest, axis=1)

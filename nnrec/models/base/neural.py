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
from nnrec.core.errors import RunError
from nnrec.data.ratings import Ratings
from nnrec.data.rows import Rows
from nnrec.models.base.row_tables import RowList
from nnrec.models.base.scorer import Scorer
from nnrec.models.base.session_scorer import SessionScorer
from nnrec.splits.split import HeldOut


class Recommender(Scorer, keras.Model):
    """A Keras model that scores items for histories.

    A subclass states its family and capabilities, builds its weights in its constructor, adds its
    loss in `call`, and offers `encode` and `score`. The life of a model:

        model = AutoRec(num_users, num_items, hidden_units=[500])
        model.adapt(train)                        # once: what is read off the data, not learnt
        model.compile(...); model.fit(...)        # on model.training_batches(train, batch_size, seed)
        model.prepare(history)                    # before scoring: what the model may see
        scores = model.score(model.encode(batch)) # batch: rows of history.rows("user")

    Attributes:
        rows_are: what its training examples are.
        row_sparse: whether its steps change those rows of `row_tables` alone that a batch touches.
        fuses_step: whether XLA compiles such a step on TensorFlow; on a CPU it is slower where a step multiplies large
            matrices or convolves.
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
        self.make_step: Callable[..., Any]  # given by `nnrec.training.loop.compile_model`
        self._of_step = threading.local()  # devices run their steps in threads of their own

    def adapt(self, train: Any) -> None:
        """Reads off the training data what is not learnt: means, the scale, which ids occur."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Takes notice that this epoch (0 is the first) of a training begins, for what changes with it."""

    def rate_factor(self, variable: keras.Variable) -> float:
        """What the learning rate of this variable is multiplied by."""
        return 1.0

    def diagnostics(self, train: Ratings, validation: HeldOut | None) -> dict[str, float]:
        """Figures to show after each epoch, beside the loss.

        Args:
            train: what the model is trained on.
            validation: what it is watched on; None in the refit.
        """
        return {}

    def training_rows(self, train: Ratings) -> Rows:
        """The matrix whose rows are the training examples."""
        return train.rows(self.rows_are)

    def training_batches(self, train: Any, batch_size: int | Literal["auto"], seed: int) -> TrainingBatches:
        """What it is trained on: its training rows that hold anything.

        Args:
            train: the training part.
            batch_size: examples per batch, or "auto".
            seed: of their order and of all draws.
        """
        rows = self.training_rows(train)
        which = np.flatnonzero(rows.lengths)
        ids = (train.items if self.rows_are == "item" else train.users).ids
        return self.batches(rows, rows_per_batch(batch_size, len(which)), which=which, seed=seed, ids=ids)

    def batches(self, rows: Rows, batch_size: int, **options: Any) -> RowBatches:
        """The batches that it learns from; `options` go to `RowBatches`."""
        return RowBatches(rows, batch_size, unique_ids=self.row_sparse, **options)

    def learnt_weights(self) -> list[keras.Variable]:
        """The weights that a run folder keeps."""
        return self.weights

    def state(self) -> dict[str, np.ndarray]:
        return {str(number): ops.convert_to_numpy(weight) for number, weight in enumerate(self.learnt_weights())}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        shapes = [tuple(weight.shape) for weight in self.learnt_weights()]
        found = [arrays[name].shape for name in sorted(arrays, key=int)]
        if shapes != found:
            raise RunError(f"weights.npz does not fit {self.name}. Expected shapes {shapes}. Received: {found}")
        for number, weight in enumerate(self.learnt_weights()):
            weight.assign(arrays.pop(str(number)))  # so that large weights are not in memory twice for long

    def export_scores(self, batch: Any) -> Any:
        return self.score(self.encode(batch))

    def keep_for_graph(self, keep: Callable[[Any], Any]) -> None:
        """Computes what is the same in all calls of `export_scores`. By default there is nothing.

        Args:
            keep: makes a variable of a tensor.
        """

    def lists_of_rows(self) -> tuple[RowList, ...]:
        """Which arrays of a batch say what it touches of each of `row_tables`."""
        return self.row_lists or (RowList(),) * len(self.row_tables)

    def rows_of(self, table: keras.Variable, batch: Batch) -> Any:
        """A table as the batch addresses it: whole, or the touched rows only."""
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

        Yields:
            A list, to which go the losses that the model adds.
        """
        self._of_step.gathered = {id(table): row for table, row in zip(self.row_tables, rows, strict=True)}
        self._of_step.losses = []
        try:
            yield self._of_step.losses
        finally:
            self._of_step.gathered = self._of_step.losses = None

    def add_loss(self, loss: Any) -> None:
        """Adds to the losses of the step that is being made, or else of the model."""
        losses = getattr(self._of_step, "losses", None)
        super().add_loss(loss) if losses is None else losses.append(loss)

    def train_step(self, *arguments):
        """One call of `make_step`."""
        return self.make_step(self, *arguments)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keras would run a batch to build the model, which is built."""


class SessionRecommender(SessionScorer, Recommender):
    """A Keras model that scores items as the next event of a session.

    A subclass offers `training_batches` of sessions, `encode`, `score` and, where a step is cheaper than the whole
    session anew, `advance`.
    """

    def adapt(self, train: Any) -> None:
        """Reads off the training data what is not learnt. By default there is nothing."""


def last_events(items: Any, count: int) -> Any:
    """(B, count) the last events of (B, T) items, which are -1 where there is none; in order, -1 before the first."""
    items = ops.pad(items, [(0, 0), (count, 0)], constant_values=-1)
    place = ops.broadcast_to(ops.arange(ops.shape(items)[1], dtype="int32")[None, :], ops.shape(items))
    # What is no event goes to the front; the others keep their order.
    latest, _ = ops.top_k(ops.where(items >= 0, place + count, place - ops.shape(items)[1]), count)
    width = ops.shape(items)[1]
    latest = ops.flip(latest, axis=1)
    latest = ops.where(latest >= 0, latest - count, latest + width)
    return ops.take_along_axis(items, latest, axis=1)

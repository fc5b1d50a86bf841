"""Neural recommenders: Keras models that score items for histories."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from nnrec import rowsparse
from nnrec.batches import Batch, RowBatches
from nnrec.data.ratings import Ratings, Rows
from nnrec.data.splits import HeldOut
from nnrec.errors import RunError
from nnrec.models.scorer import Scorer


class Recommender(Scorer, keras.Model):
    """A Keras model that scores items for histories.

    A subclass states its family and capabilities, builds its weights in its constructor, adds its
    loss in `call`, and offers `encode` and `score`. The life of a model:

        model = AutoRec(num_users, num_items, hidden_units=[500])
        model.adapt(train)                        # once: what is read off the data, not learnt
        model.compile(...); model.fit(...)        # on batches of model.training_rows(train)
        model.prepare(history)                    # before scoring: what the model may see
        scores = model.score(model.encode(batch)) # batch: rows of history.rows("user")
    """

    rows_are: Literal["user", "item"] = "user"
    row_sparse = False
    row_tables: tuple[keras.Variable, ...] = ()
    _gathered: dict[int, Any] | None = None

    def adapt(self, train: Ratings) -> None:
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

    def batches(self, rows: Rows, batch_size: int, **options: Any) -> RowBatches:
        """The batches that it learns from; `options` go to `RowBatches`."""
        return RowBatches(rows, batch_size, touched=self.row_sparse, **options)

    def state(self) -> dict[str, np.ndarray]:
        return {str(number): ops.convert_to_numpy(weight) for number, weight in enumerate(self.weights)}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        shapes = [tuple(weight.shape) for weight in self.weights]
        found = [arrays[name].shape for name in sorted(arrays, key=int)]
        if shapes != found:
            raise RunError(f"weights.npz does not fit {self.name}. Expected shapes {shapes}. Received: {found}")
        for number, weight in enumerate(self.weights):
            weight.assign(arrays.pop(str(number)))  # so that large weights are not in memory twice for long

    def rows_of(self, table: keras.Variable, batch: Batch) -> Any:
        """A table as the batch's `column` addresses it: whole, or the touched rows only."""
        if "touched" not in batch:
            return ops.convert_to_tensor(table)
        if self._gathered is not None:
            return self._gathered[id(table)]
        return ops.take(table, batch["touched"], axis=0)

    @contextmanager
    def gathered(self, rows):
        """Makes `rows_of` return these tensors, so that a step can differentiate with respect to them."""
        self._gathered = {id(table): row for table, row in zip(self.row_tables, rows, strict=True)}
        try:
            yield
        finally:
            self._gathered = None

    def train_step(self, *arguments):
        """Keras's step, or the row-sparse one where the model's tables are large."""
        if not self.row_sparse:
            return super().train_step(*arguments)
        batch = arguments[-1]
        batch = batch[0] if isinstance(batch, (tuple, list)) else batch
        if keras.backend.backend() == "jax":
            return rowsparse.jax_step(self, arguments[0], batch)
        return rowsparse.tensorflow_step(self, batch)

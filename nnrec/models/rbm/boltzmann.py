"""Restricted Boltzmann machines of a batch of sparse rows: energies, conditionals, Gibbs sampling, initial biases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from nnrec.batches.protocol import Batch
from nnrec.core.keyed_random import uniform
from nnrec.data.rows import Rows

# Weight, in ratings, of the overall distribution of values in the initial bias of a visible unit.
PRIOR = 5.0


@dataclass(frozen=True)
class Machines:
    """One machine for each row of a batch, all with the same weights; a row's visible units are its entries.

    Notation: B rows, E entries, C columns (those that the batch's `column` indexes), K values, H hidden units, and
    U = H, or the rank if the weights are factored.

    Attributes:
        batch: the rows.
        width: number of columns of the whole matrix.
        visible: (C, K, U) weights W, or their factor A.
        bias: (C, K) visible biases b.
        hidden_bias: (H,) hidden biases a.
        mixing: (U, H) the other factor B, or None.
        rated: (C, H) weights D of the conditional RBM, or None.
        dense: whether sums over entries are matrix products with dense rows; else rows of the tables are gathered.
        weighted: whether entries have weights other than 1.
        dtype: data type of the matrix products.
    """

    batch: Batch
    width: int
    visible: Any
    bias: Any
    hidden_bias: Any
    mixing: Any = None
    rated: Any = None
    dense: bool = True
    weighted: bool = False
    dtype: str = "float32"

    def frozen(self) -> Machines:
        """Returns the same machines with weights that are not differentiated."""
        names = ("visible", "bias", "hidden_bias", "mixing", "rated")
        tables = {name: getattr(self, name) for name in names}
        return replace(self, **{name: ops.stop_gradient(t) for name, t in tables.items() if t is not None})

    def free_energy(self, level: Any, signal: Any = None) -> Any:
        """(B,) float32 free energy of each row: - sum_i b_i,v_i - sum_j log(1 + exp(signal_j)).

        Args:
            level: (E,) int32, the states of the visible units.
            signal: the result of `signal(level)`, if it is already computed.
        """
        signal = self.signal(level) if signal is None else signal
        bias = ops.take(ops.reshape(self.bias, [-1]), self._place(level))
        visible = self._counted(lambda weight: self._per_row(weight * bias))
        return -visible - ops.sum(ops.softplus(signal), axis=1)

    def signal(self, level: Any) -> Any:
        """(B, H) float32 total inputs of the hidden units."""
        _, values, units = self.visible.shape
        table, place = ops.reshape(self.visible, (-1, units)), self._place(level)

        def summed(weight: Any) -> Any:
            total = self._sum(weight, place, table, self.width * values)
            return total if self.mixing is None else ops.matmul(total, ops.cast(self.mixing, self.dtype))

        signal = ops.cast(self._counted(summed), "float32")
        if self.rated is not None:
            column = self.batch["column"]
            rated = self._counted(lambda weight: self._sum(weight, column, self.rated, self.width))
            signal = signal + ops.cast(rated, "float32")
        if not self.weighted:
            return signal + self.hidden_bias
        counts = self._per_row(present(self.batch))
        mean = (self._per_row(self.batch["weight"]) / ops.maximum(counts, 1.0))[:, None]
        return signal + mean * self.hidden_bias + ops.stop_gradient((1.0 - mean) * self.hidden_bias)

    def projected(self, hidden: Any) -> Any:
        """(B, U) hidden units as multiplied with the visible weights, in `dtype`: h, or B h if they are factored."""
        hidden = ops.cast(hidden, self.dtype)
        if self.mixing is not None:
            hidden = ops.matmul(hidden, ops.transpose(ops.cast(self.mixing, self.dtype)))
        return hidden

    def logits(self, hidden: Any) -> Any:
        """(E, K) float32 logits of p(v_i = k | h) of each entry, from (B, H) hidden units."""
        hidden, row, column = self.projected(hidden), self.batch["row"], self.batch["column"]
        _, values, units = self.visible.shape
        if self.dense:
            table = ops.cast(ops.reshape(self.visible, (-1, units)), self.dtype)
            everything = ops.reshape(ops.matmul(hidden, ops.transpose(table)), (-1, values))
            logits = ops.take(everything, row * self.width + column, axis=0)
        else:
            hidden = ops.take(ops.cast(hidden, "float32"), row, axis=0)
            logits = ops.sum(ops.take(self.visible, column, axis=0) * hidden[:, None, :], axis=2)
        return ops.cast(logits, "float32") + ops.take(self.bias, column, axis=0)

    def sample(self, signal: Any, length: Any) -> tuple[Any, Any]:
        """Runs Gibbs sampling, without gradients.

        Each random draw is keyed by the row's key, which depends on seed and epoch, the step and the unit.

        Args:
            signal: (B, H) total input of the hidden units, given the data.
            length: integer scalar, at least 1: the number of Gibbs steps.

        Returns:
            logits: (E, K) logits of the visible units in the first step.
            level: (E,) int32, their states after the last step.
        """
        machines, batch = self.frozen(), self.batch
        num_hidden = self.hidden_bias.shape[0]
        hidden_unit = np.arange(num_hidden)[None, :] + self.width
        visible_unit = ops.take(batch["unique_ids"], batch["column"]) if "unique_ids" in batch else batch["column"]
        row_key, stride = ops.take(batch["key"], batch["row"]), self.width + num_hidden

        def step(number: Any, signal: Any) -> tuple[Any, Any]:
            drawn = uniform(batch["key"][:, None], number * stride + hidden_unit) < ops.sigmoid(signal)
            logits = machines.logits(ops.cast(drawn, "float32"))
            below = ops.cumsum(ops.softmax(logits, axis=1), axis=1)[:, :-1]
            draw = uniform(row_key, number * stride + visible_unit)
            return logits, ops.sum(ops.cast(draw[:, None] >= below, "int32"), axis=1)

        def another(number: Any, level: Any) -> tuple[Any, Any]:
            return number + 1, step(number, machines.signal(level))[1]

        logits, level = step(np.int32(0), ops.stop_gradient(signal))
        start = (ops.ones((), "int32"), level)
        _, level = ops.while_loop(lambda number, level: number < length, another, start)
        return logits, ops.stop_gradient(level)

    def _sum(self, weight: Any, place: Any, table: Any, width: int) -> Any:
        """(B, d) weighted sum, over the entries of each row, of the table's rows at `place`."""
        if not self.dense:
            return ops.cast(self._per_row(weight[:, None] * ops.take(table, place, axis=0)), self.dtype)
        size = ops.shape(self.batch["index"])[0]
        rows = ops.scatter((self.batch["row"] * width + place)[:, None], weight, (size * width,))
        rows = ops.cast(ops.reshape(rows, (size, width)), self.dtype)
        return ops.matmul(rows, ops.cast(table, self.dtype))

    def _counted(self, linear: Callable[[Any], Any]) -> Any:
        """Evaluates a linear function of the entries' weights: its value with weights 1, its gradient with them."""
        ones = present(self.batch)
        if not self.weighted:
            return linear(ones)
        return linear(self.batch["weight"]) + ops.stop_gradient(linear(ones - self.batch["weight"]))

    def _per_row(self, entries: Any) -> Any:
        return ops.segment_sum(entries, self.batch["row"], ops.shape(self.batch["index"])[0])

    def _place(self, level: Any) -> Any:
        """(E,) int32 index of (column, level) in a table whose first two axes are flattened."""
        return self.batch["column"] * self.visible.shape[1] + level


def present(batch: Batch) -> Any:
    """(E,) 1 for entries, 0 for padding."""
    return ops.cast(batch["weight"] > 0, "float32")


def states(value: Any, levels: Any) -> Any:
    """(E,) int32 index of the nearest of the (K,) ascending levels for each value."""
    middles = (levels[1:] + levels[:-1]) / 2
    return ops.sum(ops.cast(value[:, None] > middles, "int32"), axis=1)


def log_shares(rows: Rows, levels: np.ndarray) -> np.ndarray:
    """(num_columns, K) float32 log of each value's share in each column, shrunk to its overall share."""
    flat = np.zeros(rows.num_columns * len(levels), np.int64)
    for part in rows.parts():
        places = part.ids.astype(np.int64) * len(levels) + np.asarray(states(part.values, levels))
        flat += np.bincount(places, minlength=len(flat))
    counts = flat.reshape(rows.num_columns, len(levels))
    overall = (counts.sum(axis=0) + 1.0) / (counts.sum() + len(levels))
    return np.log((counts + PRIOR * overall) / (counts.sum(axis=1, keepdims=True) + PRIOR)).astype(np.float32)

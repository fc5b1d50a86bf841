"""The encoding of raw rows by `nnrec.data.encoding.encoder.Encoder`, as TensorFlow operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nnrec.data.encoding.encoder import Encoder
from nnrec.data.preprocessing import NumericTransform
from nnrec.serving.graph import Ids, Port, Tensors


class RowEncoder:
    """Encodes raw rows; "" and NaN are missing values.

    Args:
        encoder: the run's.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.fields = encoder, encoder.fields
        self.ids = {
            name: Ids(levels.strings.to_numpy()) for name, levels in encoder.levels.items() if name not in encoder.hash
        }
        self.offsets = dict(
            zip((*self.fields.categorical, *self.fields.multi), map(np.int32, self.fields.offsets), strict=True)
        )

    @property
    def tables(self) -> tuple[tf.Module, ...]:
        """The lookup tables that a graph needs."""
        return tuple(self.ids.values())

    def port(self, column: str) -> Port:
        """The input for a column of the data."""
        schema = self.encoder.schema
        if column in schema.multi:
            return Port(tf.string, (None, None), f"values of {column}; '' fills up")
        if column in schema.numeric:
            return Port(tf.float32, (None,), f"{column}; NaN = missing")
        return Port(tf.string, (None,), f"{column}, as text; '' = missing")

    def __call__(self, columns: Tensors, size: Any) -> Tensors:
        """Encoded rows, as `Encoder.encode` returns them.

        Args:
            columns: by the name of the column; absent columns are missing values.
            size: B, the number of rows.
        """
        fields, made = self.fields, {transform.column: transform for transform in self.encoder.transforms}
        no_text, no_number = tf.fill([size], ""), tf.fill([size], np.float32(np.nan))
        categorical = [
            self.offsets[name] + transformed(made[name], columns.get(name, no_number))
            if name in made
            else self._ids(name, columns.get(name, no_text))
            for name in fields.categorical
        ]
        numeric = [transformed(made[name], columns.get(name, no_number)) for name in fields.numeric]
        values = [
            self._values(name, columns.get(name, no_text[:, None]), length)
            for name, length in zip(fields.multi, fields.multi_lengths, strict=True)
        ]
        return {
            "categorical": side_by_side(categorical, size, tf.int32),
            "multi": tf.concat([tf.zeros([size, 0], tf.int32), *(ids for ids, _ in values)], axis=1),
            "multi_share": tf.concat([tf.zeros([size, 0]), *(share for _, share in values)], axis=1),
            "numeric": side_by_side(numeric, size, tf.float32),
        }

    def _ids(self, name: str, texts: Any) -> Any:
        """int32 ids in the shared table."""
        if name in self.encoder.hash:
            spread = 1 + tf.cast(hashed(texts) % np.uint64(self.encoder.hash[name]), tf.int32)
            return self.offsets[name] + tf.where(texts == "", 0, spread)
        codes = self.ids[name].indices(texts)
        lookup = tf.constant(np.append(self.encoder.lookup[name], 0).astype(np.int32))
        return self.offsets[name] + tf.gather(lookup, tf.where(codes < 0, np.int64(self.ids[name].size), codes))

    def _values(self, name: str, texts: Any, length: int) -> tuple[Any, Any]:
        """(B, length) ids and weights (1 / number of values) of the first values that are not blank."""
        texts = tf.pad(texts, [[0, 0], [0, length]], constant_values="")
        order = tf.argsort(tf.cast(texts == "", tf.int32), axis=1, stable=True)
        texts = tf.gather(texts, order[:, :length], batch_dims=1)
        there = tf.cast(texts != "", tf.float32)
        share = there / tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0)
        return self._ids(name, texts), share


def side_by_side(columns: list[Any], size: Any, dtype: Any) -> Any:
    """Stacks n columns of shape (B,) to (B, n); n may be 0."""
    return tf.concat([tf.zeros([size, 0], dtype), *(tf.cast(column, dtype)[:, None] for column in columns)], axis=1)


def transformed(transform: NumericTransform, values: Any) -> Any:
    """A numeric column transformed as by `NumericTransform`: float32 numbers, or int32 ids within the field."""
    missing, state = tf.math.is_nan(values), tf.constant(transform.state, tf.float64)
    x = tf.cast(tf.where(missing, 0.0, values), tf.float64)
    for step in transform.steps:
        if step == "log":
            x = tf.sign(x) * tf.math.log1p(tf.abs(x))
        elif step == "log_square":
            x = tf.where(x > 2, tf.floor(tf.math.log(tf.maximum(x, 2)) ** 2), x)
    rounding = 1e-12 * tf.maximum(tf.abs(x), 1)  # NumPy's logarithms, with which it was fitted, differ by as little
    if transform.last == "buckets":
        return tf.where(missing, 0, 1 + tf.searchsorted(state, x + rounding, side="right"))
    if transform.last == "categories":
        if not len(transform.state):
            return tf.zeros_like(x, tf.int32)
        place = tf.minimum(tf.searchsorted(state, x - rounding), len(transform.state) - 1)
        return tf.where((tf.abs(tf.gather(state, place) - x) <= rounding) & ~missing, place + 1, 0)
    if transform.last == "standardise":
        x = (x - state[0]) / state[1]
    return tf.where(missing, 0.0, tf.cast(x, tf.float32))


def hashed(texts: Any) -> Any:
    """uint64 hashes of texts, equal to those of `nnrec.data.levels.hashed`."""
    length = tf.strings.length(texts)
    longest = tf.reduce_max(tf.concat([[0], tf.reshape(length, [-1])], axis=0))
    characters = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=tf.maximum(longest, 1)), tf.uint64)
    start = tf.fill(tf.shape(texts), np.uint64(0xCBF29CE484222325))

    def another(place: Any, bits: Any) -> tuple[Any, Any]:
        mixed = tf.bitwise.bitwise_xor(bits, characters[..., place]) * np.uint64(0x100000001B3)
        return place + 1, tf.where(place < length, mixed, bits)

    _, bits = tf.while_loop(lambda place, _: place < longest, another, (tf.constant(0), start))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        bits = _folded(bits) * np.uint64(factor)
    return _folded(bits)


def _folded(bits: Any) -> Any:
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.fill(tf.shape(bits), np.uint64(33))))


def described(encoder: Encoder) -> dict[str, Any]:
    """The encoder as plain data, for programs that encode rows themselves; `docs/serving.md` describes the format."""
    fields = encoder.fields
    made = {transform.column: transform for transform in encoder.transforms}
    firsts = dict(zip((*fields.categorical, *fields.multi), fields.offsets, strict=True))

    def ids(name: str) -> dict[str, Any]:
        about = {"name": name, "first_id": firsts[name]}
        if name in made:
            return about | {"steps": list(made[name].steps), "state": made[name].state.tolist()}
        if name in encoder.hash:
            return about | {"hash": encoder.hash[name]}
        found = zip(encoder.levels[name].strings.to_pylist(), encoder.lookup[name].tolist(), strict=True)
        return about | {"ids": {text: place for text, place in found if place}}

    lengths = dict(zip(fields.multi, fields.multi_lengths, strict=True))
    return {
        "categorical": [ids(name) for name in fields.categorical],
        "multi": [ids(name) | {"length": lengths[name]} for name in fields.multi],
        "numeric": [
            {"name": name, "steps": list(made[name].steps), "state": made[name].state.tolist()}
            for name in fields.numeric
        ],
    }

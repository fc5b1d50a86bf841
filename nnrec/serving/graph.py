"""Exported graphs with their inputs and outputs, and operations that all lists share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        dtype: of the tensor.
        shape: None for dimensions of any size; the first is B, the number of rows in a request.
        about: description.
    """

    dtype: Any
    shape: tuple[int | None, ...]
    about: str

    def spec(self, name: str) -> tf.TensorSpec:
        return tf.TensorSpec(self.shape, self.dtype, name)


@dataclass(frozen=True)
class Graph:
    """A function with named input and output tensors.

    Attributes:
        inputs: by name; names are valid Python names.
        outputs: by name.
        compute: takes input tensors as keyword arguments and returns output tensors by name.
        about: description.
        tables: the lookup tables that it uses.
        columns: input name -> column of the data.
        exclude_seen: for lists: whether items of the history are left out; None = an input of that name decides.
    """

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    compute: Callable[..., Tensors]
    about: str
    tables: tuple[tf.Module, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    exclude_seen: bool | None = False

    @property
    def specs(self) -> dict[str, tf.TensorSpec]:
        return {name: port.spec(name) for name, port in self.inputs.items()}


class Ids(tf.Module):
    """A vocabulary of raw ids as text, in a graph.

    Args:
        ids: (n,) in index order.
    """

    def __init__(self, ids: np.ndarray) -> None:
        super().__init__()
        text = np.asarray(ids).astype(str).tolist()
        self.texts = tf.constant([*text, ""])
        indices = tf.range(len(text), dtype=tf.int64)
        keys = tf.lookup.KeyValueTensorInitializer(self.texts[:-1], indices)
        self.table = tf.lookup.StaticHashTable(keys, -1)
        self.size = len(text)

    def indices(self, texts: Any) -> Any:
        """int64 indices, -1 for unknown or empty ids."""
        return self.table.lookup(texts)

    def of(self, indices: Any) -> Any:
        """The ids of indices, "" for -1."""
        return tf.gather(self.texts, tf.where(indices < 0, tf.cast(self.size, indices.dtype), indices))


def best(scores: Any, n: int, seen: Any, exclude: Any, excluded: Any) -> tuple[Any, Any]:
    """The n best items, best first; ties go to the lower index (as in `nnrec.ranking.top_items.top_items`).

    Only one (B, num_items) array of scores is in memory: left-out items are changed in place.

    Args:
        scores: (B, num_items) float32.
        n: length of the lists.
        seen: (B, S) int32 items, padded with -1.
        exclude: whether to leave out the seen items; a boolean or a boolean tensor.
        excluded: (num_items,) float32, -inf for items excluded from all lists, else 0; None = no item is.

    Returns:
        items: (B, n) int64, padded with -1 if no item is left.
        values: (B, n) float32 scores, 0 for padding.
    """
    scores = scores + 0.0  # turns -0.0 into 0.0
    if excluded is not None:
        scores = scores + excluded
    if exclude is not False:
        row = tf.broadcast_to(tf.range(tf.shape(seen)[0])[:, None], tf.shape(seen))
        places = tf.reshape(tf.stack([row, tf.maximum(seen, 0)], axis=2), [-1, 2])
        off = tf.where((seen >= 0) & exclude, np.float32(-np.inf), np.float32(0.0))
        scores = tf.tensor_scatter_nd_add(scores, places, tf.reshape(off, [-1]))
    values, items = tf.math.top_k(scores, n)
    none = values == -np.inf
    values = tf.maximum(values, tf.float32.min)  # ONNX may implement `where` by products with 0; inf * 0 is NaN
    return tf.where(none, np.int64(-1), tf.cast(items, tf.int64)), tf.where(none, 0.0, values)


def kept(array: Any) -> tf.Variable:
    """An array as a variable of an exported graph: variables, unlike constants, may be large and are stored once."""
    return tf.Variable(array, trainable=False)


def excluding(excluded: np.ndarray | None) -> Any:
    """Converts excluded items, (num_items,) boolean, to the form that `best` expects."""
    return None if excluded is None else kept(np.where(excluded, -np.inf, 0).astype(np.float32))

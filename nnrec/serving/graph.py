"""What an exported graph takes and gives, and what lists have in common."""

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
        shape: None where a size may be any; the first is B, the requests that are answered together.
        about: what it means.
    """

    dtype: Any
    shape: tuple[int | None, ...]
    about: str

    def spec(self, name: str) -> tf.TensorSpec:
        return tf.TensorSpec(self.shape, self.dtype, name)


@dataclass(frozen=True)
class Graph:
    """A function of tensors by name.

    Attributes:
        inputs: what it takes; the names are Python names.
        outputs: what it returns.
        compute: input tensors, by name as keyword arguments, to output tensors.
        about: what it is for.
        tables: of ids, what it looks up.
        columns: input -> column of the data that it is.
        exclude_seen: of lists: whether what was seen is left out; None = an input says so.
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
    """Raw ids as text, in a graph.

    Args:
        ids: (n,) in the order of their indices.
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
        """int64 indices, -1 where an id is unknown or empty."""
        return self.table.lookup(texts)

    def of(self, indices: Any) -> Any:
        """The ids of indices, "" for -1."""
        return tf.gather(self.texts, tf.where(indices < 0, tf.cast(self.size, indices.dtype), indices))


def best(scores: Any, n: int, seen: Any, exclude: Any, excluded: Any) -> tuple[Any, Any]:
    """The n best items, best first; ties go to the lower index (as `nnrec.ranking.top_items.top_items`).

    (B, num_items) scores are in memory once: what is left out is changed in place.

    Args:
        scores: (B, num_items) float32.
        n: length of the lists.
        seen: (B, S) int32 items, -1 where there is none.
        exclude: whether to leave these out; a boolean, or a tensor of one.
        barred: (num_items,) float32, -inf for items left out for everybody, else 0; None = nobody is.

    Returns:
        items: (B, n) int64; -1 where no item is left.
        values: (B, n) float32, their scores; 0 there.
    """
    scores = scores + 0.0  # -0.0 becomes 0.0
    if excluded is not None:
        scores = scores + excluded
    if exclude is not False:
        row = tf.broadcast_to(tf.range(tf.shape(seen)[0])[:, None], tf.shape(seen))
        places = tf.reshape(tf.stack([row, tf.maximum(seen, 0)], axis=2), [-1, 2])
        off = tf.where((seen >= 0) & exclude, np.float32(-np.inf), np.float32(0.0))
        scores = tf.tensor_scatter_nd_add(scores, places, tf.reshape(off, [-1]))
    values, items = tf.math.top_k(scores, n)
    none = values == -np.inf
    values = tf.maximum(values, tf.float32.min)  # ONNX may select by products with 0, which infinity does not bear
    return tf.where(none, np.int64(-1), tf.cast(items, tf.int64)), tf.where(none, 0.0, values)


def kept(array: Any) -> tf.Variable:
    """An array as part of an exported graph: variables, unlike constants, may be large and are stored once."""
    return tf.Variable(array, trainable=False)


def excluding(excluded: np.ndarray | None) -> Any:
    """Barred items, (num_items,) boolean, as `best` takes them."""
    return None if excluded is None else kept(np.where(excluded, -np.inf, 0).astype(np.float32))

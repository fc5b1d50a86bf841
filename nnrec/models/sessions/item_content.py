"""Item vectors computed from item content: characters of texts, categories, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from nnrec.core.devices import strategy
from nnrec.core.errors import DataError
from nnrec.data.encoding import characters
from nnrec.data.sessions import Sessions
from nnrec.data.side_information import category_codes, scaled
from nnrec.models.layers.convolution import Convolution

BLOCK = 1024  # items whose vectors are computed together
SAMPLE = 4096  # items whose features are centred
TABLE = {"trainable": False, "autocast": False}


class ItemContent(keras.layers.Layer):
    """Computes a vector for each item from its content only.

    Each text has W characters, each character a vector of length e. Convolutions compute a map from them. The map's
    maxima over the characters, a vector for each category and the numbers are the features, from which a dense layer
    computes a vector that is scaled to length 1.

    In: (U,) item indices. Out: (U, W', A', channels) maps, and (U, d) float32 vectors.

    Args:
        num_items: size of the data.
        texts, categories, numbers: columns of the item table; "id" is the item's raw id.
        width: W.
        alphabet: characters that have their own code.
        character_units: e.
        category_values: number of most frequent values of a category that have a vector.
        category_units: length of these vectors.
        convolutions: arguments of `Convolution` layers, each of which covers a single click.
        dim: d.
    """

    def __init__(
        self,
        num_items: int,
        *,
        texts: Sequence[str],
        categories: Sequence[str],
        numbers: Sequence[str],
        width: int,
        alphabet: str,
        character_units: int,
        category_values: int,
        category_units: int,
        convolutions: Sequence[dict[str, Any]],
        dim: int,
    ) -> None:
        super().__init__(name="content", autocast=False)
        characters.check(alphabet, width)
        self.texts, self.categories, self.numbers = tuple(texts), tuple(categories), tuple(numbers)
        self.width, self.alphabet, self.category_values = width, alphabet, category_values
        codes, kind = (num_items, width, len(texts)), strategy.small_integers()
        self.codes = self.add_weight(codes, "zeros", dtype=kind, name="codes", **TABLE)
        shape = characters.num_codes(alphabet) - 1, character_units
        self.letters = self.add_weight(shape, keras.initializers.RandomNormal(0, 1), name="letters", autocast=False)
        self.layers: list[Convolution] = []
        self.channels, attributes = character_units, len(texts)
        for number, layer in enumerate(convolutions, start=1):
            self.layers.append(Convolution(self.channels, **layer, name=f"convolution_{number}"))
            self.channels, attributes = layer["filters"], -(-attributes // layer["pool"][2])
        features = attributes * self.channels + len(categories) * category_units + len(numbers)
        if categories:
            shapes = (num_items, len(categories)), (len(categories), 1 + category_values, category_units)
            self.category_codes = self.add_weight(shapes[0], "zeros", dtype="int32", name="category_codes", **TABLE)
            self.category_vectors = self.add_weight(shapes[1], "glorot_uniform", name="category", autocast=False)
        if numbers:
            self.quantities = self.add_weight((num_items, len(numbers)), "zeros", name="quantities", **TABLE)
        self.to_vector = keras.layers.Dense(dim, name="vector", autocast=False)
        self.to_vector.build((None, features))
        self.built = True

    def read(self, train: Sessions) -> None:
        """Reads the content of the items; statistics of numbers and categories are those of the training items.

        Raises:
            DataError: the item table lacks a column.
        """
        known = train.support > 0
        texts = [_column(train, name, "texts") for name in self.texts]
        codes = [characters.encode(column, self.width, self.alphabet) for column in texts]
        self.codes.assign(np.stack(codes, axis=2))
        if self.categories:
            columns = [_column(train, name, "categories") for name in self.categories]
            found = [category_codes(column, known, self.category_values) for column in columns]
            self.category_codes.assign(np.stack(found, axis=1))
        if self.numbers:
            values = [scaled(_column(train, name, "numbers"), known, name) for name in self.numbers]
            self.quantities.assign(np.stack(values, axis=1))
        self._centre(np.flatnonzero(known))

    def _centre(self, items: np.ndarray) -> None:
        """Initialises the last layer so that it standardises the features of these items to mean 0 and variance 1.

        Maxima of many numbers are similar for all items: without this all vectors would have nearly the same direction.
        """
        items = np.random.default_rng(0).permutation(items)[:SAMPLE].astype(np.int32)
        blocks = [items[start : start + BLOCK] for start in range(0, len(items), BLOCK)]
        features = np.concatenate([ops.convert_to_numpy(self._features(block)[1]) for block in blocks])
        scale = 1 / np.maximum(features.std(axis=0), 1e-3)
        kernel = ops.convert_to_numpy(self.to_vector.kernel) * scale[:, None]
        self.to_vector.kernel.assign(kernel)
        self.to_vector.bias.assign(-features.mean(axis=0) @ kernel)

    def call(self, items: Any) -> tuple[Any, Any]:
        maps, features = self._features(items)
        return maps, unit(self.to_vector(features))

    def _features(self, items: Any) -> tuple[Any, Any]:
        """Returns the maps, and the (U, F) features that the vectors are computed from."""
        codes = ops.cast(ops.take(self.codes, items, axis=0), "int32")
        # A matrix product, because the gradient of a look-up would be accumulated number by number.
        which = ops.one_hot(codes - 1, self.letters.shape[0], dtype=self.compute_dtype)  # code 0: all zeros
        volume = ops.matmul(which, ops.cast(self.letters, self.compute_dtype))[:, None]
        for layer in self.layers:
            volume = layer(volume)
        maps = volume[:, 0]
        highest = ops.cast(ops.max(maps, axis=1), "float32")
        parts = [ops.reshape(highest, (-1, highest.shape[1] * highest.shape[2]))]
        if self.categories:
            kinds = ops.take(self.category_codes, items, axis=0)
            vectors = enumerate(self.category_vectors[number] for number in range(len(self.categories)))
            parts += [ops.take(rows, kinds[:, number], axis=0) for number, rows in vectors]
        if self.numbers:
            parts.append(ops.take(self.quantities, items, axis=0))
        return maps, ops.concatenate(parts, axis=1)


def unit(vectors: Any) -> Any:
    """Scales vectors (..., d) to length 1."""
    return vectors * ops.rsqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), 1e-12))


def _column(train: Sessions, name: str, setting: str) -> pd.Series:
    table = train.item_table
    if table is not None and name in table:
        return table[name]
    if name == "id":
        return pd.Series(train.items.ids)
    there = "none" if table is None else ", ".join(map(str, table.columns))
    raise DataError(
        f"model.{setting}: the data's items have no {name}. Columns there: {there}; and id, the raw item ids. "
        f"Choose among them: 'model.{setting}=[...]'."
    )

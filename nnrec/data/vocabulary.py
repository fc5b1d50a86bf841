"""Vocabularies: the mapping between raw ids and the dense indices that all other code uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.errors import DataError
from nnrec.core.stored_arrays import CHUNK_ENTRIES


class Vocabulary:
    """Raw ids, each with a dense index 0..len-1.

    Ids are integers or strings: integers stay integers, anything else becomes a string.

    Args:
        ids: the distinct raw ids in index order.

    Raises:
        DataError: an id is missing or occurs twice.
    """

    def __init__(self, ids: Iterable) -> None:
        index = pd.Index(ids if isinstance(ids, (np.ndarray, pd.Series, pd.Index)) else list(ids))
        if index.hasnans:
            raise DataError("A vocabulary cannot hold a missing id.")
        index = index.astype("int64") if pd.api.types.is_integer_dtype(index.dtype) else index.astype(str)
        if not index.is_unique:
            raise DataError(f"An id occurs twice in a vocabulary: {index[index.duplicated()][0]!r}.")
        self.index = index

    @classmethod
    def of(cls, raw: pd.Series | np.ndarray) -> tuple[Vocabulary, np.ndarray]:
        """Returns the sorted vocabulary of a column, and the column as indices (int32, same length)."""
        codes, ids = pd.factorize(pd.Series(raw), sort=True)
        if (codes < 0).any():
            raise DataError(f"A missing id in row {int(np.argmax(codes < 0))}.")
        return cls(ids), codes.astype(np.int32)

    def __len__(self) -> int:
        return len(self.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.index.equals(other.index)

    __hash__ = None  # type: ignore[assignment]

    @property
    def ids(self) -> np.ndarray:
        """Raw ids in index order."""
        return self.index.to_numpy()

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields all raw ids in index order, chunk by chunk."""
        for start in range(0, len(self), CHUNK_ENTRIES):
            yield self.ids[start : start + CHUNK_ENTRIES]

    @property
    def numeric(self) -> bool:
        """Whether the raw ids are integers."""
        return self.index.dtype == np.int64

    def indices(self, raw: Iterable) -> np.ndarray:
        """Returns the indices of raw ids, int32; -1 for unknown ids.

        Ids are converted to the vocabulary's type before they are compared: "42" matches 42 in a numeric vocabulary.
        """
        wanted = pd.Index(raw if isinstance(raw, (np.ndarray, pd.Series, pd.Index)) else list(raw))
        if self.numeric:
            wanted = pd.Index(pd.to_numeric(wanted.to_series(), errors="coerce"))
        elif len(wanted):
            wanted = wanted.astype(str)
        return self.index.get_indexer(wanted).astype(np.int32)

    def take(self, kept: np.ndarray) -> Vocabulary:
        """Returns the vocabulary of the ids at these indices, renumbered 0..len(kept)-1."""
        return Vocabulary(self.index[kept])

    def save(self, path: Path) -> None:
        """Writes the ids as a one-column Parquet file."""
        pd.DataFrame({"id": self.index}).to_parquet(path, index=False)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Reads a vocabulary that `save` wrote."""
        return cls(pd.read_parquet(path)["id"])

"""A sparse matrix in CSR form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nnrec.core.stored_arrays import CHUNK_ENTRIES, StoredArray


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix in CSR form: one row per user (or per item), explicit zeros kept.

    The entries may be stored in files: their arrays are then `StoredArray`s, of which `take` is the only NumPy-like
    method; use `parts` to iterate over all rows. The offsets are always in memory.

    Attributes:
        offsets: (num_rows + 1,) int64, the start of each row in the arrays below.
        ids: (n,) int32, column indices.
        values: (n,) float32.
        weights: (n,) float32, or None if every entry has weight 1.
        num_columns: width of the matrix.
    """

    offsets: np.ndarray
    ids: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    num_columns: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(num_rows,) int64, entries per row."""
        return np.diff(self.offsets)

    @property
    def stored(self) -> bool:
        """Whether the entries are stored in files."""
        return isinstance(self.ids, StoredArray)

    def take(self, rows: np.ndarray) -> Rows:
        """Returns the given rows in the given order, in memory."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        weights = None if self.weights is None else self.weights.take(entries)
        return Rows(offsets, self.ids.take(entries), self.values.take(entries), weights, self.num_columns)

    def parts(self, which: np.ndarray | None = None) -> Iterator[Rows]:
        """Yields the given rows (None = all) in memory; from files, some rows at a time."""
        if not self.stored:
            yield self if which is None else self.take(which)
            return
        which = np.arange(len(self)) if which is None else which
        ends = np.cumsum(self.lengths[which])
        start = 0
        while start < len(which):
            read = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, read + CHUNK_ENTRIES, side="right")), start + 1)
            yield self.take(which[start:stop])
            start = stop

    def counts(self, which: np.ndarray | None = None) -> np.ndarray:
        """Returns (num_columns,) int64, the number of entries per column in the given rows (None = all)."""
        counts = np.zeros(self.num_columns, np.int64)
        for part in self.parts(which):
            counts += np.bincount(part.ids, minlength=self.num_columns)
        return counts

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """Concatenates the rows of several matrices of the same width, in memory."""
        lengths = np.concatenate([part.lengths for part in parts])
        ids, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "values"))
        weights = [part.weights for part in parts if part.weights is not None]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return cls(offsets, ids, values, np.concatenate(weights) if weights else None, parts[0].num_columns)

"""Arrays that lie in files: only the rows that are asked for are read, and nothing of them stays in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nnrec.errors import DataError

# Rows that lie no further apart than this many times their number are read in one go, others block by block.
SPARSE = 8
BLOCK_ROWS = 2**12


class StoredArray:
    """An array in a file of raw numbers, row after row; it takes like a NumPy array.

    Reading goes through the file, not through a mapping, whose pages would count as the process's memory.

    Args:
        path: the file.
        dtype: of the numbers.
        shape: rows first.

    Raises:
        DataError: the file is missing, or not as long as the shape says.
    """

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = path, np.dtype(dtype), tuple(shape)
        size = self.dtype.itemsize * int(np.prod(self.shape))
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(f"{path} is missing or damaged: remove its folder, and it will be made again.")

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._read(0, len(self))
        return array if dtype is None else array.astype(dtype, copy=False)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Some rows, as `numpy.take` along the first axis."""
        rows = np.asarray(rows)
        if not len(rows):
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = int(rows.min()), int(rows.max())
        if last - first + 1 <= SPARSE * len(rows):
            block = self._read(first, last + 1)
            return block if len(rows) == len(block) and (np.diff(rows) == 1).all() else block.take(rows - first, axis=0)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        edges = [0, *(np.flatnonzero(np.diff(ascending // BLOCK_ROWS)) + 1).tolist(), len(rows)]
        for start, stop in itertools.pairwise(edges):
            lowest = int(ascending[start])
            block = self._read(lowest, int(ascending[stop - 1]) + 1)
            result[order[start:stop]] = block[ascending[start:stop] - lowest]
        return result

    def _read(self, start: int, stop: int) -> np.ndarray:
        width = int(np.prod(self.shape[1:]))
        offset, count = start * width * self.dtype.itemsize, (stop - start) * width
        return np.fromfile(self.path, self.dtype, count, offset=offset).reshape(stop - start, *self.shape[1:])


Array: TypeAlias = np.ndarray | StoredArray

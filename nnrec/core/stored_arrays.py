"""Arrays stored in files: only the requested rows are read, and nothing stays in memory."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psutil

from nnrec.core.errors import DataError

# n rows that span at most SPARSE * n rows of the file are read in one go, others block by block.
SPARSE = 8
BLOCK_ROWS = 2**12
# Entries per read where an array is scanned from start to end.
CHUNK_ENTRIES = 2**20


class StoredArray:
    """An array stored row by row in a file of raw numbers; `take` works as for NumPy arrays.

    It reads the file instead of mapping it into memory, because mapped pages count as the process's memory.

    Args:
        path: the file.
        dtype: dtype of the returned arrays.
        shape: shape of the array, rows first.
        start: byte offset of the first number in the file.
        in_file: dtype of the numbers in the file; None = `dtype`.
        unit: factor by which the numbers in the file are multiplied.

    Raises:
        DataError: the file is missing, or its length does not match the shape.
    """

    def __init__(
        self,
        path: Path,
        dtype: Any,
        shape: tuple[int, ...],
        start: int = 0,
        in_file: Any = None,
        unit: float = 1,
    ) -> None:
        self.path, self.dtype, self.shape = path, np.dtype(dtype), tuple(shape)
        self._start, self._in_file, self._unit = start, np.dtype(in_file or dtype), unit
        size = start + self._in_file.itemsize * int(np.prod(self.shape))
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(f"{path} is missing or damaged: remove its folder, and it will be made again.")

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._read(0, len(self))
        return array if dtype is None else array.astype(dtype, copy=False)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Returns some rows, like `numpy.take` along the first axis."""
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

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Returns the consecutive rows start ... stop - 1."""
        return self._read(start, min(stop, len(self)))

    def _read(self, start: int, stop: int) -> np.ndarray:
        width = int(np.prod(self.shape[1:]))
        offset, count = self._start + start * width * self._in_file.itemsize, (stop - start) * width
        found = np.fromfile(self.path, self._in_file, count, offset=offset).reshape(stop - start, *self.shape[1:])
        return found if self._unit == 1 else found.astype(self.dtype) * self.dtype.type(self._unit)


Array: TypeAlias = np.ndarray | StoredArray


class ArrayFiles:
    """Writes flat arrays chunk by chunk, each to a file `<name>.bin` of raw numbers; a context manager.

    Args:
        folder: an existing folder.
        dtypes: name -> dtype.
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, Any]) -> None:
        self.folder, self.dtypes = folder, {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._stack = ExitStack()

    def __enter__(self) -> ArrayFiles:
        self._files = {
            name: self._stack.enter_context((self.folder / f"{name}.bin").open("wb")) for name in self.dtypes
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str, array: np.ndarray) -> None:
        self._files[name].write(np.ascontiguousarray(array, self.dtypes[name]).data)


def stored_array(folder: Path, name: str, dtype: Any) -> StoredArray:
    """Returns a flat array that `ArrayFiles` wrote; its length follows from the file's size.

    Raises:
        DataError: the file is missing.
    """
    path = folder / f"{name}.bin"
    return StoredArray(path, dtype, (path.stat().st_size // np.dtype(dtype).itemsize if path.is_file() else 0,))


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Returns the folder; if it does not exist, `make` fills a temporary one, which is renamed when complete.

    Raises:
        DataError: the folder cannot be written.
    """
    if folder.is_dir():
        return folder
    _remove_leftovers(folder)
    place = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        place.mkdir(parents=True)
        make(place)
        if not folder.is_dir():  # another process may have finished first
            os.replace(place, folder)
    except OSError as error:
        raise DataError(
            f"Cannot write to {place}: {error.strerror or error}. Choose another data.source.cache."
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return folder


def _remove_leftovers(folder: Path) -> None:
    """Removes temporary folders left by processes that were killed while they made this folder."""
    for place in folder.parent.glob(f".{folder.name}.*.tmp"):
        if not psutil.pid_exists(int(place.name.split(".")[-2])):
            shutil.rmtree(place, ignore_errors=True)

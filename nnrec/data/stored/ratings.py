"""Ratings stored in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nnrec.core.stored_arrays import CHUNK_ENTRIES, ArrayFiles, StoredArray, made_once, stored_array
from nnrec.data.ratings import Ratings
from nnrec.data.rows import Rows

DTYPES = {
    "user": np.int32,
    "item": np.int32,
    "value": np.float32,
    "time": np.int64,
    "weight": np.float32,
    "event": np.int16,
    "expected": np.float32,
}
# `levels` stops collecting distinct values beyond this number.
MOST_LEVELS = 2**16
# Entries sorted by item at a time, 16 bytes each.
SORTED_ENTRIES = 2**23


class StoredRatings(Ratings):
    """Ratings whose arrays are `StoredArray`s, of which `take` is the only NumPy-like method.

    `at_least`, `joined` and `rows` write their results to files beside these arrays, once, chunk by chunk; `take`,
    `in_memory` and `sample` return ratings in memory.
    """

    stored = True

    @classmethod
    def open(cls, folder: Path, like: Ratings) -> StoredRatings:
        """Opens the ratings in a folder, one file per array that `like` has; all other attributes are those of `like`.

        Raises:
            DataError: a file is missing or damaged.
        """
        length = len(stored_array(folder, "item", DTYPES["item"]))
        arrays = {name: StoredArray(folder / f"{name}.bin", DTYPES[name], (length,)) for name in like.names}
        return cls(**_fields(like) | arrays)

    @property
    def folder_of_arrays(self) -> Path:
        """The folder of the arrays."""
        assert isinstance(self.item, StoredArray)
        return self.item.path.parent

    def chunks(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        arrays: list[Any] = [getattr(self, name) for name in names]
        for start in range(0, len(self), CHUNK_ENTRIES):
            yield tuple(array.slice(start, start + CHUNK_ENTRIES) for array in arrays)

    @cached_property
    def mean(self) -> float:
        """The weighted mean value."""
        total = count = 0.0
        for arrays in self.chunks(*(["value"] if self.weight is None else ["value", "weight"])):
            weight = np.ones(len(arrays[0])) if self.weight is None else arrays[1].astype(np.float64)
            total, count = total + float(weight @ arrays[0]), count + float(weight.sum())
        return total / count

    @cached_property
    def levels(self) -> np.ndarray:
        """The distinct values, ascending; incomplete if there are more than `MOST_LEVELS`."""
        found = np.zeros(0, np.float32)
        for (value,) in self.chunks("value"):
            found = np.union1d(found, value)
            if len(found) > MOST_LEVELS:
                break
        return found

    def take(self, kept: np.ndarray) -> Ratings:
        kept = np.flatnonzero(kept) if kept.dtype == bool else kept
        return Ratings(**_fields(self) | {name: getattr(self, name).take(kept) for name in self.names})

    def in_memory(self) -> Ratings:
        return Ratings(**_fields(self) | {name: np.asarray(getattr(self, name)) for name in self.names})

    def sample(self, most: int) -> Ratings:
        if len(self) <= most:
            return self.in_memory()
        users = np.unique(np.linspace(0, self.num_users - 1, self.num_users * most // len(self)).astype(np.int64))
        ends = np.cumsum(self.activity)
        starts, lengths = ends[users] - self.activity[users], self.activity[users]
        offsets = np.cumsum(lengths) - lengths
        return self.take(np.repeat(starts - offsets, lengths) + np.arange(lengths.sum()))

    def at_least(self, value: float | None) -> Ratings:
        """As in `Ratings`; the result is stored in the folder `at_least_<value>`."""
        if value is None or self.scale[0] >= value:
            return self

        def make(place: Path) -> None:
            with ArrayFiles(place, {name: DTYPES[name] for name in self.names}) as files:
                for arrays in self.chunks(*self.names):
                    columns = dict(zip(self.names, arrays, strict=True))
                    kept = columns["value"] >= value
                    for name, array in columns.items():
                        files.add(name, array[kept])

        return self.open(made_once(self.folder_of_arrays / f"at_least_{value:g}", make), self)

    def joined(self, *others: Ratings) -> Ratings:
        """As in `Ratings`; the result is stored in the folder `joined`; `others` are in memory."""

        def make(place: Path) -> None:
            with ArrayFiles(place, {name: DTYPES[name] for name in self.names}) as files:
                for start, stop, entries in self._user_ranges():
                    parts = [self.take(entries)]
                    parts += [part.take(np.arange(*np.searchsorted(part.user, [start, stop]))) for part in others]
                    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in self.names}
                    keys = (columns["user"],) if self.time is None else (columns["time"], columns["user"])
                    order = np.lexsort(keys)
                    for name, array in columns.items():
                        files.add(name, array[order])

        return self.open(made_once(self.folder_of_arrays / "joined", make), self)

    def rows(self, by: Literal["user", "item"] = "user") -> Rows:
        """As in `Ratings`; rows by item are stored in the folder `by_item`.

        Writing it reads all ratings once per `SORTED_ENTRIES` ratings.
        """
        if by == "user":
            return super().rows("user")
        names = ["value", "weight"] if self.weight is not None else ["value"]
        offsets = np.concatenate([[0], np.cumsum(self.support)])

        def make(place: Path) -> None:
            with ArrayFiles(place, {name: DTYPES[name] for name in ("user", *names)}) as files:
                start = 0
                while start < self.num_items:
                    most = int(np.searchsorted(offsets, offsets[start] + SORTED_ENTRIES, side="right")) - 1
                    stop = min(max(most, start + 1), self.num_items)
                    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("item", "user", *names)}
                    for arrays in self.chunks(*kept):
                        here = (arrays[0] >= start) & (arrays[0] < stop)
                        for name, array in zip(kept, arrays, strict=True):
                            kept[name].append(array[here])
                    order = np.argsort(np.concatenate(kept.pop("item")), kind="stable")
                    for name, found in kept.items():
                        files.add(name, np.concatenate(found)[order])
                    start = stop

        folder = made_once(self.folder_of_arrays / "by_item", make)
        arrays: dict[str, Any] = {
            name: StoredArray(folder / f"{name}.bin", DTYPES[name], (len(self),)) for name in ("user", *names)
        }
        return Rows(offsets, arrays["user"], arrays["value"], arrays.get("weight"), self.num_users)

    def _user_ranges(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields ranges of users (start, exclusive stop) and the positions of their about `CHUNK_ENTRIES` entries."""
        ends, start, read = np.cumsum(self.activity), 0, 0
        while start < self.num_users:
            stop = min(max(int(np.searchsorted(ends, read + CHUNK_ENTRIES, side="right")), start + 1), self.num_users)
            yield start, stop, np.arange(read, int(ends[stop - 1]))
            start, read = stop, int(ends[stop - 1])


def _fields(ratings: Ratings) -> dict[str, Any]:
    return {entry.name: getattr(ratings, entry.name) for entry in fields(ratings)}

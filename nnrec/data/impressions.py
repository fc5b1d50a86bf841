"""Impressions: which item was shown to which user in which context, with a label such as click or no click."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnrec.core.jit import compiled
from nnrec.core.stored_arrays import Array
from nnrec.data.levels import Levels
from nnrec.data.preprocessing import Preprocessing
from nnrec.data.schema import Schema
from nnrec.data.vocabulary import Vocabulary

# Rows per chunk where all rows are scanned.
CHUNK_ROWS = 2**18


class Bag(NamedTuple):
    """A multi-valued column: the values of row r are value[offsets[r]] ... value[offsets[r + 1] - 1].

    Attributes:
        offsets: (n + 1,) int64.
        value: codes, int32.
    """

    offsets: Array
    value: Array

    def take(self, rows: np.ndarray) -> Bag:
        """Returns some rows, in memory."""
        starts, ends = self.offsets.take(rows), self.offsets.take(rows + 1)
        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        places = np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])
        return Bag(offsets, self.value.take(places))

    @classmethod
    def joined(cls, parts: Sequence[Bag]) -> Bag:
        """Concatenates the rows of all parts, in memory."""
        lengths = np.concatenate([np.diff(bag.offsets) for bag in parts])
        return cls(np.cumsum([0, *lengths], dtype=np.int64), np.concatenate([bag.value for bag in parts]))


class Rows(NamedTuple):
    """Some rows of `Impressions`, in memory; shapes as in that class."""

    codes: np.ndarray
    bags: tuple[Bag, ...]
    numbers: np.ndarray

    def take(self, which: np.ndarray) -> Rows:
        """Returns the rows at these positions."""
        bags = tuple(bag.take(which) for bag in self.bags)
        return Rows(self.codes.take(which, axis=0), bags, self.numbers.take(which, axis=0))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Concatenates the rows of all parts, at least one."""
        if len(parts) == 1:
            return parts[0]
        codes, bags, numbers = zip(*parts, strict=True)
        return cls(np.concatenate(codes), tuple(map(Bag.joined, zip(*bags, strict=True))), np.concatenate(numbers))


@dataclass(frozen=True, eq=False)
class Impressions:
    """Rows of impressions, with a label each. Large arrays may be stored in files (`nnrec.core.stored_arrays`).

    Attributes:
        schema: the columns.
        levels: the distinct values of each categorical and multi-valued column.
        label: (n,) float32: 1 = click, 0 = no click; or a rating.
        codes: (n, C) int32, the categorical columns as codes into their levels; -1 where the value is missing.
        bags: the multi-valued columns, as codes into their levels.
        numbers: (n, N) float32, the numeric columns; NaN where the value is missing.
        time: (n,) float64 seconds since 1970, or None.
        part: (n,) int8, the publisher's file: 0 = training, 1 = validation, 2 = test; None if the publisher has no
            such split.
        expected: (n,) float32, the true probability of the label 1 (simulated data), or None.
        item_table: one row per item in the order of the codes, columns such as title, or None.
        preprocessing: settings of the encoding of columns.
        hash: hash of all columns if it is already computed, else None.
        notes: lines that describe what was read.
    """

    schema: Schema
    levels: Mapping[str, Levels]
    label: Array
    codes: Array
    bags: tuple[Bag, ...]
    numbers: Array
    time: Array | None = None
    part: Array | None = None
    expected: Array | None = None
    item_table: pd.DataFrame | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    hash: str | None = None
    notes: tuple[str, ...] = field(default=())

    family = "impressions"
    time_kind = "timestamp"
    user_table = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.label)

    @property
    def users(self) -> Vocabulary:
        """Raw ids of the user column, in the order of its codes; empty if there is no such column."""
        return self._vocabulary(self.schema.user)

    @property
    def items(self) -> Vocabulary:
        """Raw ids of the item column, in the order of its codes; empty if there is no such column."""
        return self._vocabulary(self.schema.item)

    def _vocabulary(self, name: str | None) -> Vocabulary:
        return Vocabulary(np.zeros(0, np.int64)) if name is None else self.levels[name].vocabulary

    @property
    def num_users(self) -> int:
        return 0 if self.schema.user is None else len(self.levels[self.schema.user])

    @property
    def num_items(self) -> int:
        return 0 if self.schema.item is None else len(self.levels[self.schema.item])

    def codes_of(self, name: str, which: np.ndarray | None = None) -> np.ndarray:
        """(m,) int32 codes of one categorical column.

        Args:
            which: (m,) row numbers; None = all.
        """
        place = self.schema.categorical.index(name)
        parts = [
            self.codes.take(rows if which is None else which[rows], axis=0)[:, place]
            for rows in slices(len(self) if which is None else len(which), CHUNK_ROWS)
        ]
        return np.concatenate([np.zeros(0, np.int32), *parts])

    def count_of(self, name: str) -> np.ndarray:
        """(num_levels,) int64, number of rows with each level of a categorical column."""
        place, counts = self.schema.categorical.index(name), np.zeros(len(self.levels[name]), np.int64)
        for rows in slices(len(self), CHUNK_ROWS):
            count(self.codes.take(rows, axis=0)[:, place], counts)
        return counts

    def rows(self, which: np.ndarray) -> Rows:
        """Returns some rows, in memory.

        Args:
            which: (m,) row numbers; from files, ascending ones are read fastest.
        """
        bags = tuple(bag.take(which) for bag in self.bags)
        return Rows(self.codes.take(which, axis=0), bags, self.numbers.take(which, axis=0))

    def noted(self, *notes: str) -> Impressions:
        """Returns the same impressions with more lines in `notes`."""
        return replace(self, notes=(*self.notes, *notes))

    def fingerprint(self) -> str:
        """Returns a hash of all columns: the same rows give the same string, from memory or from files."""
        if self.hash is not None:
            return self.hash
        arrays: dict[str, Any] = {"label": self.label, "codes": self.codes, "numbers": self.numbers}
        arrays |= {"time": self.time, "part": self.part}
        for number, bag in enumerate(self.bags):
            arrays |= {f"offsets.{number}": bag.offsets, f"value.{number}": bag.value}
        digests = {
            name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for name, array in arrays.items()
            if array is not None
        }
        return fingerprint_of(digests, self.levels)


def fingerprint_of(digests: Mapping[str, str], levels: Mapping[str, Levels]) -> str:
    """Returns a hash of the hashes of arrays and of levels."""
    digest = hashlib.sha256()
    for name in sorted(digests):
        digest.update(f"{name} {digests[name]}\n".encode())
    for name in sorted(levels):
        digest.update(f"{name}\n".encode() + np.ascontiguousarray(levels[name].hashes).tobytes())
    return digest.hexdigest()[:16]


def count(codes: np.ndarray, counts: np.ndarray) -> None:
    """Adds to `counts` (n,) int64 how often each code occurs in `codes`; negative codes are ignored."""
    _count(codes, counts)


@compiled
def _count(codes, counts):
    for code in codes:
        if code >= 0:
            counts[code] += 1


def slices(length: int, step: int) -> Iterator[np.ndarray]:
    """Yields 0 ... length - 1 in chunks of at most `step`."""
    return (np.arange(start, min(start + step, length)) for start in range(0, length, step))

"""Ratings: who gave which item which value, when, and how much it counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nnrec.data.stored import STRETCH, StoredArray
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import DataError

if TYPE_CHECKING:
    from nnrec.data.splits import Split

# More distinct values than this are no levels.
MOST_LEVELS = 2**16


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix in CSR form: one row per user (or per item), explicit zeros kept.

    The entries may lie in files: their arrays are then `StoredArray`s, which take as NumPy's do and no more, and
    `parts` goes through all of them. The offsets are always in memory.

    Attributes:
        offsets: (num_rows + 1,) int64, where each row starts in the arrays below.
        ids: (n,) int32, column indices.
        values: (n,) float32.
        weights: (n,) float32, or None where every entry counts 1.
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
        """Whether the entries lie in files."""
        return isinstance(self.ids, StoredArray)

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows in the given order, in memory."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        weights = None if self.weights is None else self.weights.take(entries)
        return Rows(offsets, self.ids.take(entries), self.values.take(entries), weights, self.num_columns)

    def parts(self, which: np.ndarray | None = None) -> Iterator[Rows]:
        """The given rows (None = all) in memory, some at a time where they lie in files."""
        if not self.stored:
            yield self if which is None else self.take(which)
            return
        which = np.arange(len(self)) if which is None else which
        ends = np.cumsum(self.lengths[which])
        start = 0
        while start < len(which):
            read = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, read + STRETCH, side="right")), start + 1)
            yield self.take(which[start:stop])
            start = stop

    def counts(self, which: np.ndarray | None = None) -> np.ndarray:
        """(num_columns,) int64, how many entries of the given rows (None = all) each column has."""
        counts = np.zeros(self.num_columns, np.int64)
        for part in self.parts(which):
            counts += np.bincount(part.ids, minlength=self.num_columns)
        return counts

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """The rows of several matrices of one width, one after the other, in memory."""
        lengths = np.concatenate([part.lengths for part in parts])
        ids, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "values"))
        weights = [part.weights for part in parts if part.weights is not None]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return cls(offsets, ids, values, np.concatenate(weights) if weights else None, parts[0].num_columns)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rated (user, item) pairs, ordered by user, then time (or order of arrival).

    Build one with `Ratings.build`, which sorts; the constructor trusts its arguments. The arrays with an entry per
    rating may lie in files (`nnrec.data.shards`): they are then `StoredArray`s, which take as NumPy's do and no more,
    and `stretches` goes through all of them. What is made of such ratings lies in files too.

    Attributes:
        users, items: vocabularies of all users and items, those without a rating included.
        user, item: (n,) int32 indices.
        value: (n,) float32.
        time: (n,) int64, seconds since 1970 or an order within the user (see `time_kind`), or None.
        time_kind: "timestamp", "order" (only comparable within one user), or None without times.
        weight: (n,) float32, how much an entry counts in every loss; None = 1 everywhere.
        event: (n,) int16 codes into `event_names`, or None.
        expected: (n,) float32, the best possible prediction where the truth is known (simulated
            data), else None.
        item_table: one row per item in index order, columns such as title and genres, or None.
        user_table: one row per user in index order, columns such as gender and age_group, or None.
        stopped: the items that a stoplist removed (see `nnrec.data.stoplist.catch`; their indices are those of before),
            or None without a stoplist.
        folder: where the publisher's files lie, for the publisher's own folds.
        given: the split that these data came with, or None; then these are its training part.
        notes: what was read and what filters removed, a line each.
    """

    users: Vocabulary
    items: Vocabulary
    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    time: np.ndarray | None = None
    time_kind: Literal["timestamp", "order"] | None = None
    weight: np.ndarray | None = None
    event: np.ndarray | None = None
    event_names: tuple[str, ...] = ()
    expected: np.ndarray | None = None
    item_table: pd.DataFrame | None = None
    user_table: pd.DataFrame | None = None
    stopped: pd.DataFrame | None = None
    folder: str | None = None
    given: Split | None = None
    notes: tuple[str, ...] = field(default=())

    PER_ENTRY = ("user", "item", "value", "time", "weight", "event", "expected")

    @classmethod
    def build(cls, **fields: Any) -> Ratings:
        """Ratings from unsorted arrays: sorted by user, then time, then order of arrival.

        Raises:
            DataError: arrays of different lengths.
        """
        ratings = cls(**fields)
        lengths = {name: len(getattr(ratings, name)) for name in cls.PER_ENTRY if getattr(ratings, name) is not None}
        if len(set(lengths.values())) > 1:
            raise DataError(f"Columns of ratings differ in length. Received: {lengths}")
        keys = (ratings.user,) if ratings.time is None else (ratings.time, ratings.user)
        return ratings.take(np.lexsort(keys))

    def __len__(self) -> int:
        return len(self.user)

    @property
    def num_users(self) -> int:
        return len(self.users)

    @property
    def num_items(self) -> int:
        return len(self.items)

    @property
    def stored(self) -> bool:
        """Whether the ratings lie in files."""
        return isinstance(self.item, StoredArray)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays with an entry per rating."""
        return sum(len(self) * getattr(self, name).dtype.itemsize for name in self.names)

    @property
    def names(self) -> list[str]:
        """The arrays that there are, with an entry per rating."""
        return [name for name in self.PER_ENTRY if getattr(self, name) is not None]

    def stretches(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """These arrays, some neighbouring entries at a time; all at once where they are in memory."""
        arrays = [getattr(self, name) for name in names]
        if not self.stored:
            yield tuple(arrays)
            return
        for start in range(0, len(self), STRETCH):
            yield tuple(array.slice(start, start + STRETCH) for array in arrays)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest value."""
        bounds = [(value.min(), value.max()) for (value,) in self.stretches("value")]
        return float(min(low for low, _ in bounds)), float(max(high for _, high in bounds))

    @cached_property
    def mean(self) -> float:
        """The mean value, weights counted."""
        if not self.stored:
            return float(np.average(self.value, weights=self.weight))
        total = count = 0.0
        for arrays in self.stretches(*(["value"] if self.weight is None else ["value", "weight"])):
            weight = np.ones(len(arrays[0])) if self.weight is None else arrays[1].astype(np.float64)
            total, count = total + float(weight @ arrays[0]), count + float(weight.sum())
        return total / count

    @cached_property
    def levels(self) -> np.ndarray:
        """The distinct values, ascending; of ratings in files no more than a few beyond `MOST_LEVELS`."""
        found = np.zeros(0, np.float32)
        for (value,) in self.stretches("value"):
            found = np.union1d(found, value)
            if self.stored and len(found) > MOST_LEVELS:
                break
        return found

    family = "ratings"

    @property
    def sizes(self) -> dict[str, int]:
        """What a model of such data has to know to be built."""
        return {"num_users": self.num_users, "num_items": self.num_items}

    @cached_property
    def support(self) -> np.ndarray:
        """(num_items,) int64, entries per item."""
        return self._counts("item", self.num_items)

    @cached_property
    def activity(self) -> np.ndarray:
        """(num_users,) int64, entries per user."""
        return self._counts("user", self.num_users)

    def _counts(self, name: str, number: int) -> np.ndarray:
        counts = np.zeros(number, np.int64)
        for (codes,) in self.stretches(name):
            counts += np.bincount(codes, minlength=number)
        return counts

    def take(self, kept: np.ndarray) -> Ratings:
        """The entries at these positions (a boolean mask or indices), in memory; vocabularies stay whole."""
        if self.stored and kept.dtype == bool:
            kept = np.flatnonzero(kept)
        taken = {name: getattr(self, name) for name in self.names}
        return replace(
            self, **{name: array.take(kept) if self.stored else array[kept] for name, array in taken.items()}
        )

    def count_at_least(self, value: float | None) -> int:
        """How many entries have at least this value; all where it is None."""
        if value is None:
            return len(self)
        return sum(int(np.count_nonzero(values >= value)) for (values,) in self.stretches("value"))

    def at_least(self, value: float | None) -> Ratings:
        """The entries with at least this value; all where it is None."""
        if value is None or (self.stored and self.scale[0] >= value):
            return self
        if not self.stored:
            return self.take(self.value >= value)
        from nnrec.data.stored_ratings import at_least

        return at_least(self, value)

    def noted(self, note: str) -> Ratings:
        """The same ratings with one more line in `notes`."""
        return replace(self, notes=(*self.notes, note))

    def rows(self, by: Literal["user", "item"] = "user") -> Rows:
        """CSR rows: one per user (columns are items) or one per item (columns are users)."""
        offsets = np.concatenate([[0], np.cumsum(self.activity if by == "user" else self.support)])
        width = self.num_items if by == "user" else self.num_users
        if by == "user":
            return Rows(offsets, self.item, self.value, self.weight, width)
        if self.stored:
            from nnrec.data.stored_ratings import by_item

            return by_item(self, offsets)
        order = np.argsort(self.item, kind="stable")
        return Rows(
            offsets, self.user[order], self.value[order], None if self.weight is None else self.weight[order], width
        )

    def fingerprint(self) -> str:
        """A hash of users, items and values: the same ratings give the same string."""
        digest = hashlib.sha256()
        for ids in (self.users.ids, self.items.ids):
            digest.update("\n".join(map(str, ids)).encode())
        for name in ("user", "item", "value", "time", "weight"):
            if name in self.names:
                for (array,) in self.stretches(name):
                    digest.update(np.ascontiguousarray(array).tobytes())
        if self.given is not None:
            for part in (self.given.validation, self.given.test):
                digest.update(part.target.fingerprint().encode())
        return digest.hexdigest()[:16]

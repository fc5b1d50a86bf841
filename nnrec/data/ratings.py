"""Ratings: the value that a user gave an item, with time and weight."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from nnrec.core.errors import DataError
from nnrec.data.rows import Rows
from nnrec.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rated (user, item) pairs, ordered by user, then time (or order of arrival).

    Build one with `Ratings.build`, which sorts; the constructor does not check its arguments. The arrays of the
    subclass `StoredRatings` are stored in files; `chunks` iterates over the arrays of both.

    Attributes:
        users, items: vocabularies of all users and items, those without a rating included.
        user, item: (n,) int32 indices.
        value: (n,) float32.
        time: (n,) int64, seconds since 1970 or an order within the user (see `time_kind`), or None.
        time_kind: "timestamp", "order" (only comparable within one user), or None without times.
        weight: (n,) float32, the weight of an entry in every loss; None = 1 everywhere.
        event: (n,) int16 codes into `event_names`, or None.
        expected: (n,) float32, the best possible prediction if the truth is known (simulated
            data), else None.
        item_table: one row per item in index order, columns such as title and genres, or None.
        user_table: one row per user in index order, columns such as gender and age_group, or None.
        stopped: the items that a stoplist removed (see `nnrec.data.filters.stoplist.catch`; with their indices before
            the removal), or None without a stoplist.
        folder: folder of the publisher's files, for the publisher's own folds.
        notes: lines that describe what was read and what filters removed.
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
    notes: tuple[str, ...] = field(default=())

    family: ClassVar[str] = "ratings"
    stored: ClassVar[bool] = False  # whether the ratings are stored in files
    PER_ENTRY: ClassVar[tuple[str, ...]] = ("user", "item", "value", "time", "weight", "event", "expected")

    @classmethod
    def build(cls, **fields: Any) -> Ratings:
        """Builds ratings from unsorted arrays: sorts them by user, then time, then order of arrival.

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
    def nbytes(self) -> int:
        """Bytes of the per-rating arrays."""
        return sum(len(self) * getattr(self, name).dtype.itemsize for name in self.names)

    @property
    def names(self) -> list[str]:
        """Names of the per-rating arrays that are not None."""
        return [name for name in self.PER_ENTRY if getattr(self, name) is not None]

    def chunks(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields these arrays in chunks of consecutive entries; in one chunk if they are in memory."""
        yield tuple(getattr(self, name) for name in names)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest value."""
        bounds = [(value.min(), value.max()) for (value,) in self.chunks("value")]
        return float(min(low for low, _ in bounds)), float(max(high for _, high in bounds))

    @cached_property
    def mean(self) -> float:
        """The weighted mean value."""
        return float(np.average(self.value, weights=self.weight))

    @cached_property
    def levels(self) -> np.ndarray:
        """The distinct values, ascending."""
        return np.unique(self.value)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that a model for these data needs when it is built."""
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
        for (codes,) in self.chunks(name):
            counts += np.bincount(codes, minlength=number)
        return counts

    def take(self, kept: np.ndarray) -> Ratings:
        """Returns the entries at these positions (a boolean mask or indices), in memory; vocabularies stay whole."""
        return replace(self, **{name: getattr(self, name)[kept] for name in self.names})

    def joined(self, *others: Ratings) -> Ratings:
        """Returns these ratings and others of the same data, in the order of `Ratings.build`."""
        parts = (self, *others)
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in self.names}
        kept = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return Ratings.build(**kept | columns)

    def in_memory(self) -> Ratings:
        """Returns the same ratings in memory."""
        return self

    def sample(self, most: int) -> Ratings:
        """Returns all ratings; from files, about `most` ratings, those of evenly spread users, in memory."""
        return self

    def count_at_least(self, value: float | None) -> int:
        """Returns the number of entries with at least this value; None = all."""
        if value is None:
            return len(self)
        return sum(int(np.count_nonzero(values >= value)) for (values,) in self.chunks("value"))

    def at_least(self, value: float | None) -> Ratings:
        """Returns the entries with at least this value; None = all."""
        return self if value is None else self.take(self.value >= value)

    def noted(self, note: str) -> Ratings:
        """Returns the same ratings with one more line in `notes`."""
        return replace(self, notes=(*self.notes, note))

    def rows(self, by: Literal["user", "item"] = "user") -> Rows:
        """Returns CSR rows: one per user (columns are items) or one per item (columns are users)."""
        offsets = np.concatenate([[0], np.cumsum(self.activity if by == "user" else self.support)])
        width = self.num_items if by == "user" else self.num_users
        if by == "user":
            return Rows(offsets, self.item, self.value, self.weight, width)
        order = np.argsort(self.item, kind="stable")
        return Rows(
            offsets, self.user[order], self.value[order], None if self.weight is None else self.weight[order], width
        )

    def fingerprint(self, *held_out: Ratings) -> str:
        """Returns a hash of users, items, values, times and weights: the same ratings give the same string.

        Args:
            held_out: further parts of the same data, which are included in the hash.
        """
        digest = hashlib.sha256()
        for ids in (self.users.ids, self.items.ids):
            digest.update("\n".join(map(str, ids)).encode())
        for name in ("user", "item", "value", "time", "weight"):
            if name in self.names:
                for (array,) in self.chunks(name):
                    digest.update(np.ascontiguousarray(array).tobytes())
        for part in held_out:
            digest.update(part.fingerprint().encode())
        return digest.hexdigest()[:16]

"""Ratings: who gave which item which value, when, and how much it counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import DataError


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix in CSR form: one row per user (or per item), explicit zeros kept.

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

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows in the given order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        weights = None if self.weights is None else self.weights[entries]
        return Rows(offsets, self.ids[entries], self.values[entries], weights, self.num_columns)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rated (user, item) pairs, ordered by user, then time (or order of arrival).

    Build one with `Ratings.build`, which sorts; the constructor trusts its arguments.

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

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return float(self.value.min()), float(self.value.max())

    family = "ratings"

    @property
    def sizes(self) -> dict[str, int]:
        """What a model of such data has to know to be built."""
        return {"num_users": self.num_users, "num_items": self.num_items}

    @property
    def support(self) -> np.ndarray:
        """(num_items,) int64, entries per item."""
        return np.bincount(self.item, minlength=self.num_items)

    def take(self, kept: np.ndarray) -> Ratings:
        """The entries at these positions (a boolean mask or indices); vocabularies stay whole."""
        arrays = {name: getattr(self, name) for name in self.PER_ENTRY}
        return replace(self, **{name: array[kept] for name, array in arrays.items() if array is not None})

    def noted(self, note: str) -> Ratings:
        """The same ratings with one more line in `notes`."""
        return replace(self, notes=(*self.notes, note))

    def rows(self, by: Literal["user", "item"] = "user") -> Rows:
        """CSR rows: one per user (columns are items) or one per item (columns are users)."""
        row, column = (self.user, self.item) if by == "user" else (self.item, self.user)
        num_rows, num_columns = (self.num_users, self.num_items) if by == "user" else (self.num_items, self.num_users)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_rows))])
        order = slice(None) if by == "user" else np.argsort(row, kind="stable")
        weight = None if self.weight is None else self.weight[order]
        return Rows(offsets, column[order], self.value[order], weight, num_columns)

    def fingerprint(self) -> str:
        """A hash of users, items and values: the same ratings give the same string."""
        digest = hashlib.sha256()
        for ids in (self.users.ids, self.items.ids):
            digest.update("\n".join(map(str, ids)).encode())
        for array in (self.user, self.item, self.value, self.time, self.weight):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

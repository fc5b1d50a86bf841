"""Ratings that lie in files, and what is made of them: other files beside them, made once, in passing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnrec.data.ratings import Ratings, Rows
from nnrec.data.stored import STRETCH, ArrayFiles, StoredArray, made_once, stored_array

DTYPES = {
    "user": np.int32,
    "item": np.int32,
    "value": np.float32,
    "time": np.int64,
    "weight": np.float32,
    "event": np.int16,
    "expected": np.float32,
}
# Entries that are sorted by item at a time, 16 bytes each.
SORTED_ENTRIES = 2**23


def opened(folder: Path, like: Ratings) -> Ratings:
    """Ratings whose arrays lie in a folder, a file for each that `like` has; all else is as there.

    Raises:
        DataError: a file is missing or damaged.
    """
    length = len(stored_array(folder, "item", DTYPES["item"]))
    arrays: dict[str, Any] = {name: StoredArray(folder / f"{name}.bin", DTYPES[name], (length,)) for name in like.names}
    return replace(like, **arrays)


def folder_of(ratings: Ratings) -> Path:
    """Where the arrays of ratings in files lie."""
    assert isinstance(ratings.item, StoredArray)
    return ratings.item.path.parent


def loaded(ratings: Ratings) -> Ratings:
    """The same ratings in memory."""
    arrays: dict[str, Any] = {name: np.asarray(getattr(ratings, name)) for name in ratings.names}
    return replace(ratings, **arrays)


def sample(ratings: Ratings, most: int) -> Ratings:
    """The ratings of some users, evenly spread and about so many, in memory; all where there are fewer."""
    if len(ratings) <= most:
        return loaded(ratings)
    users = np.unique(np.linspace(0, ratings.num_users - 1, ratings.num_users * most // len(ratings)).astype(np.int64))
    ends = np.cumsum(ratings.activity)
    starts, lengths = ends[users] - ratings.activity[users], ratings.activity[users]
    offsets = np.cumsum(lengths) - lengths
    return ratings.take(np.repeat(starts - offsets, lengths) + np.arange(lengths.sum()))


def at_least(ratings: Ratings, value: float) -> Ratings:
    """The ratings with at least this value, in the folder `at_least_<value>` beside theirs."""

    def make(place: Path) -> None:
        with ArrayFiles(place, {name: DTYPES[name] for name in ratings.names}) as files:
            for arrays in ratings.stretches(*ratings.names):
                columns = dict(zip(ratings.names, arrays, strict=True))
                kept = columns["value"] >= value
                for name, array in columns.items():
                    files.add(name, array[kept])

    return opened(made_once(folder_of(ratings) / f"at_least_{value:g}", make), ratings)


def joined(first: Ratings, *others: Ratings) -> Ratings:
    """The ratings of all parts in the order of `Ratings.build`, in the folder `joined` beside those of the first.

    Args:
        first: in files.
        others: in memory.
    """

    def make(place: Path) -> None:
        with ArrayFiles(place, {name: DTYPES[name] for name in first.names}) as files:
            for start, stop, entries in _user_ranges(first):
                parts = [first.take(entries)]
                parts += [part.take(np.arange(*np.searchsorted(part.user, [start, stop]))) for part in others]
                columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in first.names}
                keys = (columns["user"],) if first.time is None else (columns["time"], columns["user"])
                order = np.lexsort(keys)
                for name, array in columns.items():
                    files.add(name, array[order])

    return opened(made_once(folder_of(first) / "joined", make), first)


def by_item(ratings: Ratings, offsets: np.ndarray) -> Rows:
    """A row per item, columns are users, in the folder `by_item` beside the ratings.

    The ratings are read once for every `SORTED_ENTRIES` of them.

    Args:
        offsets: (num_items + 1,) where each item's entries start.
    """
    names = ["value", "weight"] if ratings.weight is not None else ["value"]

    def make(place: Path) -> None:
        with ArrayFiles(place, {name: DTYPES[name] for name in ("user", *names)}) as files:
            start = 0
            while start < ratings.num_items:
                most = int(np.searchsorted(offsets, offsets[start] + SORTED_ENTRIES, side="right")) - 1
                stop = min(max(most, start + 1), ratings.num_items)
                kept: dict[str, list[np.ndarray]] = {name: [] for name in ("item", "user", *names)}
                for arrays in ratings.stretches(*kept):
                    here = (arrays[0] >= start) & (arrays[0] < stop)
                    for name, array in zip(kept, arrays, strict=True):
                        kept[name].append(array[here])
                order = np.argsort(np.concatenate(kept.pop("item")), kind="stable")
                for name, found in kept.items():
                    files.add(name, np.concatenate(found)[order])
                start = stop

    folder = made_once(folder_of(ratings) / "by_item", make)
    arrays: dict[str, Any] = {
        name: StoredArray(folder / f"{name}.bin", DTYPES[name], (len(ratings),)) for name in ("user", *names)
    }
    return Rows(offsets, arrays["user"], arrays["value"], arrays.get("weight"), ratings.num_users)


def _user_ranges(ratings: Ratings) -> Iterator[tuple[int, int, np.ndarray]]:
    """Users from ... to (exclusive), and the places of their entries, about `STRETCH` of them."""
    ends, start, read = np.cumsum(ratings.activity), 0, 0
    while start < ratings.num_users:
        stop = min(max(int(np.searchsorted(ends, read + STRETCH, side="right")), start + 1), ratings.num_users)
        yield start, stop, np.arange(read, int(ends[stop - 1]))
        start, read = stop, int(ends[stop - 1])

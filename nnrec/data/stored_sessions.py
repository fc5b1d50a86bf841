"""Sessions whose events lie in files, and what is made of them: other files beside them, made once, in passing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnrec.data.stored import STRETCH, ArrayFiles, StoredArray, made_once, stored_array
from nnrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from nnrec.data.sessions import Sessions

DTYPES = {"item": np.int32, "time": np.float64, "event": np.int16, "offsets": np.int64}


class StoredIds:
    """The ids of sessions in a file: what a `Vocabulary` of them offers, without holding them.

    Args:
        array: (n,) numbers, or text in UTF-8.
    """

    def __init__(self, array: StoredArray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @property
    def numeric(self) -> bool:
        return self.array.dtype.kind == "i"

    def _decoded(self, ids: np.ndarray) -> np.ndarray:
        return ids if self.numeric else np.char.decode(ids, "utf-8").astype(object)

    def stretches(self) -> Iterator[np.ndarray]:
        """All ids in their order, some at a time."""
        for start in range(0, len(self), STRETCH):
            yield self._decoded(self.array.slice(start, start + STRETCH))

    def take(self, which: np.ndarray) -> Vocabulary:
        """A vocabulary of the ids at these indices, in memory."""
        return Vocabulary(self._decoded(self.array.take(which)))

    def indices(self, raw: Iterable) -> np.ndarray:
        """As `Vocabulary.indices`; all ids are read once."""
        wanted, distinct = pd.factorize(pd.Index(raw))
        sought, done = Vocabulary(distinct), 0
        found = np.full(len(sought), -1, np.int32)
        for ids in self.stretches():
            places = sought.indices(ids)
            here = np.flatnonzero(places >= 0)
            found[places[here]] = done + here
            done += len(ids)
        return found[wanted]


def encoded(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Ids as they lie in files: numbers, or UTF-8 of one length."""
    return ids if dtype.kind == "i" else np.array([name.encode() for name in ids], dtype)


def opened(folder: Path, like: Sessions, id_dtype: np.dtype) -> Sessions:
    """Sessions whose arrays lie in a folder, a file for each that `like` has; all else is as there.

    Raises:
        DataError: a file is missing or damaged.
    """
    offsets = np.asarray(stored_array(folder, "offsets", DTYPES["offsets"]))
    ids: Any = StoredIds(StoredArray(folder / "id.bin", id_dtype, (len(offsets) - 1,)))
    number = int(offsets[-1])
    arrays: dict[str, Any] = {name: StoredArray(folder / f"{name}.bin", DTYPES[name], (number,)) for name in like.names}
    return replace(like, ids=ids, offsets=offsets, **arrays)


def loaded(sessions: Sessions) -> Sessions:
    """The same sessions in memory."""
    arrays: dict[str, Any] = {name: np.asarray(getattr(sessions, name)) for name in sessions.names}
    return replace(sessions, ids=sessions.ids.take(np.arange(sessions.num_sessions)), **arrays)


def chosen(sessions: Sessions, name: str, choose: Callable[[np.ndarray], np.ndarray]) -> Sessions:
    """As `Sessions.chosen`, in the folder `name` beside theirs."""
    every = np.arange(sessions.num_sessions)

    def parts() -> Iterator[Sessions]:
        for which in in_stretches(every, sessions.lengths):
            part = sessions.take(which)
            yield part.keep(choose(part.item))

    return _made(sessions, name, parts)


def joined(first: Sessions, other: Sessions) -> Sessions:
    """The sessions of both in the order of `Sessions`, in the folder `joined` beside those of the first.

    Args:
        first: in files.
        other: in memory.
    """
    lengths = np.concatenate([first.lengths, other.lengths])
    order = np.arange(len(lengths))
    if first.time is not None and first.time_kind == "timestamp":
        assert other.time is not None
        starts = [part.time.take(part.offsets[:-1]) for part in (first, other)]  # type: ignore[union-attr]
        order = np.argsort(np.concatenate(starts), kind="stable")

    def parts() -> Iterator[Sessions]:
        for which in in_stretches(order, lengths):
            mine = which < first.num_sessions
            both = first.take(which[mine]).followed_by(other.take(which[~mine] - first.num_sessions))
            place = np.empty(len(which), np.int64)
            place[np.argsort(~mine, kind="stable")] = np.arange(len(which))
            yield both.take(place)

    return _made(first, "joined", parts)


def in_stretches(order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Sessions in some order, cut so that those of a piece have about `STRETCH` events."""
    number = np.cumsum(lengths[order]) // STRETCH
    return np.split(order, np.flatnonzero(np.diff(number)) + 1)


def _made(like: Sessions, name: str, parts: Callable[[], Iterator[Sessions]]) -> Sessions:
    """Sessions that come some at a time, in a folder beside those of `like`."""
    item, ids = like.item, like.ids
    assert isinstance(item, StoredArray) and isinstance(ids, StoredIds)
    dtype = ids.array.dtype

    def make(place: Path) -> None:
        done = 0
        dtypes = {column: DTYPES[column] for column in like.names} | {"offsets": DTYPES["offsets"], "id": dtype}
        with ArrayFiles(place, dtypes) as files:
            for part in parts():
                files.add("id", encoded(part.ids.ids, dtype))
                files.add("offsets", part.offsets[:-1] + done)
                for column in like.names:
                    files.add(column, getattr(part, column))
                done += len(part)
            files.add("offsets", np.array([done]))

    return opened(made_once(item.path.parent / name, make), like, dtype)

"""Sessions stored in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnrec.core.stored_arrays import CHUNK_ENTRIES, ArrayFiles, StoredArray, made_once, stored_array
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary

DTYPES = {"item": np.int32, "time": np.float64, "event": np.int16, "offsets": np.int64}


class StoredIds:
    """Session ids stored in a file, with the methods of a `Vocabulary` that sessions need.

    Args:
        array: (n,) integers, or UTF-8 text.
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

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields all ids in order, chunk by chunk."""
        for start in range(0, len(self), CHUNK_ENTRIES):
            yield self._decoded(self.array.slice(start, start + CHUNK_ENTRIES))

    def take(self, which: np.ndarray) -> Vocabulary:
        """Returns a vocabulary of the ids at these indices, in memory."""
        return Vocabulary(self._decoded(self.array.take(which)))

    def indices(self, raw: Iterable) -> np.ndarray:
        """As `Vocabulary.indices`; reads all ids once."""
        wanted, distinct = pd.factorize(pd.Index(raw))
        sought, done = Vocabulary(distinct), 0
        found = np.full(len(sought), -1, np.int32)
        for ids in self.chunks():
            places = sought.indices(ids)
            here = np.flatnonzero(places >= 0)
            found[places[here]] = done + here
            done += len(ids)
        return found[wanted]


def encoded(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns ids in their form in files: integers, or UTF-8 of a fixed length."""
    return ids if dtype.kind == "i" else np.array([name.encode() for name in ids], dtype)


class StoredSessions(Sessions):
    """Sessions whose arrays are `StoredArray`s and whose ids are `StoredIds`: subsets are read with `take`.

    `chosen` and `joined` write their results to files beside these arrays, once, chunk by chunk; `take` and
    `in_memory` return sessions in memory.
    """

    stored = True

    @classmethod
    def open(cls, folder: Path, like: Sessions, id_dtype: np.dtype) -> StoredSessions:
        """Opens the sessions in a folder, one file per array that `like` has; other attributes are those of `like`.

        Raises:
            DataError: a file is missing or damaged.
        """
        offsets = np.asarray(stored_array(folder, "offsets", DTYPES["offsets"]))
        ids = StoredIds(StoredArray(folder / "id.bin", id_dtype, (len(offsets) - 1,)))
        number = int(offsets[-1])
        arrays = {name: StoredArray(folder / f"{name}.bin", DTYPES[name], (number,)) for name in like.names}
        return cls(**_fields(like) | {"ids": ids, "offsets": offsets} | arrays)

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        array: Any = getattr(self, name)
        for start in range(0, len(self), CHUNK_ENTRIES):
            yield array.slice(start, start + CHUNK_ENTRIES)

    def take(self, which: np.ndarray) -> Sessions:
        taken = super().take(which)
        return Sessions(**_fields(taken))

    def in_memory(self) -> Sessions:
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in self.names}
        return Sessions(**_fields(self) | {"ids": self.ids.take(np.arange(self.num_sessions))} | arrays)

    def chosen(self, name: str, choose: Callable[[np.ndarray], np.ndarray]) -> Sessions:
        every = np.arange(self.num_sessions)

        def parts() -> Iterator[Sessions]:
            for which in in_chunks(every, self.lengths):
                part = self.take(which)
                yield part.keep(choose(part.item))

        return self._made(name, parts)

    def joined(self, other: Sessions) -> Sessions:
        """As in `Sessions`; the result is stored in the folder `joined`; `other` is in memory."""
        lengths = np.concatenate([self.lengths, other.lengths])
        order = np.arange(len(lengths))
        if self.time is not None and self.time_kind == "timestamp":
            assert other.time is not None
            starts = [part.time.take(part.offsets[:-1]) for part in (self, other)]  # type: ignore[union-attr]
            order = np.argsort(np.concatenate(starts), kind="stable")

        def parts() -> Iterator[Sessions]:
            for which in in_chunks(order, lengths):
                mine = which < self.num_sessions
                both = self.take(which[mine]).followed_by(other.take(which[~mine] - self.num_sessions))
                place = np.empty(len(which), np.int64)
                place[np.argsort(~mine, kind="stable")] = np.arange(len(which))
                yield both.take(place)

        return self._made("joined", parts)

    def _made(self, name: str, parts: Callable[[], Iterator[Sessions]]) -> StoredSessions:
        """Writes sessions that come in parts to the folder `name` beside these, and opens them."""
        item, ids = self.item, self.ids
        assert isinstance(item, StoredArray) and isinstance(ids, StoredIds)
        dtype = ids.array.dtype

        def make(place: Path) -> None:
            done = 0
            dtypes = {column: DTYPES[column] for column in self.names} | {"offsets": DTYPES["offsets"], "id": dtype}
            with ArrayFiles(place, dtypes) as files:
                for part in parts():
                    files.add("id", encoded(part.ids.ids, dtype))
                    files.add("offsets", part.offsets[:-1] + done)
                    for column in self.names:
                        files.add(column, getattr(part, column))
                    done += len(part)
                files.add("offsets", np.array([done]))

        return self.open(made_once(item.path.parent / name, make), self, dtype)


def in_chunks(order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Splits an order of sessions into chunks of about `CHUNK_ENTRIES` events."""
    number = np.cumsum(lengths[order]) // CHUNK_ENTRIES
    return np.split(order, np.flatnonzero(np.diff(number)) + 1)


def _fields(sessions: Sessions) -> dict[str, Any]:
    return {entry.name: getattr(sessions, entry.name) for entry in fields(sessions)}

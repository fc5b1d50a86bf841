"""Shards of sessions; see `nnrec.splits.shards.shard_files`.

A row is an event: columns session (its raw id, int64 or text), item (int32) and optionally time (float64, seconds) and
event (int16, an index into the names in about.json). The events of a session are consecutive in one shard, in order,
and session ids are unique within a part: a session ends where the id changes.

The sessions of a part are in the order of `Sessions`. A part of n events has ceil(n / `SHARD_ROWS`) shards, and the
s-th of S sessions is in shard floor(s * shards / S).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from nnrec.core.console import ProgressBar
from nnrec.core.errors import DataError
from nnrec.core.stored_arrays import ArrayFiles
from nnrec.data.catalogue import write_catalogue
from nnrec.data.sessions import Sessions
from nnrec.data.stored.sessions import DTYPES, StoredSessions, encoded
from nnrec.data.vocabulary import Vocabulary
from nnrec.splits.sessions import SessionSplit
from nnrec.splits.shards import shard_files

# Keys of about.json besides the rows of every shard.
KEYS = ("name", "split", "sessions", "session_id_bytes", "items", "columns", "time_kind", "event_names", "notes")
COLUMNS = ("session", "item", "time", "event")
PARTS = ("train", "validation", "test")
# Events per chunk when shards are written.
CHUNK_EVENTS = 2**20


def schema_of(columns: Iterable[str], text: bool) -> pa.Schema:
    """Returns names and types of the columns of a shard.

    Args:
        columns: names of the columns.
        text: whether session ids are text.
    """
    ids = pa.string() if text else pa.int64()
    return pa.schema([(name, ids if name == "session" else pa.from_numpy_dtype(DTYPES[name])) for name in columns])


def write_split(split: SessionSplit, folder: Path, name: str) -> None:
    """Writes a split; see `nnrec.splits.shards.folder.write_shards`."""
    train = split.train
    parts = dict(zip(PARTS, (train, split.validation, split.test), strict=True))
    columns = [column for column in COLUMNS if column == "session" or getattr(train, column) is not None]
    text = [part.ids.ids for part in parts.values() if not part.ids.numeric]
    longest = max(map(longest_id, text), default=None)
    schema, rows = schema_of(columns, longest is not None), dict[str, dict[str, int]]()
    with ProgressBar("writing shards", sum(shard_files.num_shards(len(part)) for part in parts.values()), True) as bar:
        for place, part in parts.items():
            rows[place] = {}
            number = shard_files.num_shards(len(part))
            for shard in range(number):
                first, last = (-(-part.num_sessions * edge // number) for edge in (shard, shard + 1))
                if last > first:
                    file = shard_files.shard_name(shard)
                    chunks = _pieces(part, columns, first, last)
                    rows[place][file] = shard_files.write_shard(folder / place / file, schema, chunks)
                bar.advance()
    sizes = {place: part.num_sessions for place, part in parts.items()}
    write_catalogue(folder, train)
    shard_files.write_about(folder, about_of(name, train, columns, sizes, longest, split.definition), rows)


def longest_id(ids: Iterable[str]) -> int:
    """Returns the number of bytes of the longest of some text ids."""
    return max((len(name.encode()) for name in ids), default=1)


def _pieces(part: Sessions, columns: list[str], first: int, last: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields the events of the sessions `first` ... `last` - 1, chunk by chunk."""
    while first < last:
        stop = int(np.searchsorted(part.offsets, part.offsets[first] + CHUNK_EVENTS, side="right")) - 1
        stop = min(max(stop, first + 1), last)
        events = slice(int(part.offsets[first]), int(part.offsets[stop]))
        ids = np.repeat(part.ids.index[first:stop].to_numpy(), part.lengths[first:stop])
        yield {name: ids if name == "session" else getattr(part, name)[events] for name in columns}
        first = stop


def about_of(
    name: str, sessions: Sessions, columns: Iterable[str], sizes: Mapping[str, int], longest: int | None, how: str
) -> dict[str, Any]:
    """Returns the content of about.json besides the rows of every shard.

    Args:
        name: name of the data.
        sessions: source of the number of items, kind of times, names of events and notes.
        columns: columns of the shards.
        sizes: part -> number of sessions.
        longest: bytes of the longest session id; None if ids are numbers.
        how: definition of the split.
    """
    return {
        "family": "sessions",
        "name": name,
        "split": how,
        "sessions": dict(sizes),
        "session_id_bytes": longest,
        "items": sessions.num_items,
        "columns": list(columns),
        "time_kind": sessions.time_kind,
        "event_names": list(sessions.event_names),
        "notes": list(sessions.notes),
    }


def read(folder: Path, about: Mapping[str, Any], cache: shard_files.Cache) -> SessionSplit:
    """Reads the split; see `nnrec.splits.read_shards`."""
    numeric = about["session_id_bytes"] is None
    nothing: dict[str, Any] = {name: np.zeros(0, DTYPES[name]) for name in about["columns"] if name != "session"}
    empty = Sessions(
        ids=Vocabulary(np.zeros(0, np.int64 if numeric else str)),
        items=shard_files.read_vocabulary(folder, "item", about),
        item_table=shard_files.read_table_of(folder, "item"),
        offsets=np.zeros(1, np.int64),
        time_kind=about["time_kind"],
        event_names=tuple(about["event_names"]),
        **nothing,
    )
    train = _train(folder, about, empty, cache)
    validation, test = (_in_memory(folder, part, about, empty) for part in PARTS[1:])
    apart = f"{len(validation):,} more events are for validation and {len(test):,} for test"
    notes = (*about["notes"], f"This is the training part of {folder}; {apart}.", *train.notes)
    return SessionSplit(replace(train, notes=notes), validation, test, about["split"])


class _Chunk(NamedTuple):
    """A chunk of consecutive events.

    Attributes:
        starts: positions at which sessions start; the first events may belong to a session of the previous chunk.
        ids: ids of the sessions that start here.
        arrays: item, time, event.
    """

    starts: np.ndarray
    ids: np.ndarray
    arrays: dict[str, np.ndarray]


def _train(folder: Path, about: Mapping[str, Any], empty: Sessions, cache: shard_files.Cache) -> Sessions:
    dtypes: dict[str, Any] = {name: DTYPES[name] for name in about["columns"] if name != "session"}
    dtypes |= {"offsets": DTYPES["offsets"], "id": _id_dtype(about)}

    def make(place: Path) -> None:
        done, names = 0, about["rows"]["train"]
        with ArrayFiles(place, dtypes) as files, ProgressBar("reading shards", len(names), transient=True) as bar:
            for name in names:
                for chunk in _chunks(folder, "train", about, [name]):
                    files.add("offsets", chunk.starts + done)
                    files.add("id", encoded(chunk.ids, dtypes["id"]))
                    for column, array in chunk.arrays.items():
                        files.add(column, array)
                    done += len(chunk.arrays["item"])
                bar.advance()
                bar.report("")
            files.add("offsets", np.array([done]))

    row_bytes = sum(np.dtype(DTYPES[name]).itemsize for name in about["columns"] if name != "session")
    arrays = shard_files.made_arrays(folder, about, cache, row_bytes, make)
    if arrays is None:
        return _in_memory(folder, "train", about, empty)
    return _counted(folder, "train", about, StoredSessions.open(arrays, empty, dtypes["id"])).noted(
        f"Arrays in {arrays}."
    )


def _id_dtype(about: Mapping[str, Any]) -> np.dtype:
    """Returns the dtype of session ids in files."""
    longest = about["session_id_bytes"]
    return np.dtype(np.int64 if longest is None else f"S{longest}")


def _in_memory(folder: Path, part: str, about: Mapping[str, Any], empty: Sessions) -> Sessions:
    starts, ids = [np.zeros(0, np.int64)], [empty.ids.ids]
    found: dict[str, list[np.ndarray]] = {name: [getattr(empty, name)] for name in empty.names}
    done = 0
    for chunk in _chunks(folder, part, about, about["rows"][part]):
        starts.append(chunk.starts + done)
        ids.append(chunk.ids)
        for name, array in chunk.arrays.items():
            found[name].append(array)
        done += len(chunk.arrays["item"])
    arrays: dict[str, Any] = {name: np.concatenate(pieces) for name, pieces in found.items()}
    offsets = np.concatenate([*starts, [done]])
    return _counted(folder, part, about, replace(empty, ids=Vocabulary(np.concatenate(ids)), offsets=offsets, **arrays))


def _counted(folder: Path, part: str, about: Mapping[str, Any], sessions: Sessions) -> Sessions:
    expected = about["sessions"][part]
    if sessions.num_sessions != expected:
        found = f"{sessions.num_sessions:,} sessions, about.json says {expected:,}"
        raise DataError(f"{folder / part} holds {found}: are the events of each session together?")
    return sessions


def _chunks(folder: Path, part: str, about: Mapping[str, Any], names: Iterable[str]) -> Iterator[_Chunk]:
    """Yields the events of some shards chunk by chunk, checked; every shard starts with a new session."""
    schema = schema_of(about["columns"], about["session_id_bytes"] is not None)
    for name in names:
        path, last = folder / part / name, None
        for batch in shard_files.read_rows(path, schema, about["rows"][part][name]):
            if not len(batch):
                continue
            session = batch["session"].to_numpy(zero_copy_only=False)
            begins = np.append(session[0] != last, session[1:] != session[:-1])
            last = session[-1]
            arrays = {column: batch[column].to_numpy() for column in schema.names if column != "session"}
            shard_files.check_codes(path, "item", arrays["item"], about)
            yield _Chunk(np.flatnonzero(begins), session[begins], arrays)

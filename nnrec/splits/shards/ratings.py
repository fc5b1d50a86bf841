"""Shards of ratings; see `nnrec.splits.shards.shard_files`.

Columns are user, item (int32), value (float32) and optionally time (int64, seconds), weight (float32), event (int16, an
index into the names in about.json). In splits with new users, the histories of held-out users are in the folders
validation_history/ and test_history/.

The rows of a part are in the order of `Ratings`: by user, then time, then order of arrival. A part of n rows has
ceil(n / `SHARD_ROWS`) shards, and user u of U is in shard floor(u * shards / U); a shard without a rating has no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nnrec.core.console import ProgressBar
from nnrec.core.errors import DataError
from nnrec.core.stored_arrays import ArrayFiles
from nnrec.data.catalogue import write_catalogue
from nnrec.data.ratings import Ratings
from nnrec.data.stored.ratings import DTYPES, StoredRatings
from nnrec.splits.shards import shard_files
from nnrec.splits.split import HeldOut, Split

# Keys of about.json besides the rows of every shard.
KEYS = ("name", "split", "new_users", "users", "items", "columns", "time_kind", "event_names", "notes")
COLUMNS = ("user", "item", "value", "time", "weight", "event")


def schema_of(columns: Iterable[str]) -> pa.Schema:
    """Returns names and types of the columns of a shard."""
    return pa.schema([(name, pa.from_numpy_dtype(DTYPES[name])) for name in columns])


def write_split(split: Split, folder: Path, name: str) -> None:
    """Writes a split; see `nnrec.splits.shards.folder.write_shards`."""
    train = split.train
    parts = {"train": train, "validation": split.validation.target, "test": split.test.target}
    if split.new_users:
        parts |= {"validation_history": split.validation.history, "test_history": split.test.history}
    columns = [column for column in COLUMNS if column in train.names]
    schema, rows = schema_of(columns), dict[str, dict[str, int]]()
    with ProgressBar(
        "writing shards", sum(shard_files.num_shards(len(part)) for part in parts.values()), transient=True
    ) as bar:
        for place, part in parts.items():
            rows[place] = {}
            number = shard_files.num_shards(len(part))
            shard = part.user.astype(np.int64) * number // part.num_users
            edges = np.searchsorted(shard, np.arange(number + 1))
            for shard_number, (start, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
                if stop > start:
                    chunk = {column: getattr(part, column)[start:stop] for column in columns}
                    file = shard_files.shard_name(shard_number)
                    rows[place][file] = shard_files.write_shard(folder / place / file, schema, [chunk])
                bar.advance()
    write_catalogue(folder, train)
    shard_files.write_about(folder, about_of(name, train, columns, split.definition, split.new_users), rows)


def about_of(name: str, ratings: Ratings, columns: Iterable[str], definition: str, new_users: bool) -> dict[str, Any]:
    """Returns the content of about.json besides the rows of every shard.

    Args:
        name: name of the data.
        ratings: source of the vocabularies' sizes, kind of times, names of events and notes.
        columns: columns of the shards.
        definition, new_users: attributes of the split.
    """
    return {
        "family": "ratings",
        "name": name,
        "split": definition,
        "new_users": new_users,
        "users": ratings.num_users,
        "items": ratings.num_items,
        "columns": list(columns),
        "time_kind": ratings.time_kind,
        "event_names": list(ratings.event_names),
        "notes": list(ratings.notes),
    }


def read(folder: Path, about: Mapping[str, Any], cache: shard_files.Cache) -> Split:
    """Reads the split; see `nnrec.splits.read_shards`."""
    nothing: dict[str, Any] = {name: np.zeros(0, DTYPES[name]) for name in about["columns"]}
    for role in ("user", "item"):
        nothing |= {f"{role}s": shard_files.read_vocabulary(folder, role, about)}
        nothing |= {f"{role}_table": shard_files.read_table_of(folder, role)}
    empty = Ratings(time_kind=about["time_kind"], event_names=tuple(about["event_names"]), **nothing)

    def part(name: str) -> Ratings:
        return _in_memory(folder, name, about, empty)

    train, validation, test = _train(folder, about, empty, cache), part("validation"), part("test")
    apart = f"{len(validation):,} more ratings are for validation and {len(test):,} for test"
    train = replace(train, notes=(*about["notes"], f"This is the training part of {folder}; {apart}.", *train.notes))
    seen = [part(f"{name}_history") if about["new_users"] else train for name in ("validation", "test")]
    return Split(train, HeldOut(seen[0], validation), HeldOut(seen[1], test), about["split"], about["new_users"])


def _train(folder: Path, about: Mapping[str, Any], empty: Ratings, cache: shard_files.Cache) -> Ratings:
    def make(place: Path) -> None:
        with (
            ArrayFiles(place, {name: DTYPES[name] for name in about["columns"]}) as files,
            ProgressBar("reading shards", len(about["rows"]["train"]), transient=True) as bar,
        ):
            for shard in about["rows"]["train"]:
                for chunk in _chunks(folder, "train", about, [shard]):
                    for name, array in chunk.items():
                        files.add(name, array)
                bar.advance()
                bar.report("")

    row_bytes = sum(np.dtype(DTYPES[name]).itemsize for name in about["columns"])
    arrays = shard_files.made_arrays(folder, about, cache, row_bytes, make)
    if arrays is None:
        return _in_memory(folder, "train", about, empty)
    return StoredRatings.open(arrays, empty).noted(f"Arrays in {arrays}.")


def _in_memory(folder: Path, part: str, about: Mapping[str, Any], empty: Ratings) -> Ratings:
    names = about["rows"].get(part, {})
    chunks = [{name: getattr(empty, name) for name in empty.names}, *_chunks(folder, part, about, names)]
    arrays: dict[str, Any] = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in empty.names}
    return replace(empty, **arrays)


def _chunks(folder: Path, part: str, about: Mapping[str, Any], names: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the rows of some shards chunk by chunk, checked."""
    schema, last = schema_of(about["columns"]), 0
    for name in names:
        path = folder / part / name
        for batch in shard_files.read_rows(path, schema, about["rows"][part][name]):
            chunk = {column: batch[column].to_numpy() for column in schema.names}
            _check_order(path, chunk["user"], last)
            for role in ("user", "item"):
                shard_files.check_codes(path, role, chunk[role], about)
            last = int(chunk["user"][-1]) if len(batch) else last
            yield chunk


def _check_order(path: Path, user: np.ndarray, last: int) -> None:
    """Raises DataError if users are not in ascending order."""
    if len(user) and (user[0] < last or (np.diff(user) < 0).any()):
        raise DataError(f"{path} is not in the order of users, as shards are: was it written by something else?")

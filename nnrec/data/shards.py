"""Folders of shards: ratings that are filtered, split and encoded, in Parquet files of any number and size.

    about.json                  what the folder holds: version, split, sizes, the rows of every shard
    users.parquet, items.parquet            raw ids in index order
    item_table.parquet, user_table.parquet  titles, ... in index order (where the source has them)
    train/part-00000.parquet    columns user, item (int32), value (float32) and, where there are such, time (int64,
      ...                       seconds), weight (float32), event (int16, an index into the names in about.json)
    validation/, test/          what is to be predicted
    validation_history/, test_history/      what may be seen of users who are held out whole

The rows of a part are in the order of `Ratings`: by user, then time, then order of arrival. A part of n rows makes
ceil(n / `SHARD_ROWS`) shards, and user u of U is in shard floor(u * shards / U); a shard without a rating has no file.
The same ratings and split therefore give the same files, whoever writes them: `prepare.py` or `nnrec.spark`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nnrec.console import ProgressBar
from nnrec.data.ratings import Ratings
from nnrec.data.splits import HeldOut, Split
from nnrec.data.stored import ArrayFiles, made_once
from nnrec.data.stored_ratings import DTYPES, opened
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import ConfigError, DataError

# Raised when the meaning of a folder's files changes.
VERSION = 1
SHARD_ROWS = 4_000_000
# Rows that are written, and can be read, at a time.
GROUP_ROWS = 2**17
COLUMNS = ("user", "item", "value", "time", "weight", "event")
# A training part of more bytes is read into arrays in files, unless somebody says otherwise.
IN_MEMORY_BYTES = 2**28

Cache = str | Path | None


def schema_of(columns: Iterable[str]) -> pa.Schema:
    """Names and types of the columns of a shard."""
    return pa.schema([(name, pa.from_numpy_dtype(DTYPES[name])) for name in columns])


def num_shards(rows: int) -> int:
    """How many shards so many rows make."""
    return -(-rows // SHARD_ROWS)


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"part-{number:05d}.parquet"


def write_shard(path: Path, columns: Iterable[str], chunks: Iterable[Mapping[str, np.ndarray]]) -> int:
    """Writes one shard, whole or not at all, and returns its number of rows.

    Args:
        columns: which there are.
        chunks: the rows in their order, some at a time.
    """
    from nnrec.runs import atomic

    schema, rows, waiting, held = schema_of(columns), 0, [], 0
    with atomic(path) as place, pq.ParquetWriter(place, schema) as writer:

        def write(table: pa.Table, most: int) -> pa.Table:
            done = 0
            while len(table) - done >= most:
                writer.write_table(table.slice(done, most), row_group_size=most)
                done += most
            return table.slice(done)

        for chunk in chunks:
            waiting.append(pa.table({name: pa.array(chunk[name], schema.field(name).type) for name in schema.names}))
            held, rows = held + len(waiting[-1]), rows + len(waiting[-1])
            if held >= GROUP_ROWS:
                waiting = [write(pa.concat_tables(waiting).combine_chunks(), GROUP_ROWS)]
                held = len(waiting[0])
        if held:
            rest = pa.concat_tables(waiting).combine_chunks()
            writer.write_table(rest, row_group_size=len(rest))
    return rows


def write_shards(split: Split, folder: Path, name: str) -> None:
    """Writes a split as a folder of shards; about.json comes last.

    Args:
        folder: is empty, or not there.
        name: what the data are called.
    """
    train = split.train
    parts = {"train": train, "validation": split.validation.target, "test": split.test.target}
    if split.new_users:
        parts |= {"validation_history": split.validation.history, "test_history": split.test.history}
    columns = [column for column in COLUMNS if column in train.names]
    rows: dict[str, dict[str, int]] = {}
    with ProgressBar("writing shards", sum(num_shards(len(part)) for part in parts.values()), transient=True) as bar:
        for place, part in parts.items():
            rows[place] = {}
            number = num_shards(len(part))
            shard = part.user.astype(np.int64) * number // part.num_users
            edges = np.searchsorted(shard, np.arange(number + 1))
            for shard_number, (start, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
                if stop > start:
                    chunk = {column: getattr(part, column)[start:stop] for column in columns}
                    file = shard_name(shard_number)
                    rows[place][file] = write_shard(folder / place / file, columns, [chunk])
                bar.advance()
    write_catalogue(folder, train)
    write_about(folder, name, train, columns, rows, split.definition, split.new_users)


def write_catalogue(folder: Path, ratings: Ratings) -> None:
    """Writes the vocabularies and, where there are such, the tables of items and users."""
    from nnrec.runs import RunFolder

    folder.mkdir(parents=True, exist_ok=True)
    RunFolder(folder).write_catalogue(ratings)


def write_about(
    folder: Path,
    name: str,
    ratings: Ratings,
    columns: Iterable[str],
    rows: Mapping[str, Mapping[str, int]],
    definition: str,
    new_users: bool,
) -> None:
    """Writes about.json, with which a folder is complete.

    Args:
        ratings: tells vocabularies, kind of times, names of events and notes.
        rows: part -> shard -> rows.
        definition, new_users: of the split.
    """
    from nnrec.runs import RunFolder

    about = {
        "version": VERSION,
        "family": "ratings",
        "name": name,
        "split": definition,
        "new_users": new_users,
        "users": ratings.num_users,
        "items": ratings.num_items,
        "columns": list(columns),
        "time_kind": ratings.time_kind,
        "event_names": list(ratings.event_names),
        "rows": {part: dict(sorted(shards.items())) for part, shards in rows.items()},
        "notes": list(ratings.notes),
    }
    RunFolder(folder).write_json("about.json", about)


def check_free(folder: Path) -> None:
    """Makes sure that shards can go here.

    Raises:
        ConfigError: the folder already holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"output={folder} already holds something. Choose another folder, or remove it.")


@dataclass(frozen=True)
class Prepared:
    """The split that the data came with: of `data=shards`."""

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        if ratings.given is None:
            raise ConfigError(
                "These data come without a split: split=prepared is that of data=shards. Use split=random, ..."
            )
        return ratings.given


def read_shards(path: str | Path, cache: Cache = "auto") -> Ratings:
    """The training part of a folder of shards; `given` is the whole split.

    In files, what is in memory is the vocabularies with their tables, a number per user and item, and the parts that
    are not trained on.

    Args:
        path: the folder.
        cache: a folder for the arrays of the training part, in which a folder of their own is made once, in passing;
            "auto" = where they are larger than 256 MiB, $XDG_CACHE_HOME/nnrec (~/.cache/nnrec); None = into memory. A
            change of a shard makes a new folder.

    Raises:
        DataError: no such folder, or another version's; a shard is missing, or holds what it should not.
    """
    folder = Path(path).expanduser()
    about = _about(folder)
    users, items = (Vocabulary.load(_there(folder / f"{name}.parquet")) for name in ("users", "items"))
    for name, vocabulary in (("users", users), ("items", items)):
        if len(vocabulary) != about["users" if name == "users" else "items"]:
            raise DataError(f"{folder / name}.parquet holds {len(vocabulary):,} ids, about.json says {about[name]:,}.")
    tables = {f"{role}_table": folder / f"{role}_table.parquet" for role in ("user", "item")}
    nothing: dict[str, Any] = {name: np.zeros(0, DTYPES[name]) for name in about["columns"]}
    nothing |= {name: pd.read_parquet(file) if file.is_file() else None for name, file in tables.items()}
    empty = Ratings(
        users=users,
        items=items,
        time_kind=about["time_kind"],
        event_names=tuple(about["event_names"]),
        **nothing,
    )

    def part(name: str) -> Ratings:
        return _in_memory(folder, name, about, empty)

    train = _train(folder, about, empty, cache)
    if about["new_users"]:
        validation, test = (HeldOut(part(f"{name}_history"), part(name)) for name in ("validation", "test"))
    else:
        validation, test = (HeldOut(train, part(name)) for name in ("validation", "test"))
    split = Split(train, validation, test, about["split"], about["new_users"])
    apart = f"{len(validation.target):,} more ratings are for validation and {len(test.target):,} for test"
    notes = (*about["notes"], f"This is the training part of {folder}; {apart}.", *train.notes)
    return replace(train, given=split, notes=notes)


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "about.json"
    if not file.is_file():
        raise DataError(
            f"{folder.absolute()} is no folder of shards: it has no about.json, which is written last. Make one with "
            "python prepare.py data=... split=... output=<folder>, and set data.source.path to it."
        )
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version, family = about["version"], about["family"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}") from error
    if version != VERSION:
        raise DataError(
            f"{folder} is of version {version} of the format, and this nnrec reads version {VERSION}: make it anew "
            "with prepare.py."
        )
    if family != "ratings":
        raise DataError(f"{folder} holds {family}, and data=shards reads ratings.")
    return about


def _there(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file} is missing: the folder of shards is not complete. Copy it again, or make it anew.")
    return file


def _train(folder: Path, about: Mapping[str, Any], empty: Ratings, cache: Cache) -> Ratings:
    rows = sum(about["rows"]["train"].values())
    if cache == "auto":
        large = rows * sum(np.dtype(DTYPES[name]).itemsize for name in about["columns"]) > IN_MEMORY_BYTES
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "nnrec" if large else None
    if cache is None:
        return _in_memory(folder, "train", about, empty)
    stats = [_there(folder / "train" / name).stat() for name in about["rows"]["train"]]
    told = [str(folder.absolute()), about, [[stat.st_size, stat.st_mtime_ns] for stat in stats]]
    made = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

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

    arrays = made_once(Path(cache).expanduser().absolute() / f"{folder.absolute().name}-{made}", make)
    return opened(arrays, empty).noted(f"Arrays in {arrays}.")


def _in_memory(folder: Path, part: str, about: Mapping[str, Any], empty: Ratings) -> Ratings:
    shards = about["rows"].get(part, {})
    chunks = [{name: getattr(empty, name) for name in empty.names}, *_chunks(folder, part, about, shards)]
    arrays: dict[str, Any] = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in empty.names}
    return replace(empty, **arrays)


def _chunks(
    folder: Path, part: str, about: Mapping[str, Any], shards: Iterable[str]
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of some shards, checked."""
    schema, last = schema_of(about["columns"]), 0
    for name in shards:
        path = _there(folder / part / name)
        try:
            file = pq.ParquetFile(path)
            _check(path, file, schema, about["rows"][part][name])
            for batch in file.iter_batches(GROUP_ROWS, columns=schema.names):
                chunk = {column: batch[column].to_numpy() for column in schema.names}
                _check_rows(path, chunk, last, about)
                last = int(chunk["user"][-1]) if len(batch) else last
                yield chunk
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} is not a Parquet file, or is damaged: {error}") from error


def _check(path: Path, file: pq.ParquetFile, schema: pa.Schema, rows: int) -> None:
    found = file.schema_arrow
    for field in schema:
        if field.name not in found.names:
            raise DataError(f"{path} has no column {field.name!r}. Found: {', '.join(found.names)}.")
        if found.field(field.name).type != field.type:
            raise DataError(
                f"{path}: column {field.name!r} holds {found.field(field.name).type}, and should hold {field.type}."
            )
    if file.metadata.num_rows != rows:
        raise DataError(f"{path} has {file.metadata.num_rows:,} rows, about.json says {rows:,}.")


def _check_rows(path: Path, chunk: Mapping[str, np.ndarray], last: int, about: Mapping[str, Any]) -> None:
    """Users ascend, and ids are in the vocabularies."""
    user, item = chunk["user"], chunk["item"]
    if not len(user):
        return
    if user[0] < last or (np.diff(user) < 0).any():
        raise DataError(f"{path} is not in the order of users, as shards are: was it written by something else?")
    for name, codes in (("user", user), ("item", item)):
        if codes.min() < 0 or codes.max() >= about[f"{name}s"]:
            raise DataError(f"{path}: column {name!r} holds an index that {name}s.parquet does not have.")

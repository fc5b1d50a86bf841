"""Folders of shards: data that are filtered, split and encoded, in Parquet files of any number and size.

    about.json                  what the folder holds: version, family, split, sizes, the rows of every shard
    items.parquet, users.parquet            raw ids in index order
    item_table.parquet, user_table.parquet  titles, ... in index order (where the source has them)
    train/part-00000.parquet ...            what is learnt from
    validation/, test/          what is to be predicted

`nnrec.data.rating_shards` and `nnrec.data.session_shards` say what the rows are, and which row is in which shard. The
same data and split give the same files, whoever writes them: `prepare.py` or `nnrec.spark`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nnrec.calling import typed
from nnrec.data.stored import made_once
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nnrec.data.ratings import Ratings
    from nnrec.data.session_splits import SessionSplit
    from nnrec.data.sessions import Sessions
    from nnrec.data.splits import Split

# Raised when the meaning of a folder's files changes.
VERSION = 1
SHARD_ROWS = 4_000_000
# Rows that are written, and can be read, at a time.
GROUP_ROWS = 2**17
# A training part of more bytes is read into arrays in files, unless somebody says otherwise.
IN_MEMORY_BYTES = 2**28

Cache = str | Path | None


def num_shards(rows: int) -> int:
    """How many shards so many rows make."""
    return -(-rows // SHARD_ROWS)


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"part-{number:05d}.parquet"


def write_shard(path: Path, schema: pa.Schema, chunks: Iterable[Mapping[str, np.ndarray]]) -> int:
    """Writes one shard, whole or not at all, and returns its number of rows.

    Args:
        schema: names and types of the columns.
        chunks: the rows in their order, some at a time.
    """
    from nnrec.runs import atomic

    rows, waiting, held = 0, [], 0
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


def write_shards(split: Split | SessionSplit, folder: Path, name: str) -> None:
    """Writes a split as a folder of shards; about.json comes last.

    Args:
        folder: is empty, or not there.
        name: what the data are called.
    """
    from nnrec.data import rating_shards, session_shards

    family: Any = session_shards if split.train.family == "sessions" else rating_shards
    family.write_split(split, folder, name)


def write_catalogue(folder: Path, data: Ratings | Sessions) -> None:
    """Writes the vocabularies and, where there are such, the tables of items and users."""
    from nnrec.runs import RunFolder

    RunFolder(folder).write_catalogue(data)


def write_about(folder: Path, about: Mapping[str, Any], rows: Mapping[str, Mapping[str, int]]) -> None:
    """Writes about.json, with which a folder is complete.

    Args:
        about: family, name, split, sizes, ...: what the family needs.
        rows: part -> shard -> rows.
    """
    from nnrec.runs import RunFolder

    sorted_rows = {part: dict(sorted(shards.items())) for part, shards in rows.items()}
    RunFolder(folder).write_json("about.json", {"version": VERSION, **about, "rows": sorted_rows})


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

    def __call__(self, data: Ratings | Sessions, seed: int) -> Split | SessionSplit:
        if data.given is None:
            raise ConfigError(
                "These data come without a split: split=prepared is that of data=shards. Use split=random, ..."
            )
        return data.given


def read_shards(path: str | Path, cache: Cache = "auto") -> Ratings | Sessions:
    """The training part of a folder of shards; `given` is the whole split.

    In files, what is in memory is the vocabularies with their tables, a number per user (or session) and item, and the
    parts that are not trained on.

    Args:
        path: the folder.
        cache: a folder for the arrays of the training part, in which a folder of their own is made once, in passing;
            "auto" = where they are larger than 256 MiB, $XDG_CACHE_HOME/nnrec (~/.cache/nnrec); None = into memory. A
            change of a shard makes a new folder.

    Raises:
        DataError: no such folder, or another version's; a shard is missing, or holds what it should not.
    """
    from nnrec.data import rating_shards, session_shards

    folder = Path(path).expanduser()
    about = _about(folder)
    families: dict[str, Any] = {"ratings": rating_shards, "sessions": session_shards}
    if about["family"] not in families:
        raise DataError(f"{folder} holds {about['family']}, and data=shards reads {' and '.join(families)}.")
    family = families[about["family"]]
    for key in (*family.KEYS, "rows"):
        if key not in about:
            raise DataError(f"{folder / 'about.json'} is damaged: it does not say {key!r}. Make the folder anew.")
    return family.read(folder, about, cache)


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "about.json"
    if not file.is_file():
        raise DataError(
            f"{folder.absolute()} is no folder of shards: it has no about.json, which is written last. Make one with "
            f"{typed('prepare')} data=... split=... output=<folder>, and set data.source.path to it."
        )
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version, _ = about["version"], about["family"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}") from error
    if version != VERSION:
        raise DataError(
            f"{folder} is of version {version} of the format, and this nnrec reads version {VERSION}: make it anew "
            "with prepare.py."
        )
    return about


def there(file: Path) -> Path:
    """The file; raises DataError where it is missing."""
    if not file.is_file():
        raise DataError(f"{file} is missing: the folder of shards is not complete. Copy it again, or make it anew.")
    return file


def read_vocabulary(folder: Path, role: str, about: Mapping[str, Any]) -> Vocabulary:
    """The ids of users or items ("user", "item"), as many as about.json says."""
    vocabulary, number = Vocabulary.load(there(folder / f"{role}s.parquet")), about[f"{role}s"]
    if len(vocabulary) != number:
        raise DataError(f"{folder / f'{role}s'}.parquet holds {len(vocabulary):,} ids, about.json says {number:,}.")
    return vocabulary


def read_table_of(folder: Path, role: str) -> pd.DataFrame | None:
    """What is known of users or items, in index order; None where nothing is."""
    file = folder / f"{role}_table.parquet"
    return pd.read_parquet(file) if file.is_file() else None


def made_arrays(
    folder: Path, about: Mapping[str, Any], cache: Cache, row_bytes: int, make: Callable[[Path], None]
) -> Path | None:
    """The folder with the arrays of the training part, which `make` fills once; None where they go into memory.

    Args:
        cache: as in `read_shards`.
        row_bytes: of a row, in arrays.
    """
    if cache == "auto":
        large = sum(about["rows"]["train"].values()) * row_bytes > IN_MEMORY_BYTES
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "nnrec" if large else None
    if cache is None:
        return None
    stats = [there(folder / "train" / name).stat() for name in about["rows"]["train"]]
    told = [str(folder.absolute()), about, [[stat.st_size, stat.st_mtime_ns] for stat in stats]]
    made = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return made_once(Path(cache).expanduser().absolute() / f"{folder.absolute().name}-{made}", make)


def read_rows(path: Path, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, some at a time.

    Args:
        rows: how many there should be.

    Raises:
        DataError: the file is missing, or holds something else.
    """
    try:
        file = pq.ParquetFile(there(path))
        _check(path, file, schema, rows)
        yield from file.iter_batches(GROUP_ROWS, columns=schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file, or is damaged: {error}") from error


def check_codes(path: Path, name: str, codes: np.ndarray, about: Mapping[str, Any]) -> None:
    """Raises DataError for an index ("user", "item") that its vocabulary does not have."""
    if len(codes) and (codes.min() < 0 or codes.max() >= about[f"{name}s"]):
        raise DataError(f"{path}: column {name!r} holds an index that {name}s.parquet does not have.")


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

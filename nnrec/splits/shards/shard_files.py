"""Files of a folder of shards: filtered, split and encoded data in any number of Parquet files.

    about.json                  description of the folder: version, family, split, sizes, the rows of every shard
    items.parquet, users.parquet            raw ids in index order
    item_table.parquet, user_table.parquet  titles etc. in index order (if the source has them)
    train/part-00000.parquet ...            the training part
    validation/, test/          the targets of the held-out parts

See `nnrec.splits.shards.ratings` and `nnrec.splits.shards.sessions` for the format of rows and their assignment to
shards. `prepare.py` and `nnrec.spark` write the same files for the same data and split.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nnrec.core.errors import DataError
from nnrec.core.files import atomic, write_json
from nnrec.core.stored_arrays import made_once
from nnrec.data.vocabulary import Vocabulary

# Version of the format; raised when the meaning of the files changes.
VERSION = 1
SHARD_ROWS = 4_000_000
# Rows of a Parquet row group, which are written and read at a time.
GROUP_ROWS = 2**17
# With cache="auto", the arrays of larger training parts are stored in files.
IN_MEMORY_BYTES = 2**28

Cache = str | Path | None


def num_shards(rows: int) -> int:
    """Returns the number of shards for a number of rows."""
    return -(-rows // SHARD_ROWS)


def shard_name(number: int) -> str:
    """Returns the file name of a shard."""
    return f"part-{number:05d}.parquet"


def write_shard(path: Path, schema: pa.Schema, chunks: Iterable[Mapping[str, np.ndarray]]) -> int:
    """Writes one shard atomically and returns its number of rows.

    Args:
        path: the file.
        schema: names and types of the columns.
        chunks: the rows in order, chunk by chunk.
    """
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


def write_about(folder: Path, about: Mapping[str, Any], rows: Mapping[str, Mapping[str, int]]) -> None:
    """Writes about.json, which completes a folder.

    Args:
        folder: the folder of shards.
        about: family, name, split, sizes, ...: the keys of the family.
        rows: part -> shard -> number of rows.
    """
    sorted_rows = {part: dict(sorted(shards.items())) for part, shards in rows.items()}
    write_json(folder / "about.json", {"version": VERSION, **about, "rows": sorted_rows})


def there(file: Path) -> Path:
    """Returns the file; raises DataError if it is missing."""
    if not file.is_file():
        raise DataError(f"{file} is missing: the folder of shards is not complete. Copy it again, or make it anew.")
    return file


def read_vocabulary(folder: Path, role: str, about: Mapping[str, Any]) -> Vocabulary:
    """Reads the ids of users or items ("user", "item"); raises DataError if their number differs from about.json."""
    vocabulary, number = Vocabulary.load(there(folder / f"{role}s.parquet")), about[f"{role}s"]
    if len(vocabulary) != number:
        raise DataError(f"{folder / f'{role}s'}.parquet holds {len(vocabulary):,} ids, about.json says {number:,}.")
    return vocabulary


def read_table_of(folder: Path, role: str) -> pd.DataFrame | None:
    """Reads the table of users or items, in index order; None if there is none."""
    file = folder / f"{role}_table.parquet"
    return pd.read_parquet(file) if file.is_file() else None


def made_arrays(
    folder: Path, about: Mapping[str, Any], cache: Cache, row_bytes: int, make: Callable[[Path], None]
) -> Path | None:
    """Returns the folder with the arrays of the training part, which `make` fills once; None for arrays in memory.

    Args:
        folder: the folder of shards.
        about: content of about.json.
        cache: as in `read_shards`.
        row_bytes: bytes of a row in the arrays.
        make: writes the arrays to a folder.
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
    """Yields the rows of a shard, `GROUP_ROWS` at a time.

    Args:
        path: the file.
        schema: the expected columns.
        rows: the expected number of rows.

    Raises:
        DataError: the file is missing or damaged, or its columns or number of rows are not as expected.
    """
    try:
        file = pq.ParquetFile(there(path))
        _check(path, file, schema, rows)
        yield from file.iter_batches(GROUP_ROWS, columns=schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file, or is damaged: {error}") from error


def check_codes(path: Path, name: str, codes: np.ndarray, about: Mapping[str, Any]) -> None:
    """Raises DataError for an index of a user or item ("user", "item") outside its vocabulary."""
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

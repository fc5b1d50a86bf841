"""Writes top-N lists in blocks: CSV, TSV, JSON lines, Parquet and DSSTNE's text format."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc

from nnrec.core.errors import ConfigError, DataError
from nnrec.core.files import atomic

Write = Callable[[pa.Table], None]


def format_of(path: Path, name: str | None = None) -> str:
    """The format of a file: the given one, or by the file's suffix.

    Raises:
        ConfigError: the format or the suffix is unknown.
    """
    if name is not None:
        if name not in FORMATS:
            raise ConfigError(f"format must be one of {', '.join(FORMATS)}. Received: {name}")
        return name
    if (suffix := path.suffix.lower().removeprefix(".")) in FORMATS:
        return suffix
    raise ConfigError(
        f"The suffix of {path} does not tell how to write it. Use .{', .'.join(FORMATS)}, or set "
        f"format=<{'|'.join(FORMATS)}>."
    )


@contextmanager
def writer(path: Path, file_format: str, schema: pa.Schema) -> Iterator[Write]:
    """Context manager that yields a function to append a table. The file appears complete, on success only.

    Args:
        path: the file; an existing one is replaced.
        file_format: a key of `FORMATS`.
        schema: of the tables.

    Raises:
        RunError: the file cannot be written.
        DataError: the format cannot hold an id.
    """
    with atomic(path) as temporary, FORMATS[file_format](temporary, schema) as write:
        yield write


@contextmanager
def _csv(path: Path, schema: pa.Schema, separator: str = ",") -> Iterator[Write]:
    with _text(path) as stream:
        lines = csv.writer(stream, delimiter=separator, lineterminator="\n")
        lines.writerow(schema.names)
        yield lambda table: lines.writerows(_records(table))


def _tsv(path: Path, schema: pa.Schema) -> AbstractContextManager[Write]:
    return _csv(path, schema, separator="\t")


@contextmanager
def _jsonl(path: Path, schema: pa.Schema) -> Iterator[Write]:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with _text(path) as stream:
        yield lambda table: stream.writelines(
            encode(dict(zip(schema.names, record, strict=True))) + "\n" for record in _records(table)
        )


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Write]:
    import pyarrow.parquet

    with path.open("wb") as stream, pyarrow.parquet.ParquetWriter(stream, schema) as parquet:
        yield parquet.write_table


@contextmanager
def _dsstne(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Writes `user<TAB>item,score:item,score:`, one line per user, best first."""
    with _text(path) as stream:

        def write(table: pa.Table) -> None:
            ids = schema.names[:2]
            for name in ids:
                _check_marks(table[name])
            records = _records(table.select([*ids, "score"]))
            for user, items in groupby(records, key=lambda record: record[0]):
                stream.write(f"{user}\t{''.join(f'{item},{score}:' for _, item, score in items)}\n")

        yield write


def _check_marks(ids: pa.ChunkedArray) -> None:
    if not pa.types.is_string(ids.type):
        return
    unfit = ids.filter(pc.match_substring_regex(ids, r"[:,\t\r\n]"))
    if len(unfit):
        raise DataError(f"DSSTNE's text format cannot hold the id {unfit[0].as_py()!r}: : , and tabs are its marks.")


def _text(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _records(table: pa.Table) -> Iterator[tuple]:
    """Yields rows; a float32 becomes the shortest decimal that reads back to the same value."""
    for place, column in enumerate(table.schema):
        if column.type == pa.float32():
            table = table.set_column(place, column.name, table[place].cast(pa.string()).cast(pa.float64()))
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


FORMATS: dict[str, Callable[[Path, pa.Schema], AbstractContextManager[Write]]] = {
    "csv": _csv,
    "tsv": _tsv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "dsstne": _dsstne,
}

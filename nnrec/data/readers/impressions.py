"""Readers of impressions from CSV, TSV and Parquet files and from data frames."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError
from nnrec.data.files.streams import Chunk, TableFiles
from nnrec.data.impressions import Impressions
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.readers.impression_columns import VERSION, Meaning, collected, from_columns, opened
from nnrec.data.schema import Schema
from nnrec.data.side_information import aligned, read_item_table

# With cache="auto", the arrays of larger sources are stored in files.
IN_MEMORY_BYTES = 2**28

Cache = str | Path | None
Column = str | int


def read_impressions(
    path: str | Path,
    label: Column = "label",
    categorical: Sequence[Column] | None = None,
    numeric: Sequence[Column] = (),
    multi: Sequence[Column] = (),
    user: Column | None = None,
    item: Column | None = None,
    user_columns: Sequence[Column] = (),
    item_columns: Sequence[Column] = (),
    threshold: float | None = None,
    multi_separator: str = "|",
    time: Column | None = None,
    time_unit: str = "s",
    time_format: str | None = None,
    time_features: Sequence[str] = (),
    validation_path: str | Path | None = None,
    test_path: str | Path | None = None,
    separator: str | None = None,
    header: bool = True,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    missing: Sequence[str] = ("",),
    cache: Cache = "auto",
    item_table: Mapping | None = None,
) -> Impressions:
    """Reads impressions from one or more CSV, TSV or Parquet files (text also compressed, as .gz), chunk by chunk.

    Args:
        path: a file, a folder of files, or a glob.
        label: the column of labels. Columns are given by name, or by position from 0.
        categorical: columns with one value per row; None = all columns not named elsewhere.
        numeric: columns of numbers.
        multi: columns with any number of values per row: lists, or text with `multi_separator` between the values.
        user, item: the categorical columns with the ids of users and shown items (needed for metrics per user, and
            for lists).
        user_columns, item_columns: columns that describe the user or the item; all others are context.
        threshold: the label is 1 where its column is at least this, else 0; None = the column as it is.
        multi_separator: see `multi`.
        time: the column of times: numbers or dates, UTC.
        time_unit: unit of numeric times: s, ms, us or ns.
        time_format: format of dates, such as "%y%m%d%H"; None = any common one.
        time_features: categorical columns to derive from the time: hour, weekday.
        validation_path, test_path: the publisher's other files, with the same columns.
        separator: separator of text files, one character; None = detected in the first line.
        header: whether the first line of a text file names the columns.
        names: names of the columns without a header; None = 0, 1, 2 ...
        encoding: encoding of text files.
        missing: texts that mark a missing value in a text file.
        cache: see `cached`.
        item_table: arguments of `read_item_table`; None, or a path of None: no item table.

    Raises:
        DataError: an invalid file, line or value; the message states where.
        ConfigError: settings that contradict each other.
    """
    paths = {TRAIN: path, VALIDATION: validation_path, TEST: test_path}
    keys = {TRAIN: "path", VALIDATION: "validation_path", TEST: "test_path"}
    tables = {
        part: TableFiles(where, separator, header, encoding, missing, f"data.source.{keys[part]}", names)
        for part, where in paths.items()
        if where is not None
    }
    named = {"label": [label], "categorical": categorical or [], "numeric": numeric, "multi": multi}
    named |= {"time": [] if time is None else [time]}
    used = {str(name) for names in named.values() for name in names}
    if categorical is None:
        named["categorical"] = [name for name in tables[TRAIN].names if name.strip() not in used]
    meaning = Meaning(
        Schema(
            categorical=(*map(str, named["categorical"]), *time_features),
            multi=tuple(map(str, multi)),
            numeric=tuple(map(str, numeric)),
            user=None if user is None else str(user),
            item=None if item is None else str(item),
            of_user=tuple(map(str, user_columns)),
            of_item=tuple(map(str, item_columns)),
        ),
        label=str(label),
        threshold=threshold,
        multi_separator=multi_separator,
        time=None if time is None else str(time),
        time_unit=time_unit,
        time_format=time_format,
        time_features=tuple(time_features),
    )
    columns = {str(name): name for names in named.values() for name in names}

    def chunks() -> Iterator[Chunk]:
        return chain.from_iterable(table.chunks(columns, part) for part, table in tables.items())

    details = {"separator": separator, "header": header, "encoding": encoding, "missing": list(missing)}
    details["names"] = None if names is None else list(names)
    impressions = cached(chunks, meaning, list(tables.values()), cache, **details)
    if item_table and item_table.get("path") is not None:
        impressions = with_items(impressions, read_item_table(**item_table))
    return impressions


def cached(
    chunks: Callable[[], Iterator[Chunk]], meaning: Meaning, tables: Sequence[TableFiles], cache: Cache, **details: Any
) -> Impressions:
    """Reads impressions into memory, or converts them once to a folder of arrays that later calls open.

    Args:
        chunks: function that returns the chunks of all files, from the start.
        meaning: the meaning of the columns.
        tables: the files.
        cache: parent folder of the folders of arrays; "auto" = $XDG_CACHE_HOME/nnrec (~/.cache/nnrec) if the files are
            larger than 256 MiB, else in memory; None = in memory. A change of a file or of its settings makes a new
            folder.
        details: further settings on which the result depends.

    Raises:
        DataError: see `collected`.
    """
    files = [file for table in tables for file in table.files]
    source = files[0].name if len(files) == 1 else f"{len(files)} files in {files[0].parent}"
    stats = [file.stat() for file in files]
    if cache == "auto":
        large = sum(stat.st_size for stat in stats) > IN_MEMORY_BYTES
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "nnrec" if large else None

    def read(folder: Path | None) -> Impressions:
        with ProgressBar("reading MiB", sum(stat.st_size for stat in stats) >> 20, transient=True) as bar:
            return collected(_watched(chunks(), bar), meaning, source, folder)

    if cache is None:
        return read(None)
    told = [[str(file.absolute()), stat.st_size, stat.st_mtime_ns] for file, stat in zip(files, stats, strict=True)]
    parts = [len(table.files) for table in tables]
    made = json.dumps([VERSION, told, parts, asdict(meaning), details], sort_keys=True)
    name = f"{files[0].name.partition('.')[0]}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
    folder = Path(cache).expanduser().absolute() / name
    if not folder.is_dir():
        read(folder)
    return opened(folder).noted(f"Arrays in {folder}.")


def _watched(chunks: Iterator[Chunk], bar: ProgressBar) -> Iterator[Chunk]:
    size = 0
    for chunk in chunks:
        yield chunk
        size += chunk.size
        bar.advance((size >> 20) - bar.done)
        bar.report("")


def from_frame(
    frame: pd.DataFrame,
    label: str = "label",
    categorical: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    multi: Sequence[str] | None = None,
    user: str | None = None,
    item: str | None = None,
    user_columns: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    threshold: float | None = None,
    time: str | None = None,
    time_unit: str = "s",
    time_features: Sequence[str] = (),
    multi_separator: str = "|",
    items: pd.DataFrame | None = None,
) -> Impressions:
    """Returns impressions from a data frame; arguments as in `read_impressions`.

    Args:
        categorical, numeric, multi: None = by type: columns of lists are multi-valued, columns with fractions numeric,
            all others categorical.
        user, item: None = the columns "user" and "item", if they exist.
        items: a frame with raw ids in column "item" and any other columns (title ...).

    Raises:
        DataError: an invalid value; the message gives the row.
        ConfigError: a column does not exist.
    """
    frame = frame.rename(columns=str).reset_index(drop=True)
    rest = [name for name in frame.columns if name not in (label, time)]
    given = {*(categorical or ()), *(numeric or ()), *(multi or ())}
    kinds: dict[str, list[str]] = {"categorical": [], "numeric": [], "multi": []}
    for name in rest:
        if name not in given:
            kinds[_kind(frame[name], name in (user or "user", item or "item"))].append(name)
    plain = kinds["categorical"] if categorical is None else categorical
    schema = Schema(
        categorical=(*plain, *time_features),
        multi=tuple(kinds["multi"] if multi is None else multi),
        numeric=tuple(kinds["numeric"] if numeric is None else numeric),
        user=user or ("user" if "user" in plain else None),
        item=item or ("item" if "item" in plain else None),
        of_user=tuple(user_columns),
        of_item=tuple(item_columns),
    )
    meaning = Meaning(schema, label, threshold, multi_separator, time, time_unit, time_features=tuple(time_features))
    wanted = [label, *(name for name in schema.columns if name not in time_features), *([time] if time else [])]
    for name in wanted:
        if name not in frame.columns:
            found = ", ".join(frame.columns)
            raise ConfigError(f"The data frame has no column {name!r}. It has: {found}.")
    impressions = from_columns({name: frame[name] for name in wanted}, meaning, "the data frame")
    return impressions if items is None else with_items(impressions, items)


def with_items(impressions: Impressions, table: pd.DataFrame) -> Impressions:
    """Returns the impressions with an item table (raw ids in column "item"), one row per item in the order of codes.

    Raises:
        DataError: the table holds none of the items.
        ConfigError: the impressions have no column of items.
    """
    if impressions.schema.item is None:
        raise ConfigError("A table of items needs the column of items: set data.source.item.")
    rows, note = aligned(table, impressions.items, "item")
    impressions = replace(impressions, item_table=rows)
    return impressions.noted(note) if note else impressions


def _kind(column: pd.Series, is_id: bool) -> Literal["categorical", "numeric", "multi"]:
    some = column.dropna()
    if len(some) and isinstance(some.iloc[0], (list, tuple, set)):
        return "multi"
    fractions = pd.api.types.is_float_dtype(column.dtype) and bool((some % 1 != 0).any())
    return "numeric" if fractions and not is_id else "categorical"

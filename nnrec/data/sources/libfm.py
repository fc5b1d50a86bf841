"""Readers of impressions in the text format of libFM and SVMlight: one "label index:value index:value ..." per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.streams import Chunk, TableFiles
from nnrec.data.files.tables import find_files
from nnrec.data.impressions import Impressions
from nnrec.data.levels import Levels
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.readers.impression_columns import Meaning
from nnrec.data.readers.impressions import Cache, cached, with_items
from nnrec.data.schema import Schema

# Occurs in no line, so that a line is read as one field.
NO_SEPARATOR = "\x1f"
FRAPPE = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")


def read_libfm(
    path: str | Path,
    validation_path: str | Path | None = None,
    test_path: str | Path | None = None,
    fields: Sequence[str] | None = None,
    groups_path: str | Path | None = None,
    numeric: Sequence[str] = (),
    multi: Sequence[str] = (),
    user: str | None = None,
    item: str | None = None,
    user_columns: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    threshold: float | None = 0.5,
    cache: Cache = "auto",
) -> Impressions:
    """Reads impressions from files in the format of libFM (Rendle 2012).

    The files do not contain the field of an index. Without `groups_path` the field is the position in the row: every
    row has one entry per field, in order. With it, rows may have any length.

    Args:
        path: a file, a folder of files, or a glob.
        validation_path, test_path: the publisher's other files.
        fields: names of the fields; None = field0, field1 ...
        groups_path: libFM's file of groups (its option -meta): line i is the number, from 0, of the field that index i
            belongs to.
        numeric: fields whose values are numbers; in all others the value is 1, and the index is the category.
        multi: fields with any number of indices per row (these need `groups_path`).
        user, item: fields with the ids of users and shown items.
        user_columns, item_columns: fields that describe the user or the item.
        threshold: the label is 1 from this value on, else 0 (so -1 is 0); None = the value itself.
        cache: see `nnrec.data.readers.impressions.cached`.

    Raises:
        DataError: an invalid line, or one that does not match the fields; the message states where.
        ConfigError: settings that contradict each other.
    """
    paths = {TRAIN: (path, "path"), VALIDATION: (validation_path, "validation_path"), TEST: (test_path, "test_path")}
    tables = {
        part: TableFiles(where, NO_SEPARATOR, False, key=f"data.source.{key}", names=("line",))
        for part, (where, key) in paths.items()
        if where is not None
    }
    groups = None if groups_path is None else _groups(Path(groups_path).expanduser())
    names = (
        list(fields) if fields is not None else [f"field{number}" for number in range(_count(tables[TRAIN], groups))]
    )
    for key, known in {"numeric": numeric, "multi": multi}.items():
        if unknown := [name for name in known if name not in names]:
            raise ConfigError(f"data.source.{key} names {unknown[0]!r}, which is no field. Fields: {', '.join(names)}.")
    if multi and groups is None:
        raise ConfigError("Fields with several indices in a row need data.source.groups_path, libFM's file of groups.")
    if groups is not None and groups.max(initial=-1) >= len(names):
        raise ConfigError(f"{groups_path} has {groups.max() + 1} groups; data.source.fields names {len(names)}.")
    schema = Schema(
        categorical=tuple(name for name in names if name not in (*numeric, *multi)),
        multi=tuple(multi),
        numeric=tuple(numeric),
        user=user,
        item=item,
        of_user=tuple(user_columns),
        of_item=tuple(item_columns),
    )
    parser = _Parser(names, schema, groups)

    def chunks() -> Iterator[Chunk]:
        lines = chain.from_iterable(table.chunks({"line": "line"}, part) for part, table in tables.items())
        return map(parser, lines)

    details = {"fields": names, "groups": None if groups is None else groups.tolist()}
    return cached(chunks, Meaning(schema, threshold=threshold), list(tables.values()), cache, **details)


def read_frappe(folder: str | Path) -> Impressions:
    """Reads Frappe (Baltrunas et al. 2015): users, apps and contexts; two rows of three are randomly drawn negatives.

    Reads frappe.train.libfm, frappe.validation.libfm and frappe.test.libfm, as published with Neural Factorization
    Machines (He, Chua 2017). If the original log, frappe.csv, is in the same folder, fields have its values (indices
    number the values in their order of appearance in it); with meta.csv apps also have names and categories.

    Args:
        folder: folder of the files.

    Raises:
        DataError: a file is absent, or a line cannot be read.
    """
    place = Path(folder).expanduser()
    train, validation, test = (place / f"frappe.{part}.libfm" for part in ("train", "validation", "test"))
    for path in (train, validation, test):
        if not path.is_file():
            raise DataError(
                f"Frappe is not in {place.absolute()}: no file {path.name}. Set data_root or data.source.folder."
            )
    impressions = read_libfm(train, validation, test, fields=FRAPPE, user="user", item="item", cache=None)
    if not (place / "frappe.csv").is_file():
        return impressions
    log = pd.read_csv(place / "frappe.csv", sep="\t", dtype=str, keep_default_na=False)
    values = np.concatenate([pd.unique(log[name]) for name in FRAPPE])
    known = {name: levels.strings.to_pandas().astype(int).to_numpy() for name, levels in impressions.levels.items()}
    if max(indices.max() for indices in known.values()) >= len(values):
        raise DataError(f"{place}: the indices of the libFM files do not count the values of frappe.csv.")
    levels = {name: Levels(pa.array(values[indices], pa.string())) for name, indices in known.items()}
    impressions = replace(impressions, levels=levels, hash=None)
    if not (place / "meta.csv").is_file():
        return impressions
    apps = pd.read_csv(place / "meta.csv", sep="\t", dtype=str, keep_default_na=False)
    return with_items(impressions, apps[["item", "name", "category"]].rename(columns={"name": "title"}))


class _Parser:
    """Turns chunks of lines into chunks of columns."""

    def __init__(self, names: Sequence[str], schema: Schema, groups: np.ndarray | None) -> None:
        self.names, self.schema, self.groups = names, schema, groups

    def __call__(self, chunk: Chunk) -> Chunk:
        lines = chunk.columns["line"]
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.replace_substring_regex(lines, "#.*", "")))
        lengths = words.value_lengths().to_numpy(zero_copy_only=False)
        flat, starts = words.flatten(), np.cumsum(lengths) - lengths
        row = np.repeat(np.arange(len(lines)), lengths - 1)
        entries = flat.take(pa.array(np.delete(np.arange(len(flat)), starts)))
        index, value = self._cut(entries, row, chunk)
        place = np.arange(len(row)) - np.repeat(np.cumsum(lengths - 1) - (lengths - 1), lengths - 1)
        field = place if self.groups is None else self._field(index, row, chunk)
        if self.groups is None and (lengths != len(self.names) + 1).any():
            wrong = int(np.argmax(lengths != len(self.names) + 1))
            raise DataError(
                f"{chunk.where(wrong)}: {lengths[wrong] - 1} entries where there should be {len(self.names)}, one of "
                "each field. Rows of different lengths need data.source.groups_path, libFM's file of groups."
            )
        columns: dict[str, pa.Array] = {"label": flat.take(pa.array(starts))}
        texts = pc.cast(pa.array(index), pa.string())
        for number, name in enumerate(self.names):
            which = np.flatnonzero(field == number)
            columns[name] = self._column(name, which, row[which], texts, value, len(lines), chunk)
        return chunk._replace(columns=columns)

    def _cut(self, entries: pa.Array, row: np.ndarray, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        good = pc.match_substring_regex(entries, r"^[0-9]{1,18}:[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$")
        if not pc.all(good, min_count=0).as_py():
            at = int(np.argmin(good.to_numpy(zero_copy_only=False)))
            raise DataError(
                f'{chunk.where(int(row[at]))}: {entries[at].as_py()!r} is no entry. Rows are "label index:value '
                'index:value ...".'
            )
        halves = pc.split_pattern(entries, ":").flatten()
        index = pc.cast(halves.take(pa.array(np.arange(0, len(halves), 2))), pa.int64())
        value = pc.cast(halves.take(pa.array(np.arange(1, len(halves), 2))), pa.float64())
        return index.to_numpy(zero_copy_only=False), value.to_numpy(zero_copy_only=False)

    def _field(self, index: np.ndarray, row: np.ndarray, chunk: Chunk) -> np.ndarray:
        assert self.groups is not None
        if (index >= len(self.groups)).any():
            at = int(np.argmax(index >= len(self.groups)))
            where = chunk.where(int(row[at]))
            raise DataError(f"{where}: index {index[at]}, but the file of groups has {len(self.groups)} lines.")
        return self.groups[index]

    def _column(
        self, name: str, which: np.ndarray, row: np.ndarray, texts: pa.Array, value: np.ndarray, rows: int, chunk: Chunk
    ) -> pa.Array:
        if name in self.schema.numeric:
            column = np.full(rows, np.nan)
            column[row] = value[which]
            return pa.array(column)
        if (value[which] != 1).any():
            at = int(np.argmax(value[which] != 1))
            raise DataError(
                f"{chunk.where(int(row[at]))}: the value {value[which][at]:g} of index {texts[int(which[at])]} (field "
                f"{name!r}) is not 1. Where values are numbers, list the field in data.source.numeric."
            )
        if name in self.schema.multi:
            ends = np.cumsum(np.bincount(row, minlength=rows))
            return pa.ListArray.from_arrays(pa.array(np.append(0, ends).astype(np.int32)), texts.take(pa.array(which)))
        if (np.diff(row) == 0).any():
            at = int(np.argmax(np.diff(row) == 0))
            raise DataError(
                f"{chunk.where(int(row[at]))}: several indices of field {name!r}. List the field in data.source.multi."
            )
        places = np.full(rows, -1)
        places[row] = which
        return texts.take(pa.array(places, mask=places < 0))


def _groups(path: Path) -> np.ndarray:
    """Reads (indices,) the field number of each index from libFM's file of groups."""
    text = find_files(path, "data.source.groups_path")[0].read_text(encoding="utf-8").split()
    if wrong := [number for number, word in enumerate(text) if not word.isdigit()]:
        raise DataError(f"{path}, line {wrong[0] + 1}: {text[wrong[0]]!r} is no number of a group.")
    return np.array(text, np.int64)


def _count(table: TableFiles, groups: np.ndarray | None) -> int:
    """Returns the number of fields."""
    if groups is not None:
        return int(groups.max(initial=-1)) + 1
    first = next(table.chunks({"line": "line"}))
    return len(first.columns["line"][0].as_py().split("#")[0].split()) - 1

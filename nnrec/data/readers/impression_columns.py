"""Conversion of chunks of raw columns to `Impressions`, in memory or in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nnrec.core.errors import ConfigError, DataError
from nnrec.core.stored_arrays import Array, StoredArray, made_once
from nnrec.data.files.streams import Chunk
from nnrec.data.impressions import Bag, Impressions, fingerprint_of
from nnrec.data.levels import Levels, as_text
from nnrec.data.readers.ratings import as_seconds
from nnrec.data.schema import Schema

# Version of the files of arrays, part of the folder's name; raised when their content changes.
VERSION = 1
_Gathered: TypeAlias = tuple[dict[str, Any], dict[str, Array], dict[str, Levels]]
TIME_FEATURES = ("hour", "weekday")


@dataclass(frozen=True)
class Meaning:
    """The meaning of a source's columns.

    Attributes:
        schema: the columns of the impressions; those in `time_features` need not be in the source.
        label: the column of labels.
        threshold: the label is 1 where the column is at least this, else 0; None = the column itself.
        multi_separator: separator between the values of a multi-valued text cell.
        time: the column of times, if there is one.
        time_unit: unit of numeric times: s, ms, us or ns.
        time_format: format of dates, such as "%y%m%d%H"; None = any common one.
        time_features: categorical columns to derive from the time: hour (0 to 23), weekday (0 = Monday), in UTC.

    Raises:
        ConfigError: an unknown time feature, or a time feature without a time.
    """

    schema: Schema
    label: str = "label"
    threshold: float | None = None
    multi_separator: str = "|"
    time: str | None = None
    time_unit: str = "s"
    time_format: str | None = None
    time_features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.time_features:
            if name not in TIME_FEATURES:
                raise ConfigError(f"time_features may list {', '.join(TIME_FEATURES)}. Received: {name!r}")
            if self.time is None:
                raise ConfigError("time_features needs the column of times: set time.")


def collected(chunks: Iterable[Chunk], meaning: Meaning, source: str, folder: Path | None = None) -> Impressions:
    """Collects impressions from chunks of a source.

    Args:
        chunks: chunks with the columns that `meaning` names; their `part` is the publisher's split, if there is one.
        meaning: the meaning of the columns.
        source: name of the source in messages.
        folder: folder for the arrays; None = in memory. The folder appears only when it is complete.

    Raises:
        DataError: no row; an invalid label, number or time; the message states where.
    """
    if folder is None:
        return _assembled(*_gathered(chunks, meaning, source, None))

    def make(place: Path) -> None:
        about, arrays, levels = _gathered(chunks, meaning, source, place)
        about["arrays"] = {name: [str(array.dtype), array.shape] for name, array in arrays.items()}
        for number, known in enumerate(levels.values()):
            table = pa.table({"level": known.strings})
            with pa.ipc.new_file(str(place / f"levels.{number}.arrow"), table.schema) as writer:
                writer.write_table(table)
        (place / "about.json").write_text(json.dumps(about), encoding="utf-8")

    made_once(folder, make)
    return opened(folder)


def _gathered(chunks: Iterable[Chunk], meaning: Meaning, source: str, folder: Path | None) -> _Gathered:
    """Returns the description of impressions (schema, hash, notes), their arrays, and their levels."""
    schema = meaning.schema
    pile = _Pile(folder, schema, meaning.time is not None)
    levels: dict[str, Levels] = {name: Levels() for name in (*schema.categorical, *schema.multi)}
    for chunk in chunks:
        if len(chunk.columns[meaning.label]):
            _take_up(chunk, meaning, levels, pile)
    arrays, digests, parts = pile.finish()
    if not len(arrays["label"]):
        raise DataError(f"{source} is empty: it holds no row of data.")
    if len(parts) < 2:
        arrays.pop("part"), digests.pop("part")
    note = f"Read {len(arrays['label']):,} rows from {source}."
    return {"schema": asdict(schema), "hash": fingerprint_of(digests, levels), "notes": [note]}, arrays, levels


def opened(folder: Path) -> Impressions:
    """Opens the impressions that `collected` wrote to a folder.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        arrays = {
            name: StoredArray(folder / f"{name}.bin", dtype, tuple(shape))
            for name, (dtype, shape) in about["arrays"].items()
        }
        schema, levels = Schema.from_dict(about["schema"]), {}
        for number, name in enumerate((*schema.categorical, *schema.multi)):
            with pa.memory_map(str(folder / f"levels.{number}.arrow")) as file:
                levels[name] = Levels(pa.ipc.open_file(file).read_all()["level"])
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"{folder} is damaged: remove it, and it will be made again. ({error})") from error
    return _assembled(about, arrays, levels)


def _assembled(about: dict[str, Any], arrays: Mapping[str, Array], levels: Mapping[str, Levels]) -> Impressions:
    schema = Schema.from_dict(about["schema"])
    bags = tuple(Bag(arrays[f"offsets.{n}"], arrays[f"value.{n}"]) for n in range(len(schema.multi)))
    return Impressions(
        schema=schema,
        levels=levels,
        label=arrays["label"],
        codes=arrays["codes"],
        bags=bags,
        numbers=arrays["numbers"],
        time=arrays.get("time"),
        part=arrays.get("part"),
        hash=about["hash"],
        notes=tuple(about["notes"]),
    )


class _Pile:
    """Arrays built chunk by chunk, each in memory or in a file."""

    def __init__(self, folder: Path | None, schema: Schema, timed: bool) -> None:
        kinds: dict[str, tuple[Any, tuple[int, ...]]] = {
            "label": (np.float32, ()),
            "codes": (np.int32, (len(schema.categorical),)),
            "numbers": (np.float32, (len(schema.numeric),)),
            "part": (np.int8, ()),
        }
        if timed:
            kinds["time"] = (np.float64, ())
        for number in range(len(schema.multi)):
            kinds |= {f"offsets.{number}": (np.int64, ()), f"value.{number}": (np.int32, ())}
        self.folder, self.kinds = folder, kinds
        self.digests = {name: hashlib.sha256() for name in kinds}
        self.lengths = dict.fromkeys(kinds, 0)
        self.parts: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
        self.files = {} if folder is None else {name: (folder / f"{name}.bin").open("wb") for name in kinds}
        self.found: set[int] = set()

    def add(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array, self.kinds[name][0])
        self.lengths[name] += len(array)
        self.digests[name].update(array.data)
        if self.files:
            self.files[name].write(array.data)
        else:
            self.parts[name].append(array)

    def finish(self) -> tuple[dict[str, Array], dict[str, str], set[int]]:
        """Returns the arrays, their hashes, and the publisher's parts that occur."""
        arrays: dict[str, Array] = {}
        for name, (dtype, width) in self.kinds.items():
            if self.folder is None:
                arrays[name] = np.concatenate([np.zeros((0, *width), dtype), *self.parts.pop(name)])
            else:
                self.files[name].close()
                arrays[name] = StoredArray(self.folder / f"{name}.bin", dtype, (self.lengths[name], *width))
        return arrays, {name: digest.hexdigest() for name, digest in self.digests.items()}, self.found


def _take_up(chunk: Chunk, meaning: Meaning, levels: Mapping[str, Levels], pile: _Pile) -> None:
    columns, schema = dict(chunk.columns), meaning.schema
    number = len(columns[meaning.label])
    label = numbers(columns[meaning.label], f"label ({meaning.label})", chunk)
    if np.isnan(label).any():
        raise DataError(f"{chunk.where(int(np.argmax(np.isnan(label))))}: the label ({meaning.label}) is empty.")
    pile.add("label", label if meaning.threshold is None else label >= meaning.threshold)
    if meaning.time is not None:
        time = as_seconds(columns[meaning.time].to_pandas(), chunk.where, meaning.time_unit, meaning.time_format)
        pile.add("time", time)
        hours = (time // 3600).astype(np.int64)
        # 1970-01-01 was a Thursday.
        made = {"hour": hours % 24, "weekday": (hours // 24 + 3) % 7}
        columns |= {name: pa.array(made[name]) for name in meaning.time_features}
    codes = np.empty((number, len(schema.categorical)), np.int32)
    for place, name in enumerate(schema.categorical):
        codes[:, place] = levels[name].add(_text(columns[name], name, chunk))
    pile.add("codes", codes)
    found = [numbers(columns[name], name, chunk) for name in schema.numeric]
    pile.add("numbers", np.stack(found, axis=1) if found else np.zeros((number, 0)))
    for place, name in enumerate(schema.multi):
        lengths, values = cells(columns[name], meaning.multi_separator, name, chunk)
        starts = [0] if not pile.lengths[f"offsets.{place}"] else []
        ends = pile.lengths[f"value.{place}"] + np.cumsum(lengths)
        pile.add(f"offsets.{place}", np.concatenate([starts, ends]))
        pile.add(f"value.{place}", levels[name].add(values))
    pile.add("part", np.full(number, chunk.part))
    pile.found.add(chunk.part)


def numbers(column: pa.Array, label: str, chunk: Chunk) -> np.ndarray:
    """Converts a column to float32, NaN where a value is missing.

    Args:
        column: numbers, or numbers as text.
        label: name of the column in messages.
        chunk: the chunk that the column comes from, for messages.

    Raises:
        DataError: a value is not a finite number; the message states where.
    """
    try:
        exact = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        series = column.to_pandas()
        found = pd.to_numeric(series, errors="coerce")
        wrong = (found.isna() & series.notna()).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"{chunk.where(row)}: the {label} {series.iloc[row]!r} is not a number.") from None
        exact = found.to_numpy(np.float64)
    with np.errstate(over="ignore"):
        result = exact.astype(np.float32)
    if np.isinf(result).any():
        row = int(np.argmax(np.isinf(result)))
        raise DataError(f"{chunk.where(row)}: the {label} is {exact[row]}, which is not finite.")
    return result


def _text(column: pa.Array, name: str, chunk: Chunk) -> pa.Array:
    """Converts a column to strings.

    Raises:
        DataError: its values cannot be converted to text.
    """
    try:
        return as_text(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        advice = "List it in multi, or leave it out." if pa.types.is_nested(column.type) else "Leave it out."
        raise DataError(
            f"{chunk.where(0)}: column {name!r} holds {column.type}, no texts or numbers. {advice}"
        ) from error


def cells(column: pa.Array, separator: str, name: str, chunk: Chunk) -> tuple[np.ndarray, pa.Array]:
    """Returns the values of a multi-valued column: (n,) the number of values per row, and all values as strings.

    Args:
        column: lists, or strings with separators between the values; empty values are ignored.
        separator: the separator.
        name, chunk: name and chunk of the column, for messages.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        column = pc.split_pattern(_text(column, name, chunk), separator)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = pc.utf8_trim_whitespace(_text(column.flatten(), name, chunk))
    kept = pc.fill_null(pc.not_equal(values, ""), False).to_numpy(zero_copy_only=False)
    if not kept.all():
        row = np.repeat(np.arange(len(lengths)), lengths)[kept]
        lengths, values = np.bincount(row, minlength=len(lengths)), values.filter(pa.array(kept))
    return lengths, values


def from_columns(
    columns: Mapping[str, Sequence | np.ndarray | pd.Series], meaning: Meaning, source: str
) -> Impressions:
    """Returns impressions from columns in memory; messages give rows of `source`, counted from 0."""
    arrays = {name: pa.array(column, from_pandas=True) for name, column in columns.items()}
    arrays = {name: a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for name, a in arrays.items()}
    return collected([Chunk(arrays, lambda row: f"row {row} of {source}")], meaning, source)

"""Encoding of impression columns as ids and numbers, fitted on training rows only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.core.errors import DataError
from nnrec.core.jit import compiled
from nnrec.data.encoding.fields import Fields
from nnrec.data.impressions import CHUNK_ROWS, Bag, Impressions, Rows, count, slices
from nnrec.data.levels import Levels, as_text, hashed
from nnrec.data.preprocessing import SAMPLE, NumericTransform, Preprocessing
from nnrec.data.schema import Schema


@dataclass(frozen=True, eq=False)
class Encoder:
    """Encodes rows. Build one with `Encoder.fit`, or with `Encoder.from_arrays` from a run folder.

    Attributes:
        schema: the input columns.
        fields: the output fields; numeric columns that become ids come after the categorical ones.
        levels: column -> its values in the order of the input codes, for each categorical and multi-valued column that
            is not ignored.
        lookup: column -> (num_levels,) int32, the id of each code within the field, 0 = unknown; the same columns.
        hash: column -> number of ids that a hash maps its values to.
        transforms: the transforms of the numeric columns that are not ignored, in order.
    """

    schema: Schema
    fields: Fields
    levels: Mapping[str, Levels]
    lookup: Mapping[str, np.ndarray]
    hash: Mapping[str, int]
    transforms: tuple[NumericTransform, ...]

    @classmethod
    def fit(cls, impressions: Impressions, which: np.ndarray, settings: Preprocessing) -> Encoder:
        """Fits an encoder for these impressions on the given rows only.

        Args:
            impressions: the data.
            which: (m,) row numbers of the training part, ascending.
            settings: settings of the encoding.

        Raises:
            ConfigError: a setting names a column or a transform that does not exist.
        """
        schema = impressions.schema
        settings.check(schema)
        seen = [name for name in schema.columns if name not in settings.ignore]
        names = [name for name in (*schema.categorical, *schema.multi) if name in seen]
        counts = {name: np.zeros(len(impressions.levels[name]), np.int64) for name in names}
        transforms = tuple(
            NumericTransform(
                name, settings.transforms.get(name, settings.numeric), settings.min_count, settings.buckets
            )
            for name in schema.numeric
            if name in seen
        )
        longest = dict.fromkeys((name for name in schema.multi if name in seen), 0)
        share = min(1.0, SAMPLE / max(len(which), 1))
        for places in slices(len(which), CHUNK_ROWS):
            rows = impressions.rows(which[places])
            for place, name in enumerate(schema.categorical):
                if name in counts:
                    count(rows.codes[:, place], counts[name])
            for name, bag in zip(schema.multi, rows.bags, strict=True):
                if name in counts:
                    count(np.asarray(bag.value), counts[name])
                    longest[name] = max(longest[name], int(np.diff(bag.offsets).max(initial=0)))
            for transform in transforms:
                transform.observe(rows.numbers[:, schema.numeric.index(transform.column)], share)
        lookup = {}
        for name in names:
            if name in settings.hash:
                lookup[name] = _spread(impressions.levels[name].hashes, settings.hash[name])
            else:
                kept = counts[name] >= settings.min_count
                lookup[name] = np.where(kept, np.cumsum(kept, dtype=np.int32), np.int32(0))
        for transform in transforms:
            transform.finish()
        cap = settings.max_values or max(longest.values(), default=0)
        sizes = {name: 1 + int(lookup[name].max(initial=0)) for name in names}
        sizes |= {name: 1 + number for name, number in settings.hash.items() if name in sizes}
        plain = [name for name in schema.categorical if name in seen]
        made = [transform for transform in transforms if transform.categorical]
        fields = Fields(
            categorical=(*plain, *(transform.column for transform in made)),
            sizes=(*(sizes[name] for name in plain), *(transform.size for transform in made)),
            multi=tuple(longest),
            multi_sizes=tuple(sizes[name] for name in longest),
            multi_lengths=tuple(max(1, min(length, cap)) for length in longest.values()),
            numeric=tuple(transform.column for transform in transforms if not transform.categorical),
        )
        levels = {name: impressions.levels[name] for name in names}
        return cls(schema, fields, levels, lookup, dict(settings.hash), transforms)

    def __post_init__(self) -> None:
        # Code -> id in the shared table, for all columns, concatenated.
        columns, offsets = list(self.lookup), dict(self._offsets())
        unknown = np.array([offsets[name] for name in columns], np.int32)
        starts = np.cumsum([0, *(len(self.lookup[name]) for name in columns)], dtype=np.int64)
        table = np.empty(starts[-1], np.int32)
        for number, name in enumerate(columns):
            np.add(self.lookup[name], unknown[number], out=table[starts[number] : starts[number + 1]])
        object.__setattr__(self, "_tables", (table, starts, unknown))

    @property
    def transformed(self) -> tuple[str, ...]:
        """The numeric columns that are encoded."""
        return tuple(transform.column for transform in self.transforms)

    def _offsets(self) -> Sequence[tuple[str, int]]:
        return list(zip((*self.fields.categorical, *self.fields.multi), self.fields.offsets, strict=True))

    def encode(self, rows: Rows) -> dict[str, np.ndarray]:
        """Encodes m rows.

        Returns:
            `categorical`: (m, C) int32 ids in the shared table.
            `multi`: (m, L) int32, likewise; unused slots of a field hold its unknown id.
            `multi_share`: (m, L) float32, 1 / number of the field's values, 0 in unused slots.
            `numeric`: (m, N) float32.
        """
        table, starts, unknown = self._tables  # type: ignore[attr-defined]
        number, schema = len(rows.codes), self.schema
        columns = np.array([place for place, name in enumerate(schema.categorical) if name in self.lookup], np.int64)
        plain = len(columns)
        categorical = np.empty((number, len(self.fields.categorical)), np.int32)
        _look_up(np.ascontiguousarray(rows.codes), columns, table, starts, unknown, categorical)
        numeric = np.empty((number, len(self.fields.numeric)), np.float32)
        offsets, ids, numbers = dict(self._offsets()), plain, 0
        for transform in self.transforms:
            values = transform(rows.numbers[:, schema.numeric.index(transform.column)])
            if transform.categorical:
                categorical[:, ids] = values + offsets[transform.column]
                ids += 1
            else:
                numeric[:, numbers] = values
                numbers += 1
        width = sum(self.fields.multi_lengths)
        multi, share = np.empty((number, width), np.int32), np.zeros((number, width), np.float32)
        for place, (name, within) in enumerate(zip(self.fields.multi, self.fields.multi_slices, strict=True), plain):
            bag, part = rows.bags[schema.multi.index(name)], table[starts[place] : starts[place + 1]]
            _fill(bag.offsets, bag.value, part, unknown[place], multi[:, within], share[:, within])
        return {"categorical": categorical, "multi": multi, "multi_share": share, "numeric": numeric}

    def bound(self, impressions: Impressions) -> Encoder:
        """Returns the same encoder for other impressions, whose codes refer to other levels.

        Raises:
            DataError: the impressions have other columns.
        """
        if impressions.schema != self.schema:
            raise DataError(
                f"These data have columns {', '.join(impressions.schema.columns)}; the model was trained on "
                f"{', '.join(self.schema.columns)}."
            )
        if all(impressions.levels[name] is levels for name, levels in self.levels.items()):
            return self
        levels = {name: impressions.levels[name] for name in self.levels}
        return replace(self, levels=levels, lookup={name: self.ids(name, levels[name].strings) for name in levels})

    def ids(self, name: str, values: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Returns (m,) int32 ids of raw values within a categorical or multi-valued field, 0 = unknown or missing."""
        if name in self.hash:
            parts = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
            hashes = np.concatenate([np.zeros(0, np.uint64), *map(hashed, parts)])
            valid = values.is_valid().to_numpy(zero_copy_only=False) if len(values) else np.zeros(0, bool)
            return np.where(valid, _spread(hashes, self.hash[name]), np.int32(0))
        codes = self.levels[name].find(values)
        lookup = self.lookup[name]
        return np.where(codes >= 0, lookup[codes], np.int32(0)) if len(lookup) else np.zeros(len(codes), np.int32)

    def encode_frame(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Encodes raw rows like `encode`; the values of absent columns are missing.

        Args:
            frame: (m rows) columns of the data by name; a multi-valued column holds lists.

        Raises:
            DataError: a numeric column holds a value that is not a number.
        """
        number, schema = len(frame), self.schema
        codes = np.full((number, len(schema.categorical)), -1, np.int32)
        for place, name in enumerate(schema.categorical):
            if name in frame.columns and name in self.lookup:
                codes[:, place] = self.ids(name, as_text(pa.array(frame[name], from_pandas=True)))
        bags = []
        for name in schema.multi:
            known = name in frame.columns and name in self.lookup
            cells = [cell if isinstance(cell, (list, tuple, set)) else () for cell in frame[name]] if known else []
            lengths = list(map(len, cells)) if known else [0] * number
            values = pa.array([str(value) for cell in cells for value in cell], pa.string())
            ids = self.ids(name, values) if known else np.zeros(0, np.int32)
            bags.append(Bag(np.cumsum([0, *lengths], dtype=np.int64), ids))
        numbers = np.full((number, len(schema.numeric)), np.nan, np.float32)
        for place, name in enumerate(schema.numeric):
            if name in frame.columns:
                try:
                    numbers[:, place] = pd.to_numeric(frame[name]).to_numpy(np.float32, na_value=np.nan)
                except (ValueError, TypeError) as error:
                    raise DataError(f"Column {name!r} must hold numbers: {error}") from error
        # `codes` already holds ids, so the lookup tables are the identity.
        fields = self.fields
        sizes = dict(zip((*fields.categorical, *fields.multi), (*fields.sizes, *fields.multi_sizes), strict=True))
        plain = {name: np.arange(sizes[name], dtype=np.int32) for name in self.lookup}
        return replace(self, lookup=plain).encode(Rows(codes, tuple(bags), numbers))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the complete state of the encoder as arrays, for a run folder."""
        about = {
            "schema": asdict(self.schema),
            "fields": self.fields.to_dict(),
            "hash": dict(self.hash),
            "columns": list(self.lookup),
            "transforms": [[transform.column, list(transform.steps)] for transform in self.transforms],
        }
        arrays = {"about": np.array(json.dumps(about))}
        for number, transform in enumerate(self.transforms):
            arrays[f"transform.{number}"] = transform.state
        for name, levels in self.levels.items():
            if name not in self.hash:
                known = np.flatnonzero(self.lookup[name])
                known = known[np.argsort(self.lookup[name][known], kind="stable")]
                arrays |= {f"levels.{name}.{part}": array for part, array in levels.take(known).arrays().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Encoder:
        """Restores an encoder from the result of `arrays`, for raw rows and for other impressions (`bound`)."""
        about = json.loads(str(arrays["about"]))
        schema = Schema.from_dict(about["schema"])
        transforms = []
        for number, (column, steps) in enumerate(about["transforms"]):
            transforms.append(NumericTransform(column, steps))
            transforms[-1].state = arrays[f"transform.{number}"]
        levels = {}
        for name in about["columns"]:
            levels[name] = Levels()
            if name not in about["hash"]:
                parts = {part: arrays[f"levels.{name}.{part}"] for part in ("text", "ends")}
                levels[name] = Levels.from_arrays(parts)
        lookup = {name: np.arange(1, len(known) + 1, dtype=np.int32) for name, known in levels.items()}
        return cls(schema, Fields.from_dict(about["fields"]), levels, lookup, about["hash"], tuple(transforms))


def _spread(hashes: np.ndarray, number: int) -> np.ndarray:
    """Maps hashes to ids 1 ... number, int32."""
    return (1 + hashes % np.uint64(number)).astype(np.int32)


@compiled
def _look_up(codes, columns, table, starts, unknown, result):
    for row in range(codes.shape[0]):
        for column, place in enumerate(columns):
            code = codes[row, place]
            result[row, column] = unknown[column] if code < 0 else table[starts[column] + code]


@compiled
def _fill(offsets, value, table, unknown, result, share):
    for row in range(result.shape[0]):
        start = offsets[row]
        kept = min(offsets[row + 1] - start, result.shape[1])
        for place in range(result.shape[1]):
            if place < kept:
                code = value[start + place]
                result[row, place] = unknown if code < 0 else table[code]
                share[row, place] = 1 / kept
            else:
                result[row, place] = unknown

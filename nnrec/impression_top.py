"""Predictions from a run on impressions: probabilities of given rows, and top-N lists for users in a situation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.batches import bucket
from nnrec.data.streams import TableFiles
from nnrec.data.tables import as_ids
from nnrec.errors import ConfigError, DataError
from nnrec.impression_sides import Sides
from nnrec.ranking import BLOCK_ENTRIES, top_items
from nnrec.recommend import Block, TopN

if TYPE_CHECKING:
    from nnrec.api import Run
    from nnrec.data.impressions import Schema
    from nnrec.data.ratings import Rows

# Rows of a file that are scored together.
ROWS_AT_A_TIME = 2**14


class RawIds(NamedTuple):
    """Raw ids in the order of rows, of which several may be the same."""

    ids: np.ndarray
    numeric: bool


@dataclass(frozen=True)
class Requests:
    """Users who are to get lists, each in a situation.

    Attributes:
        users: raw ids, a row each.
        index: (rows,) who they are in the run, -1 for somebody unknown.
        given: (rows) raw values of columns that are known of each row: context, or what is new about the user.
        which: (m,) the rows asked for.
        histories: what each of the run's users has clicked; None where the run does not keep it.
    """

    users: RawIds
    index: np.ndarray
    given: pd.DataFrame
    which: np.ndarray
    histories: Rows | None
    trained = True

    def __len__(self) -> int:
        return len(self.which)

    def select(self, user: Any) -> Requests:
        """Only the rows of these: a raw id or a list of them.

        Raises:
            DataError: somebody is unknown.
        """
        raw = [user] if isinstance(user, str) or not isinstance(user, Iterable) else list(user)
        names = pd.Index(self.users.ids.astype(str))
        found = [np.flatnonzero(names == str(name)) for name in raw]
        if unknown := [str(name) for name, rows in zip(raw, found, strict=True) if not len(rows)]:
            raise DataError(
                f"Unknown users: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}. For somebody not among "
                f"the {len(names):,} here give a row with what is known: requests=<file>."
            )
        return replace(self, which=pd.unique(np.concatenate(found)))


def known_users(run: Run, context: Mapping[str, Any] | None = None) -> Requests:
    """All users of a run, in one situation.

    Args:
        context: column -> raw value; what is left out is unknown.

    Raises:
        ConfigError: there is no such column, or the data tell no users.
    """
    schema = _schema(run)
    if schema.user is None:
        raise ConfigError(
            f"The data of {run.folder.path} have no column of users, so there is nobody to make lists for. Give "
            "situations with requests=<file>, or rows to be scored with rows=<file>."
        )
    number = len(run.users)
    given = pd.DataFrame({name: [value] * number for name, value in (context or {}).items()}, index=range(number))
    users = RawIds(run.users.ids, run.users.numeric)
    return _requests(run, users, np.arange(number), given)


def requested(
    run: Run, source: pd.DataFrame | str | Path, layout: Mapping[str, Any], context: Mapping | None
) -> Requests:
    """Users and situations from a table: a column of users under its name in the data, and any others of the data.

    Args:
        source: a file or a frame.
        layout: of a file: separator, header, encoding.
        context: column -> raw value, of all rows.

    Raises:
        DataError: it cannot be read.
        ConfigError: a column is none of the data's.
    """
    schema = _schema(run)
    frame = _read(source, layout) if isinstance(source, (str, Path)) else source.rename(columns=str)
    frame = frame.reset_index(drop=True)
    if schema.user is not None and schema.user in frame.columns:
        raw = frame.pop(schema.user)
        ids = np.asarray(as_ids(raw))
        index = run.users.indices(ids.tolist())
    else:
        index, ids = np.full(len(frame), -1), np.arange(len(frame))
    given = frame.assign(**(context or {}))
    return _requests(run, RawIds(ids, pd.api.types.is_integer_dtype(ids.dtype)), index, given)


def _requests(run: Run, users: RawIds, index: np.ndarray, given: pd.DataFrame) -> Requests:
    schema = _schema(run)
    allowed = [name for name in schema.columns if name not in (schema.user, *schema.side("item"))]
    if unknown := [name for name in given.columns if name not in allowed]:
        raise ConfigError(
            f"{unknown[0]!r} is no column of users or context in the data of the run. There are: "
            f"{', '.join(allowed) or 'none'}."
        )
    kept = run.histories if run.folder["histories"].is_dir() else None
    return Requests(users, np.asarray(index), _lists_in(given, run, schema), np.arange(len(index)), kept)


class ImpressionTopN(TopN):
    """Ranks items for users in a situation; lists as of `TopN`, where scores are probabilities (or ratings).

    Items without a training row are recommended to nobody. What the scores owe to the items is computed once, what they
    owe to a user and the situation once for each request.
    """

    digits = 4

    def __init__(self, run: Run, n: int = 10, exclude_seen: bool = True, barred: np.ndarray | None = None) -> None:
        schema = _schema(run)
        if schema.item is None:
            raise ConfigError(
                f"The data of {run.folder.path} have no column of items (data.source.item), so there are no lists. "
                "Score rows with rows=<file>."
            )
        super().__init__(run, n, exclude_seen, barred)
        self.sides: Sides = run.sides
        unknown = ~self.sides.known("item")
        self.barred = unknown if barred is None else barred | unknown
        model: Any = run.model
        every = np.arange(len(run.items))
        model.hold_items(self.sides.batch("item", every, pd.DataFrame(index=every)), schema.side("item"))
        self.ranker = model

    def schema(self, people: Any) -> pa.Schema:
        """Names and types of the columns; what is known of each request stands behind those of `TopN`, as text."""
        schema = super().schema(people)
        for name in people.given.columns:
            schema = schema.append(pa.field(name, pa.string()))
        return schema

    def blocks(self, people: Any) -> Iterator[Block]:
        schema, plain = self.schema(people), super().schema(people)
        size = int(np.clip(BLOCK_ENTRIES // len(self.run.items), 1, min(1024, bucket(len(people)))))
        for start in range(0, len(people), size):
            rows = people.which[start : start + size]
            full = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
            batch = self.sides.batch("user", people.index[full], people.given.iloc[full].reset_index(drop=True))
            scores = self.ranker.score(self.ranker.encode(batch))
            seen = self._seen(people, rows) if self.exclude_seen else None
            items, values = (found[: len(rows)] for found in top_items(scores, self.n, seen=seen, barred=self.barred))
            values = self.ranker.as_estimates(values)
            block = self._block(people.users.ids[rows], items, values, np.zeros(len(rows), bool), plain)
            table, request = block.table, pa.array(np.nonzero(items >= 0)[0])
            for name, column in people.given.iloc[rows].items():
                table = table.append_column(schema.field(name), _as_text(column).take(request))
            yield block._replace(table=table)

    def _seen(self, people: Requests, rows: np.ndarray) -> dict[str, np.ndarray] | None:
        """What the users of these requests have clicked."""
        index = people.index[rows]
        if people.histories is None or not (index >= 0).any():
            return None
        part = people.histories.take(index[index >= 0])
        row = np.repeat(np.flatnonzero(index >= 0), part.lengths)
        # A few sizes, so that shapes repeat.
        room = bucket(max(len(row), 1)) - len(row)
        columns = {"row": row, "column": part.ids, "weight": np.ones(len(row), np.float32)}
        return {name: np.pad(array, (0, room)) for name, array in columns.items()}


def score_frame(run: Run, frame: pd.DataFrame) -> np.ndarray:
    """(n,) float32, the probability (or rating) of raw rows; columns that are not there are unknown.

    Raises:
        DataError: a numeric column holds something else, or no column of the data is there.
    """
    model: Any = run.model
    schema = _schema(run)
    frame = frame.rename(columns=str)
    if not any(name in frame.columns for name in schema.columns):
        raise DataError(
            f"No column of the data is there. Expected some of: {', '.join(schema.columns)}. Received: "
            f"{', '.join(frame.columns)}."
        )
    size, found = min(ROWS_AT_A_TIME, bucket(max(len(frame), 1))), []
    for start in range(0, len(frame), size):
        part = frame.iloc[start : start + size]
        batch = run.sides.encoder.encode_frame(_lists_in(part.reset_index(drop=True), run, schema))
        full = {name: np.pad(array, ((0, size - len(part)), (0, 0))) for name, array in batch.items()}
        found.append(model.estimate(full)[: len(part)])
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def _schema(run: Run) -> Schema:
    return run.sides.encoder.schema


def _as_text(column: pd.Series) -> pa.Array:
    cells = ["|".join(map(str, cell)) if isinstance(cell, list) else cell for cell in column]
    return pa.array([None if cell is None or cell != cell else str(cell) for cell in cells], pa.string())


def _lists_in(frame: pd.DataFrame, run: Run, schema: Schema) -> pd.DataFrame:
    """The frame with text in multi-valued columns cut into lists."""
    separator = run.config.data.get("source", {}).get("multi_separator", "|")
    frame = frame.copy(deep=False)
    for name in schema.multi:
        if name in frame.columns:
            cells = frame[name].astype(object)
            frame[name] = [
                [s.strip() for s in c.split(separator) if s.strip()] if isinstance(c, str) else c for c in cells
            ]
    return frame


def _read(source: str | Path, layout: Mapping[str, Any]) -> pd.DataFrame:
    """A table of requests, all columns as text."""
    frames = list(read_chunks(source, "requests", layout))
    return pd.concat(frames, ignore_index=True)


def read_chunks(source: str | Path, key: str, layout: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """A table, a part at a time, all columns of text files as text.

    Args:
        source: a CSV, TSV or Parquet file.
        key: the setting that names it, for messages.
        layout: separator, header, encoding.

    Raises:
        DataError: it cannot be read.
    """
    table = TableFiles(source, layout["separator"], layout["header"], layout["encoding"], ("",), key, None)
    for chunk in table.chunks({name: name for name in table.names}, 0):
        yield pd.DataFrame({name: column.to_pandas() for name, column in chunk.columns.items()})

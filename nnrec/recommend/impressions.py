"""Top-N lists from a run on impressions, for users in a given context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.batches.padding import bucket
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import as_ids
from nnrec.ranking.blocks import BLOCK_ENTRIES
from nnrec.ranking.top_items import top_items
from nnrec.recommend.impression_tables import as_text, lists_in, read_requests, schema_of
from nnrec.recommend.top_n import Block, TopN
from nnrec.runs.side_features import Sides

if TYPE_CHECKING:
    from nnrec.data.rows import Rows
    from nnrec.runs.trained import TrainedRun


class RawIds(NamedTuple):
    """Raw ids in the order of rows; ids may repeat."""

    ids: np.ndarray
    numeric: bool


@dataclass(frozen=True)
class Requests:
    """Requests for lists: one row per user and context.

    Attributes:
        users: raw user ids, one per row.
        index: (rows,) user indices in the run, -1 for unknown users.
        given: one row of raw column values per request: context, or changed features of the user.
        which: (m,) the requested rows.
        histories: the clicked items of each of the run's users; None if the run does not keep them.
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
        """Only the rows of these users.

        Args:
            user: a raw id or a list of them.

        Raises:
            DataError: a user has no row.
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


def known_users(run: TrainedRun, context: Mapping[str, Any] | None = None) -> Requests:
    """One request for each user of a run, all in the same context.

    Args:
        context: column -> raw value; other columns are missing values.

    Raises:
        ConfigError: there is no such column, or the data have no user column.
    """
    schema = schema_of(run)
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
    run: TrainedRun, source: pd.DataFrame | str | Path, layout: Mapping[str, Any], context: Mapping | None
) -> Requests:
    """Requests from a table: the data's user column, and any of the data's user and context columns.

    Args:
        source: a file or a frame.
        layout: of a file: separator, header, encoding.
        context: column -> raw value, for all rows.

    Raises:
        DataError: the table cannot be read.
        ConfigError: a column is not a user or context column of the data.
    """
    schema = schema_of(run)
    frame = read_requests(source, layout) if isinstance(source, (str, Path)) else source.rename(columns=str)
    frame = frame.reset_index(drop=True)
    if schema.user is not None and schema.user in frame.columns:
        raw = frame.pop(schema.user)
        ids = np.asarray(as_ids(raw))
        index = run.users.indices(ids.tolist())
    else:
        index, ids = np.full(len(frame), -1), np.arange(len(frame))
    given = frame.assign(**(context or {}))
    return _requests(run, RawIds(ids, pd.api.types.is_integer_dtype(ids.dtype)), index, given)


def _requests(run: TrainedRun, users: RawIds, index: np.ndarray, given: pd.DataFrame) -> Requests:
    schema = schema_of(run)
    allowed = [name for name in schema.columns if name not in (schema.user, *schema.side("item"))]
    if unknown := [name for name in given.columns if name not in allowed]:
        raise ConfigError(
            f"{unknown[0]!r} is no column of users or context in the data of the run. There are: "
            f"{', '.join(allowed) or 'none'}."
        )
    kept = run.histories if run.folder["histories"].is_dir() else None
    return Requests(users, np.asarray(index), lists_in(given, run, schema), np.arange(len(index)), kept)


class ImpressionTopN(TopN):
    """Ranks items for users in a context; lists as in `TopN`, with probabilities (or ratings) as scores.

    Items without a training row are never recommended. The items' part of the scores is computed once, the part of the
    user and the context once per request.
    """

    digits = 4

    def __init__(
        self, run: TrainedRun, n: int = 10, exclude_seen: bool = True, excluded: np.ndarray | None = None
    ) -> None:
        schema = schema_of(run)
        if schema.item is None:
            raise ConfigError(
                f"The data of {run.folder.path} have no column of items (data.source.item), so there are no lists. "
                "Score rows with rows=<file>."
            )
        super().__init__(run, n, exclude_seen, excluded)
        self.sides: Sides = run.sides
        unknown = ~self.sides.known("item")
        self.excluded = unknown if excluded is None else excluded | unknown
        model: Any = run.model
        every = np.arange(len(run.items))
        model.hold_items(self.sides.batch("item", every, pd.DataFrame(index=every)), schema.side("item"))
        self.ranker = model

    def schema(self, people: Any) -> pa.Schema:
        """Names and types of the columns: those of `TopN`, then the given columns of each request as text."""
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
            items, values = (
                found[: len(rows)] for found in top_items(scores, self.n, seen=seen, excluded=self.excluded)
            )
            values = self.ranker.as_estimates(values)
            block = self._block(people.users.ids[rows], items, values, np.zeros(len(rows), bool), plain)
            table, request = block.table, pa.array(np.nonzero(items >= 0)[0])
            for name, column in people.given.iloc[rows].items():
                table = table.append_column(schema.field(name), as_text(column).take(request))
            yield block._replace(table=table)

    def _seen(self, people: Requests, rows: np.ndarray) -> dict[str, np.ndarray] | None:
        """The clicked items of the users of these requests, as a batch of flat arrays."""
        index = people.index[rows]
        if people.histories is None or not (index >= 0).any():
            return None
        part = people.histories.take(index[index >= 0])
        row = np.repeat(np.flatnonzero(index >= 0), part.lengths)
        # Padded to a few sizes, so that shapes repeat.
        room = bucket(max(len(row), 1)) - len(row)
        columns = {"row": row, "column": part.ids, "weight": np.ones(len(row), np.float32)}
        return {name: np.pad(array, (0, room)) for name, array in columns.items()}

"""Readers of sessions from CSV, TSV and Parquet files and from data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import Table, read_columns, resolve
from nnrec.data.readers.ratings import as_seconds, dense
from nnrec.data.sessions import Sessions, in_time
from nnrec.data.side_information import aligned, read_item_table
from nnrec.data.vocabulary import Vocabulary

MINUTE = 60  # seconds


@dataclass(frozen=True)
class Log:
    """A table of events, with attributes that all its events share.

    Attributes:
        table: columns session (or user), item, and optionally time and event.
        event: the kind of all events, if there is no column event.
        part: 1 for the publisher's test file, else 0.
    """

    table: Table
    event: str | None = None
    part: int = 0


def read_clicks(
    path: str | Path,
    session: str | int | None = "session",
    user: str | int | None = None,
    item: str | int = "item",
    time: str | int | None = "time",
    event: str | int | None = None,
    events: Sequence[str] | None = None,
    test_path: str | Path | None = None,
    time_unit: str = "s",
    gap_minutes: float | None = 30,
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    item_table: Mapping | None = None,
    new_items: bool = False,
) -> Sessions:
    """Reads sessions from one or more CSV, TSV or Parquet files (text also compressed, as .gz), one event per row.

    Args:
        path: a file, a folder of files, or a glob.
        session, item, time, event: column names, or positions from 0. Times are numbers or dates, UTC, or count 0, 1,
            2 ... within each session; None: the rows are in order of time.
        user: the column of user ids, if there are no session ids (`session` is None): the events of each user are
            divided into sessions.
        events: kinds of events to keep, from the weakest to the strongest; None = all.
        test_path: the publisher's test file, if there is one, with the same columns. Sessions with the same id in both
            files are different sessions.
        time_unit: unit of numeric times: s, ms, us or ns.
        gap_minutes: with `user`, a pause of more than this many minutes starts a new session; None: one session per
            user. Not applied to sessions with ids.
        separator: one or more characters; None = detected in the first line.
        header: whether the first line names the columns; else give positions.
        encoding: encoding of text files.
        item_table: arguments of `nnrec.data.side_information.read_item_table`; None, or a path of None: no item table.
        new_items: whether to keep items of the table that have no event. A filter `min_item_support` of 1 or more
            removes them.

    Raises:
        DataError: an invalid file, line or value; the message states where.
        ConfigError: settings that contradict each other.
    """
    wanted = {"session": session, "user": user, "item": item, "time": time, "event": event}
    columns = {role: column for role, column in wanted.items() if column is not None}
    logs = [Log(read_columns(path, columns, separator, header, encoding))]
    if test_path is not None:
        key = "data.source.test_path"
        logs.append(Log(read_columns(test_path, columns, separator, header, encoding, key), part=1))
    sessions = assemble(logs, events=events, time_unit=time_unit, gap_minutes=gap_minutes)
    return with_catalogue(sessions, item_table, new_items)


def clicks_from_frame(
    frame: pd.DataFrame,
    session: str | None = "session",
    user: str | None = None,
    item: str = "item",
    time: str | None = None,
    event: str | None = None,
    events: Sequence[str] | None = None,
    time_unit: str = "s",
    gap_minutes: float | None = 30,
    items: pd.DataFrame | None = None,
) -> Sessions:
    """Returns sessions from a data frame, one event per row; arguments as in `read_clicks`.

    Args:
        items: a frame with raw ids in column `item` and any other columns (title, category ...).

    Raises:
        DataError: a column is missing or a value is invalid; the message gives the row.
    """
    wanted = {"session": session, "user": user, "item": item, "time": time, "event": event}
    names = list(map(str, frame.columns))
    columns = {}
    for role, column in wanted.items():
        if column is not None:
            columns[role] = frame.iloc[:, names.index(resolve(column, names, "The data frame"))].reset_index(drop=True)
    if not len(frame):
        raise DataError("The data frame is empty: it holds no event.")
    if items is not None:
        items = items.rename(columns={resolve(item, list(map(str, items.columns)), "The item table"): "item"})
    table = Table(pd.DataFrame(columns), lambda row: f"row {row} of the data frame", "a data frame")
    return assemble([Log(table)], events=events, time_unit=time_unit, gap_minutes=gap_minutes, items=items)


def assemble(
    logs: Sequence[Log],
    *,
    events: Sequence[str] | None = None,
    time_unit: str = "s",
    time_kind: Literal["timestamp", "order"] | None = None,
    gap_minutes: float | None = None,
    items: pd.DataFrame | None = None,
) -> Sessions:
    """Builds sessions from tables that all have the same columns.

    Args:
        logs: the tables.
        events, time_unit, gap_minutes: see `read_clicks`.
        time_kind: as `Sessions.time_kind`; None: "order" if the times of every session count 0, 1, 2 ..., else
            "timestamp".
        items: a frame with raw ids in column "item"; rows of items without an event are dropped.

    Raises:
        DataError: an empty id; an invalid time; an unknown kind of event; no event is left.
        ConfigError: settings that contradict each other.
    """
    columns = set(logs[0].table.frame.columns)
    group = group_of(columns, gap_minutes)
    catalogue, item = together(logs, "item")
    ids, session = together(logs, group)
    part = np.repeat([log.part for log in logs], [len(log.table.frame) for log in logs]).astype(np.int8)
    if part.any():
        ids, session = _apart(ids, session, part)
    time = _times(logs, time_unit) if "time" in columns else None
    names, event = _kinds(logs, columns)
    notes = []
    if events is not None:
        names, event, kept = chosen_kinds(names, event, list(events))
        notes.append(f"Events other than {', '.join(names)}: left out {int((~kept).sum()):,}.")
        item, session, part, event = item[kept], session[kept], part[kept], event[kept]
        time = None if time is None else time[kept]
    if time is not None and time_kind is None:
        time_kind = "order" if _counts_up(session, time) else "timestamp"
    if group == "user" and gap_minutes is not None and time is not None:
        if time_kind == "order":
            raise DataError(
                "Cutting a user's events at pauses needs timestamps; these data have only the order within each user. "
                "data.source.gap_minutes=null takes all events of a user as one session."
            )
        ids, session = _cut(ids, session, time, gap_minutes * MINUTE)
        notes.append(f"Sessions end where a user pauses for more than {gap_minutes:g} minutes.")
    of_session = None
    if any(log.part for log in logs):
        of_session = np.zeros(len(ids), np.int8)
        of_session[session] = part
    sessions = Sessions.build(
        ids=ids, session=session, items=catalogue, item=item, time=time, time_kind=time_kind, event=event,
        event_names=names, part=of_session,
    )  # fmt: skip
    sources = " and ".join(log.table.source for log in logs)
    sessions = sessions.noted(
        f"Read {len(part):,} events in {sessions.num_sessions:,} sessions, of {len(catalogue):,} items, "
        f"from {sources}.",
        *notes,
    )
    return sessions if items is None else with_items(sessions, items)


def with_catalogue(sessions: Sessions, item_table: Mapping | None, new_items: bool) -> Sessions:
    """Returns the sessions with an item table and, if `new_items`, its items without an event; see `read_clicks`."""
    items = read_item_table(**item_table) if item_table and item_table.get("path") is not None else None
    if items is not None:
        sessions = with_items(sessions, items)
    if not new_items:
        return sessions
    if items is None:
        raise ConfigError("data.source.new_items=true needs a table of items: set data.source.item_table.path.")
    return with_items(with_new_items(sessions, items), items)


def with_items(sessions: Sessions, table: pd.DataFrame) -> Sessions:
    """Returns the sessions with an item table (raw ids in column "item").

    Raises:
        DataError: the table holds none of the items.
    """
    rows, note = aligned(table, sessions.items, "item")
    sessions = replace(sessions, item_table=rows)
    return sessions.noted(note) if note else sessions


def with_new_items(sessions: Sessions, table: pd.DataFrame) -> Sessions:
    """Returns the sessions with the new items of a table (raw ids in column "item") appended to the vocabulary."""
    raw = table["item"].dropna().drop_duplicates()
    new = raw[sessions.items.indices(raw) < 0]
    if not len(new):
        return sessions
    if sessions.items.numeric and pd.api.types.is_integer_dtype(new.dtype):
        index = sessions.items.index.append(pd.Index(new))
    else:
        index = sessions.items.index.astype(str).append(pd.Index(new.astype(str).str.strip()).unique())
    return replace(sessions, items=Vocabulary(index)).noted(f"Items of the table without an event: {len(new):,}.")


def group_of(columns: set[str], gap_minutes: float | None) -> str:
    """Returns the column by which events are grouped: "session" or "user"; raises ConfigError if it is not unique."""
    if ("session" in columns) == ("user" in columns):
        raise ConfigError(
            "Sessions need either the column of session ids (data.source.session) or, where there is none, that of "
            "user ids (data.source.user, with data.source.session=null): give one of the two."
        )
    if "session" in columns:
        return "session"
    if gap_minutes is not None and "time" not in columns:
        raise ConfigError(
            "Cutting a user's events at pauses needs their times: set data.source.time to a column, or "
            "data.source.gap_minutes=null to take all events of a user as one session."
        )
    if gap_minutes is not None and not (isinstance(gap_minutes, (int, float)) and 0 < gap_minutes < np.inf):
        raise ConfigError(f"data.source.gap_minutes must be above 0, or null. Received: {gap_minutes!r}")
    return "user"


def together(logs: Sequence[Log], role: str) -> tuple[Vocabulary, np.ndarray]:
    """Returns a column of raw ids, concatenated over all tables, as a sorted vocabulary and int32 indices into it.

    Raises:
        DataError: an empty id.
    """
    parts = [dense(log.table.frame[role], role, log.table.where) for log in logs]
    if len(parts) == 1:
        return parts[0]
    numeric = all(vocabulary.numeric for vocabulary, _ in parts)
    found = [vocabulary.index if numeric else vocabulary.index.astype(str) for vocabulary, _ in parts]
    everything, codes = Vocabulary.of(pd.Series(found[0].append(found[1:])))
    places = np.split(codes, np.cumsum([len(index) for index in found])[:-1])
    return everything, np.concatenate([place[column] for place, (_, column) in zip(places, parts, strict=True)])


def _apart(ids: Vocabulary, session: np.ndarray, part: np.ndarray) -> tuple[Vocabulary, np.ndarray]:
    """Renumbers sessions so that equal ids in training and test file are different sessions."""
    key = session + part.astype(np.int64) * len(ids)
    present = np.bincount(key, minlength=2 * len(ids)) > 0
    train, test = np.split(present, 2)
    known = ids.index
    if (train & test).any():
        ids = Vocabulary(known[train].astype(str).append("test:" + known[test].astype(str)))
    else:
        ids = Vocabulary(known[train].append(known[test]))
    return ids, (np.cumsum(present) - 1)[key].astype(np.int32)


def _times(logs: Sequence[Log], unit: str) -> np.ndarray:
    parts = [as_seconds(log.table.frame["time"], log.table.where, unit) for log in logs]
    return np.concatenate(parts).astype(np.float64, copy=False)


def _kinds(logs: Sequence[Log], columns: set[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Returns the names of the kinds of events and the code of each event; kinds of tables keep the tables' order."""
    if "event" in columns:
        kinds, codes = together(logs, "event")
        if len(kinds) > np.iinfo(np.int16).max:
            raise DataError(f"The event column holds {len(kinds):,} different values: is it the right column?")
        return tuple(map(str, kinds.ids)), codes.astype(np.int16)
    names = tuple(dict.fromkeys(log.event for log in logs if log.event is not None))
    if not names:
        return (), None
    of_log = np.array([names.index(log.event or names[0]) for log in logs], np.int16)
    return names, np.repeat(of_log, [len(log.table.frame) for log in logs])


def chosen_kinds(
    names: tuple[str, ...], event: np.ndarray | None, wanted: list[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Returns the wanted kinds, the events as codes into them (-1 = another kind), and a mask of events to keep."""
    if event is None:
        raise ConfigError("data.source.events needs the column that names the kinds of events: set data.source.event.")
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"data.source.events must name each kind of event once. Received: {wanted}")
    for name in wanted:
        if name not in names:
            raise DataError(
                f"data.source.events names {name!r}, which the data do not hold. Found: {', '.join(names)}."
            )
    code = np.array([wanted.index(name) if name in wanted else -1 for name in names], np.int16)
    event = code[event]
    return tuple(wanted), event, event >= 0


def _counts_up(session: np.ndarray, time: np.ndarray) -> bool:
    """Returns whether every session's times are 0, 1, 2 ...: an order, not timestamps."""
    if time.min() != 0 or time.max() >= len(time):
        return False
    starts = np.concatenate([[0], np.cumsum(np.bincount(session))])
    order = in_time(session, time)
    return bool((time[order] == np.arange(len(time)) - starts[session[order]]).all())


def _cut(users: Vocabulary, user: np.ndarray, time: np.ndarray, gap: float) -> tuple[Vocabulary, np.ndarray]:
    """Divides each user's events into sessions at pauses of more than `gap` seconds; ids are <user id>-<number>."""
    order = in_time(user, time)
    whose = user[order]
    starts = np.append(True, (np.diff(whose) != 0) | (np.diff(time[order]) > gap))
    session = np.empty(len(user), np.int32)
    session[order] = np.cumsum(starts) - 1
    owner = whose[starts]
    number = np.arange(len(owner)) - np.searchsorted(owner, owner) + 1
    return Vocabulary(users.index[owner].astype(str) + "-" + pd.Index(number).astype(str)), session

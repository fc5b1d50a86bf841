"""Readers of ratings from CSV, TSV and Parquet files and from data frames."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import LABELS, Table, read_columns, resolve
from nnrec.data.ratings import Ratings
from nnrec.data.side_information import read_item_table, read_user_table, with_table
from nnrec.data.vocabulary import Vocabulary

TIME_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LATEST_SECOND = 10**11  # the year 5138: larger numbers are not in seconds


def read_table(
    path: str | Path,
    user: str | int = "user",
    item: str | int = "item",
    value: str | int | None = "rating",
    time: str | int | None = None,
    weight: str | int | None = None,
    event: str | int | None = None,
    event_weights: Mapping[str, float] | None = None,
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    scale: Sequence[float] | None = None,
    time_unit: str = "s",
    item_table: Mapping | None = None,
    user_table: Mapping | None = None,
) -> Ratings:
    """Reads ratings from one or more CSV, TSV or Parquet files (text also compressed, as .gz).

    Args:
        path: a file, a folder of files, or a glob.
        user, item, value, time, weight, event: column names, or positions from 0. `value` None:
            implicit feedback, every row has the value 1.0. Times are numbers or dates, UTC.
        event_weights: event name -> weight, multiplied with the weight column if there is one.
        separator: one or more characters; None = detected in the first line.
        header: whether the first line names the columns; else give positions.
        encoding: encoding of text files.
        scale: (lowest, highest) allowed rating; None = no limits.
        time_unit: unit of numeric times: s, ms, us or ns.
        item_table: arguments of `read_item_table`; None, or a path of None: no item table.
        user_table: arguments of `read_user_table`, likewise.

    Raises:
        DataError: an invalid file, line or value; the message states where.
        ConfigError: settings that contradict each other.
    """
    wanted = {"user": user, "item": item, "value": value, "time": time, "weight": weight, "event": event}
    columns = {role: column for role, column in wanted.items() if column is not None}
    table = read_columns(path, columns, separator, header, encoding)
    items = read_item_table(**item_table) if item_table and item_table.get("path") is not None else None
    people = read_user_table(**user_table) if user_table and user_table.get("path") is not None else None
    return assemble(table, event_weights=event_weights, scale=scale, time_unit=time_unit, items=items, users=people)


def from_frame(
    frame: pd.DataFrame,
    user: str = "user",
    item: str = "item",
    value: str | None = "rating",
    time: str | None = None,
    weight: str | None = None,
    event: str | None = None,
    event_weights: Mapping[str, float] | None = None,
    scale: Sequence[float] | None = None,
    time_unit: str = "s",
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
) -> Ratings:
    """Returns ratings from a data frame; arguments as in `read_table`.

    Args:
        items: a frame with raw ids in column `item` and any other columns (title, genres ...).
        users: a frame with raw ids in column `user` and any other columns (gender, age_group ...).

    Raises:
        DataError: a column is missing or a value is invalid; the message gives the row.
    """
    wanted = {"user": user, "item": item, "value": value, "time": time, "weight": weight, "event": event}
    names = list(map(str, frame.columns))
    columns = {}
    for role, column in wanted.items():
        if column is not None:
            columns[role] = frame.iloc[:, names.index(resolve(column, names, "The data frame"))].reset_index(drop=True)
    if not len(frame):
        raise DataError("The data frame is empty: it holds no rating.")
    if items is not None:
        items = items.rename(columns={resolve(item, list(map(str, items.columns)), "The item table"): "item"})
    if users is not None:
        users = users.rename(columns={resolve(user, list(map(str, users.columns)), "The user table"): "user"})
    table = Table(pd.DataFrame(columns), lambda row: f"row {row} of the data frame", "a data frame")
    return assemble(table, event_weights=event_weights, scale=scale, time_unit=time_unit, items=items, users=users)


def assemble(
    table: Table,
    *,
    event_weights: Mapping[str, float] | None = None,
    scale: Sequence[float] | None = None,
    time_unit: str = "s",
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    folder: str | None = None,
) -> Ratings:
    """Builds ratings from a table with the columns user, item and optionally value, time, weight, event.

    Args:
        table: the table.
        event_weights, scale, time_unit: see `read_table`.
        items: a frame with raw ids in column "item"; rows of items without a rating are dropped.
        users: a frame with raw ids in column "user", likewise.
        folder: folder of the publisher's files.

    Raises:
        DataError: an empty id; an invalid rating, time or weight; an unknown event.
    """
    frame, where = table.frame, table.where
    people, user = dense(frame["user"], "user", where)
    catalogue, item = dense(frame["item"], "item", where)
    value = _numbers(frame["value"], "value", where, scale) if "value" in frame else np.ones(len(frame), np.float32)
    weight = _numbers(frame["weight"], "weight", where, (0, np.inf)) if "weight" in frame else None
    event, names = _events(frame["event"], where) if "event" in frame else (None, ())
    if event_weights:
        factor = event_factors(event_weights, names, table.source)[event]
        weight = factor if weight is None else weight * factor
    entries = {"user": user, "item": item, "value": value, "weight": weight, "event": event}
    kind = None
    if "time" in frame:
        exact, kind = as_seconds(frame["time"], where, time_unit), "timestamp"
        entries["time"] = np.floor(exact).astype(np.int64)
        if exact.dtype.kind == "f":  # sort before the fractions of seconds are dropped
            order = np.argsort(exact, kind="stable")
            entries = {name: array if array is None else array[order] for name, array in entries.items()}
    ratings = Ratings.build(users=people, items=catalogue, time_kind=kind, event_names=names, folder=folder, **entries)
    if kind is not None and _counts_up(ratings):
        ratings = replace(ratings, time_kind="order")
    ratings = ratings.noted(
        f"Read {len(ratings):,} ratings of {len(people):,} users and {len(catalogue):,} items from {table.source}."
    )
    if items is not None:
        ratings = with_table(ratings, items, "item")
    return ratings if users is None else with_table(ratings, users, "user")


def dense(column: pd.Series, role: str, where: Callable[[int], str]) -> tuple[Vocabulary, np.ndarray]:
    """Returns a column of raw ids as a sorted vocabulary and int32 indices into it.

    Raises:
        DataError: an empty id.
    """
    codes, found = pd.factorize(column)
    ids = pd.Series(found.categories[found.codes] if isinstance(found, pd.CategoricalIndex) else found)
    if pd.api.types.is_float_dtype(ids.dtype) and (ids % 1 == 0).all():
        ids = ids.astype("int64")  # integers that pandas stores as floats
    if not pd.api.types.is_integer_dtype(ids.dtype):
        ids = ids.astype(str).str.strip()
        codes = np.where(np.append((ids == "").to_numpy(), True)[codes], -1, codes)
    if (codes < 0).any():
        raise DataError(f"{where(int(np.argmax(codes < 0)))}: the {LABELS.get(role, role)} is empty.")
    vocabulary, ranks = Vocabulary.of(ids)
    return vocabulary, ranks[codes]


def _numbers(column: pd.Series, role: str, where: Callable[[int], str], bounds: Sequence[float] | None) -> np.ndarray:
    """Converts a column to float32; raises DataError for a number that is not finite or not within bounds."""
    label = LABELS.get(role, role)
    numbers = pd.to_numeric(column, errors="coerce")
    if not pd.api.types.is_numeric_dtype(column.dtype):
        wrong = numbers.isna() & column.notna() & (column.astype(str).str.lower() != "nan")
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"{where(row)}: the {label} {column.iloc[row]!r} is not a number.")
    exact = numbers.to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        result = exact.astype(np.float32)
    if not np.isfinite(result).all():
        row = int(np.argmin(np.isfinite(result)))
        what = "empty or not a number (NaN)" if np.isnan(exact[row]) else f"{exact[row]}, which is not finite"
        raise DataError(f"{where(row)}: the {label} is {what}.")
    if bounds is not None:
        low, high = bounds_of(bounds)
        outside = (exact < low) | (exact > high)
        if outside.any():
            row = int(np.argmax(outside))
            allowed = f"at least {low:g}" if high == np.inf else f"between {low:g} and {high:g} (scale)"
            raise DataError(f"{where(row)}: the {label} is {exact[row]:g}; it must be {allowed}.")
    return result


def bounds_of(bounds: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and the highest allowed rating; raises ConfigError if the bounds are invalid."""
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise ConfigError(f"scale must be the lowest and the highest rating, such as [1, 5]. Received: {list(bounds)}")
    return float(bounds[0]), float(bounds[1])


def _events(column: pd.Series, where: Callable[[int], str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names, codes = dense(column, "event", where)
    if len(names) > np.iinfo(np.int16).max:
        raise DataError(f"The event column holds {len(names):,} different values: is it the right column?")
    return codes.astype(np.int16), tuple(map(str, names.ids))


def event_factors(event_weights: Mapping[str, float], names: tuple[str, ...], source: str) -> np.ndarray:
    """Returns (num events,) float32, the weight of each event name.

    Raises:
        ConfigError, DataError: the weights do not match the names, or are negative or not finite.
    """
    if not names:
        raise ConfigError("event_weights needs the column that names the events: set event.")
    weights = {str(name): weight for name, weight in event_weights.items()}
    found, known = ", ".join(names), ", ".join(weights)
    for name in weights:
        if name not in names:
            raise DataError(f"event_weights names the event {name!r}, which {source} does not hold. Found: {found}.")
    for name in names:
        if name not in weights:
            raise DataError(f"{source} holds the event {name!r}, which event_weights does not name. It names: {known}.")
    factors = np.array([weights[name] for name in names], np.float32)
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ConfigError(f"event_weights must be finite and not negative. Received: {weights}")
    return factors


def as_seconds(column: pd.Series, where: Callable[[int], str], unit: str, date_format: str | None = None) -> np.ndarray:
    """Converts times to seconds since 1970, int64 where exact, else float64.

    Args:
        column: numbers in this unit, or dates.
        where: maps a row to its location, for messages.
        unit: s, ms, us or ns.
        date_format: format of dates for `datetime.strptime`; None = any common one, the same in all rows.

    Raises:
        DataError: a time is empty or invalid.
        ConfigError: an unknown unit.
    """
    if unit not in TIME_UNITS:
        raise ConfigError(f"time_unit must be one of {', '.join(TIME_UNITS)}. Received: {unit}")
    if column.isna().any():
        raise DataError(f"{where(int(np.argmax(column.isna())))}: the time is empty.")
    if date_format is not None:
        return _dates(column.astype(str), where, date_format)
    if not pd.api.types.is_numeric_dtype(column.dtype):
        numbers = None if pd.api.types.is_datetime64_any_dtype(column.dtype) else pd.to_numeric(column, errors="coerce")
        if numbers is None or np.isnan(numbers.iloc[0]):
            return _dates(column, where)
        if numbers.isna().any():
            raise _unreadable(column, int(np.argmax(numbers.isna())), where)
        column = numbers
    times = column.to_numpy()
    seconds = times / TIME_UNITS[unit] if TIME_UNITS[unit] > 1 else times
    if not np.isfinite(seconds).all() or np.abs(seconds).max() > LATEST_SECOND:
        row = int(np.argmax(~np.isfinite(seconds) | (np.abs(seconds) > LATEST_SECOND)))
        raise DataError(
            f"{where(row)}: the time {times[row]} is not a moment in seconds since 1970. "
            "Set time_unit to ms, us or ns where times are finer than seconds."
        )
    return seconds


def _dates(column: pd.Series, where: Callable[[int], str], date_format: str | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas warns if the first value is not a date
        moments = pd.to_datetime(column, errors="coerce", utc=True, format=date_format)
    if moments.isna().any():
        raise _unreadable(column, int(np.argmax(moments.isna())), where)
    moments = moments.dt.tz_localize(None)
    exact = moments.to_numpy("datetime64[ns]").astype(np.int64)
    return exact // 10**9 if not (exact % 10**9).any() else exact / 10**9


def _unreadable(column: pd.Series, row: int, where: Callable[[int], str]) -> DataError:
    return DataError(
        f"{where(row)}: the time {str(column.iloc[row])!r} cannot be read. "
        "Times are numbers or dates, all in one format."
    )


def _counts_up(ratings: Ratings) -> bool:
    """Returns whether every user's times are 0, 1, 2 ...: an order, not timestamps."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(ratings.user, minlength=ratings.num_users))])
    return bool((ratings.time == np.arange(len(ratings)) - starts[ratings.user]).all())

"""Readers of clickstreams in their publishers' formats, and of ratings as clickstreams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.errors import DataError
from nnrec.data.files.tables import MissingColumn, Table, read_columns
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import as_seconds
from nnrec.data.readers.sessions import Log, assemble, together
from nnrec.data.sessions import Sessions
from nnrec.data.sources.movielens import read_movielens

# Columns of the DIGINETICA files, which exist with two sets of names.
NAMES = {"session": "sessionId", "item": "itemId"}
OTHER_NAMES = {"session": "session_id", "item": "item_id"}
TIMES = {"timeframe": "timeframe", "date": "eventdate"}


def read_yoochoose(clicks: str | Path, buys: str | Path | None = None) -> Sessions:
    """Reads the publisher's files of RecSys Challenge 2015 (Ben-Shimon et al. 2015, doi:10.1145/2792838.2798723).

    Args:
        clicks: yoochoose-clicks.dat: session, ISO time, item, category; no header.
        buys: yoochoose-buys.dat: session, ISO time, item, price, quantity; no header. Its rows become events of the
            stronger kind "buy" in the sessions of the clicks. None: clicks only.

    Raises:
        DataError: an invalid file, line or value; the message states where.
    """
    columns = {"session": 0, "time": 1, "item": 2}
    tables = {"click": read_columns(clicks, columns, ",", header=False, key="data.source.clicks")}
    if buys is not None:
        tables["buy"] = read_columns(buys, columns, ",", header=False, key="data.source.buys")
    return _of_kinds(tables)


def read_diginetica(
    views: str | Path, purchases: str | Path | None = None, categories: str | Path | None = None
) -> Sessions:
    """Reads the publisher's files of DIGINETICA (CIKM Cup 2016).

    Times within a session are given in milliseconds since its start, but the start only as a date. Sessions are assumed
    to start at midnight of their first day, so sessions of one day are in no particular order.

    Args:
        views: train-item-views.csv: sessionId;userId;itemId;timeframe;eventdate.
        purchases: train-purchases.csv. Its rows become events of the stronger kind "buy" in the sessions that have
            views; others are dropped. None: views only.
        categories: product-categories.csv, with the category of each item; None = no item table.

    Raises:
        DataError: an invalid file, line or value; the message states where.
    """
    tables = {"view": _diginetica(views, NAMES | TIMES, "views")}
    if purchases is not None:
        tables["buy"] = _diginetica(purchases, NAMES | TIMES, "purchases")
    ids, session = together([Log(table) for table in tables.values()], "session")
    day = np.concatenate([as_seconds(table.frame["date"], table.where, "s") for table in tables.values()])
    since = np.concatenate([as_seconds(table.frame["timeframe"], table.where, "ms") for table in tables.values()])
    first = np.full(len(ids), np.inf)
    np.minimum.at(first, session, day)
    time = first[session] + since
    for kind, table in tables.items():
        here, time = time[: len(table.frame)], time[len(table.frame) :]
        tables[kind] = replace(table, frame=table.frame[["session", "item"]].assign(time=here))
    items = None
    if categories is not None:
        items = _diginetica(categories, {"item": "itemId", "category": "categoryId"}, "categories").frame
    return _of_kinds(tables, items)


def read_movielens_clicks(
    release: str,
    folder: str | Path,
    download: bool = False,
    min_rating: float | None = None,
    gap_minutes: float | None = None,
) -> Sessions:
    """Reads a MovieLens release as clickstreams; see `nnrec.data.read_movielens` and `as_clicks`."""
    return as_clicks(read_movielens(release, folder, download), min_rating, gap_minutes)


def as_clicks(ratings: Ratings, min_rating: float | None = None, gap_minutes: float | None = None) -> Sessions:
    """Converts ratings to clickstreams: the items that a user rated, in order of time.

    Args:
        ratings: the ratings.
        min_rating: lower ratings are dropped; None = none.
        gap_minutes: a pause of more than this many minutes starts a new session; None: one session per user.

    Raises:
        DataError: the ratings have no times, or only an order although `gap_minutes` is given; none is high enough.
    """
    if ratings.time is None:
        raise DataError("Ratings without times cannot be read as clickstreams: who saw what first is not known.")
    kept = np.ones(len(ratings), bool) if min_rating is None else ratings.value >= min_rating
    if not kept.any():
        highest = ratings.scale[1]
        raise DataError(
            f"data.source.min_rating={min_rating:g} leaves no rating: the highest is {highest:g}. Lower it."
        )
    ratings = ratings.take(kept)
    frame = pd.DataFrame(
        {
            "user": pd.Categorical.from_codes(ratings.user, ratings.users.index),
            "item": pd.Categorical.from_codes(ratings.item, ratings.items.index),
            "time": ratings.time,
        }
    )
    table = Table(frame, lambda row: f"rating {row}", "the ratings")
    items = ratings.item_table
    if items is not None:
        items = items.assign(item=ratings.items.ids)
    sessions = assemble([Log(table)], time_kind=ratings.time_kind, gap_minutes=gap_minutes, items=items)
    notes = [] if min_rating is None else [f"Ratings below {min_rating:g}: left out {int((~kept).sum()):,}."]
    return replace(sessions, notes=(*ratings.notes, *notes, *sessions.notes))


def _of_kinds(tables: dict[str, Table], items: pd.DataFrame | None = None) -> Sessions:
    """Builds sessions from one table per kind of event; sessions without an event of the first kind are dropped."""
    if len(tables) == 1:
        return assemble([Log(table) for table in tables.values()], items=items)
    sessions = assemble([Log(table, event=kind) for kind, table in tables.items()], items=items)
    weak, strong = sessions.event_names
    kept = np.bincount(sessions.session[sessions.event == 0], minlength=sessions.num_sessions) > 0
    if kept.all():
        return sessions
    return sessions.take(kept).noted(f"Sessions with a {strong} but no {weak}: left out {int((~kept).sum()):,}.")


def _diginetica(path: str | Path, columns: dict[str, str], setting: str) -> Table:
    key = f"data.source.{setting}"
    try:
        return read_columns(path, columns, ";", key=key)
    except MissingColumn as error:
        other = {role: OTHER_NAMES[role] if name in NAMES.values() else name for role, name in columns.items()}
        try:
            return read_columns(path, other, ";", key=key)
        except MissingColumn:
            raise error from None

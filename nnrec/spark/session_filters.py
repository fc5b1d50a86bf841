"""The filters of `nnrec.data.filters.sessions`, in the same order and with the same results, on Spark data frames."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.sessions import check_filters, filter_sessions
from nnrec.data.filters.stoplist import catch, in_words, read_words
from nnrec.data.sessions import Sessions
from nnrec.spark.frames import counts_of, mapped, order

EACH = Window.partitionBy("session")


def filtered(rows: DataFrame, sessions: Sessions, filters: Mapping[str, Any]) -> tuple[DataFrame, Sessions]:
    """The remaining events, and their vocabulary, table and notes.

    Args:
        rows: as returned by `nnrec.spark.session_preparation.encoded`.
        sessions: without events.
        filters: arguments of `nnrec.data.filters.sessions.filter_sessions`.

    Raises:
        DataError: no events remain.
        ConfigError: an argument is out of range.
    """
    known = dict(inspect.signature(filter_sessions).parameters)
    settings = {name: known[name].default for name in list(known)[1:]}
    if unknown := [name for name in filters if name not in settings]:
        raise ConfigError(f"There is no filter {unknown[0]!r}. Known: {', '.join(settings)}.")
    settings |= filters
    longest, shortest = settings["max_session_length"], settings["min_session_length"]
    check_filters(longest, shortest, settings["min_item_support"])
    if settings["stoplist"] is not None:
        rows, sessions = _drop_stopped(rows, sessions, read_words(settings["stoplist"], "filters.stoplist"))
    if settings["collapse_repeats"]:
        rows, sessions = _collapse(rows, sessions)
    if longest is not None:
        rows, sessions = _drop_long(rows, sessions, longest)
    rows, sessions = _drop_rare(rows, sessions, shortest, settings["min_item_support"])
    if settings["min_item_support"] == 0:
        return rows, sessions
    some = counts_of(rows, "item", sessions.num_items) > 0
    if some.all():
        return rows, sessions
    rows, sessions = _restricted(rows, sessions, some)
    return rows, sessions.noted(f"Left without an event: removed {int((~some).sum()):,} items.")


def number_of(rows: DataFrame) -> int:
    """The number of sessions."""
    return rows.select("session").distinct().count()


def _drop_stopped(rows: DataFrame, sessions: Sessions, words: list[str]) -> tuple[DataFrame, Sessions]:
    stopped = catch(sessions.item_table, sessions.items, words, "filters.stoplist")
    named = f"Stoplist ({in_words(words)})"
    if not len(stopped):
        return rows, sessions.noted(f"{named}: caught no item.")
    allowed = np.ones(sessions.num_items, bool)
    allowed[stopped["item"]] = False
    before = rows.count()
    rows, sessions = _restricted(rows.filter(mapped(rows, "item", allowed)), sessions, allowed)
    left = rows.count()
    if not left:
        raise DataError(f"filters.stoplist ({in_words(words)}) leaves none of the {before:,} events.")
    return rows, sessions.noted(f"{named}: removed {len(stopped):,} items with {before - left:,} events.")


def _collapse(rows: DataFrame, sessions: Sessions) -> tuple[DataFrame, Sessions]:
    each = EACH.orderBy(*order(rows))
    begins = F.coalesce(F.lag("item").over(each) != F.col("item"), F.lit(True))
    rows = rows.withColumn("begins", begins)
    if "event" in rows.columns:
        run = Window.partitionBy("session", "run")
        rows = rows.withColumn("run", F.sum(F.col("begins").cast("int")).over(each))
        rows = rows.withColumn("event", F.max("event").over(run)).drop("run")
    before = rows.count()
    rows = rows.filter("begins").drop("begins").persist()
    gone = before - rows.count()
    return rows, sessions.noted(f"Repeats in a row: removed {gone:,} events.") if gone else sessions


def _drop_long(rows: DataFrame, sessions: Sessions, longest: int) -> tuple[DataFrame, Sessions]:
    rows = rows.withColumn("length", F.count("*").over(EACH)).persist()
    most, events = rows.agg(F.max("length"), F.count("*")).collect()[0]
    if most <= longest:
        return rows.drop("length"), sessions
    number = number_of(rows)
    rows = rows.filter(F.col("length") <= longest).drop("length")
    left = number_of(rows)
    if not left:
        raise DataError(f"filters.max_session_length={longest} leaves none of the {number:,} sessions: raise it.")
    return rows, sessions.noted(
        f"Sessions of more than {longest:,} events: removed {number - left:,} with {events - rows.count():,} events "
        f"(the longest had {most:,})."
    )


def _drop_rare(rows: DataFrame, sessions: Sessions, per_session: int, per_item: int) -> tuple[DataFrame, Sessions]:
    before, number = rows.count(), number_of(rows)
    kept, left = rows, before
    while True:
        still = kept.withColumn("length", F.count("*").over(EACH))
        still = still.filter(F.col("length") >= per_session).drop("length")
        if per_item > 1:
            still = still.filter(mapped(still, "item", counts_of(kept, "item", sessions.num_items) >= per_item))
        kept = still.localCheckpoint()
        if kept.count() == left:
            break
        left = kept.count()
    if not left:
        raise DataError(
            f"filters.min_session_length={per_session} and filters.min_item_support={per_item} leave none of the "
            f"{before:,} events: lower them."
        )
    if left == before:
        return kept, sessions
    return kept, sessions.noted(
        f"Minimum counts ({per_session} events per session, {per_item} per item): removed {before - left:,} events and "
        f"{number - number_of(kept):,} sessions."
    )


def _restricted(rows: DataFrame, sessions: Sessions, items: np.ndarray) -> tuple[DataFrame, Sessions]:
    """The rows, all of which are of some items (mask), with new item indices, vocabulary and table."""
    rows = rows.withColumn("item", mapped(rows, "item", (np.cumsum(items) - 1).astype(np.int32)))
    table = sessions.item_table
    table = None if table is None else table[items].reset_index(drop=True)
    return rows, replace(sessions, items=sessions.items.take(items), item_table=table)

"""Shards of sessions from raw logs, as `nnrec.commands.prepare` writes them, on any number of machines.

The driver holds the vocabulary of the items and a number for each item; only the workers hold sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from nnrec.core.config.build import build
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.readers.ratings import dense
from nnrec.data.readers.sessions import MINUTE, chosen_kinds, group_of, with_catalogue
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary
from nnrec.spark.frames import indexed, mapped, order
from nnrec.spark.logs import ARRIVAL, read_log
from nnrec.spark.session import spark_session
from nnrec.spark.session_filters import filtered, number_of
from nnrec.spark.session_splits import checked, split_up
from nnrec.spark.writing import Prepared, say, write
from nnrec.splits.shards.sessions import COLUMNS, PARTS, about_of, schema_of

ROLES = ("session", "user", "item", "time", "event")


def prepare_sessions(config: Any, source: Mapping[str, Any], filters: Mapping[str, Any], folder: Path) -> Prepared:
    """Reads, filters and splits sessions, and writes their shards.

    Args:
        config: the configuration, composed from conf/prepare.yaml.
        source, filters: settings of the data, as plain dictionaries.
        folder: the folder to write the shards to.
    """
    splitter = checked(build(config.split, "split"))
    if source.get("test_path") is not None:
        raise ConfigError("Spark reads one log, without a test file of its own: leave data.source.test_path=null.")
    spark = spark_session(f"nnrec prepare {config.data.name}")
    rows, sessions = encoded(spark, source)
    rows, sessions = filtered(rows, sessions, filters)
    rows, numbers, definition = split_up(rows, sessions, splitter)
    say(sessions.notes, definition)
    longest = None
    if dict(rows.dtypes)["session"] == "string":
        longest = rows.agg(F.max(F.octet_length("session"))).collect()[0][0]
    if "moment" in rows.columns:
        rows = rows.withColumn("time", F.col("moment"))
    columns = [name for name in COLUMNS if name in rows.columns]
    written = write(rows, folder, schema_of(columns, longest is not None), PARTS, numbers, order(rows))
    sizes = dict(zip(PARTS, numbers, strict=True))
    return sessions, about_of(config.data.name, sessions, columns, sizes, longest, definition), written


def encoded(spark: SparkSession, source: Mapping[str, Any]) -> tuple[DataFrame, Sessions]:
    """The events of a log with item indices, and `Sessions` without events: vocabulary, table, notes.

    Returns:
        A data frame with the columns session (raw ids), item and, if the log has them, moment (double) and event;
        those of `nnrec.spark.logs.ARRIVAL`; and start, which sorts the sessions.
    """
    group = group_of({role for role in ROLES if source.get(role) is not None}, source.get("gap_minutes"))
    log, name = read_log(spark, source, ROLES)
    if group == "user":
        log = log.withColumnRenamed("user", "session")
    items = _ids_of(log, "item")
    log = indexed(log, "item", items)
    names: tuple[str, ...] = ()
    notes: list[str] = []
    if "event" in log.columns:
        events = _ids_of(log, "event")
        if len(events) > np.iinfo(np.int16).max:
            raise DataError(f"The event column holds {len(events):,} different values: is it the right column?")
        names = tuple(map(str, events.ids))
        log = indexed(log, "event", events).withColumn("event", F.col("event").cast("smallint"))
    if source.get("events") is not None:
        before = log.count()
        every = np.arange(len(names), dtype=np.int16) if names else None
        names, codes, _ = chosen_kinds(names, every, list(source["events"]))
        log = log.filter(mapped(log, "event", codes >= 0)).withColumn(
            "event", mapped(log, "event", codes.astype(np.int32)).cast("smallint")
        )
        notes.append(f"Events other than {', '.join(names)}: left out {before - log.count():,}.")
    kind = None
    if "moment" in log.columns:
        log = log.withColumn("moment", F.col("moment").cast("double"))
        kind = "order" if _counts_up(log) else "timestamp"
    gap = source.get("gap_minutes")
    if group == "user" and gap is not None and kind is not None:
        if kind == "order":
            raise DataError(
                "Cutting a user's events at pauses needs timestamps; these data have only the order within each user. "
                "data.source.gap_minutes=null takes all events of a user as one session."
            )
        log = _cut(log, gap * MINUTE)
        notes.append(f"Sessions end where a user pauses for more than {gap:g} minutes.")
    each = Window.partitionBy("session")
    first = [F.min("moment").over(each).alias("moment")] if kind == "timestamp" else []
    log = log.withColumn("start", F.struct(*first, F.min(F.struct(*ARRIVAL)).over(each).alias("arrival")))
    log = log.persist(StorageLevel.MEMORY_AND_DISK)
    sessions = Sessions(
        ids=Vocabulary(np.zeros(0, np.int64)),
        items=items,
        offsets=np.zeros(1, np.int64),
        item=np.zeros(0, np.int32),
        time_kind=kind,  # type: ignore[arg-type]
        event_names=names,
    ).noted(
        f"Read {log.count():,} events in {number_of(log):,} sessions, of {len(items):,} items, from {name}.", *notes
    )
    sessions = with_catalogue(sessions, source.get("item_table"), bool(source.get("new_items")))
    return log, sessions


def _ids_of(log: DataFrame, role: str) -> Vocabulary:
    ids = log.select(role).distinct().toPandas()[role]
    return dense(ids, role, lambda row: "the log")[0]


def _counts_up(log: DataFrame) -> bool:
    """Whether every session's times are 0, 1, 2, ...: positions instead of timestamps."""
    per_session = log.groupBy("session").agg(
        F.min("moment").alias("first"),
        F.max("moment").alias("last"),
        F.count("*").alias("number"),
        F.count_distinct("moment").alias("distinct"),
        F.max(F.col("moment") % 1).alias("fraction"),
    )
    counts = (F.col("first") == 0) & (F.col("last") == F.col("number") - 1) & (F.col("distinct") == F.col("number"))
    return per_session.filter(~counts | (F.col("fraction") > 0)).isEmpty()


def _cut(log: DataFrame, gap: float) -> DataFrame:
    """Splits users' events into sessions <user id>-<number from 1> at pauses of more than `gap` seconds."""
    each = Window.partitionBy("session").orderBy(*order(log))
    pause = F.col("moment") - F.lag("moment").over(each)
    log = log.withColumn("begins", F.coalesce(pause > gap, F.lit(True)).cast("int"))
    number = F.sum("begins").over(each).cast("string")
    return log.withColumn("session", F.concat(F.col("session").cast("string"), F.lit("-"), number)).drop("begins")

"""Shards from raw logs, as `nnrec.commands.prepare` writes them, on any number of machines.

All rows are processed on the workers. The driver holds what every training also holds: the vocabularies, and a few
numbers per user and item.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nnrec.commands.prepare import check, tell
from nnrec.core.config.build import build
from nnrec.core.config.old_names import with_current_names
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.catalogue import write_catalogue
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import dense, event_factors
from nnrec.data.side_information import read_item_table, read_user_table, with_table
from nnrec.data.vocabulary import Vocabulary
from nnrec.spark.filters import filtered
from nnrec.spark.frames import indexed, order
from nnrec.spark.logs import ARRIVAL, read_log
from nnrec.spark.session import spark_session
from nnrec.spark.session_preparation import prepare_sessions
from nnrec.spark.splits import PARTS, check_splitter, split_up
from nnrec.spark.writing import Prepared, say, write
from nnrec.splits.shards.ratings import COLUMNS, about_of, schema_of
from nnrec.splits.shards.shard_files import write_about

READER = "nnrec.data.read_table"
CLICKS_READER = "nnrec.data.read_clicks"


def execute(config: Any) -> None:
    """Reads, filters and splits ratings or sessions, and writes them as shards.

    Args:
        config: the configuration, composed from conf/prepare.yaml.

    Raises:
        NnrecError: the shards cannot be written.
    """
    from omegaconf import OmegaConf

    folder = check(config)
    plain: Any = OmegaConf.to_container(config.data, resolve=True)
    source, filters = with_current_names(plain.get("source") or {}), plain.get("filters") or {}
    readers = {READER: _ratings, CLICKS_READER: prepare_sessions}
    if source.get("_target_") not in readers:
        raise ConfigError(
            f"Spark reads data=table and data=clicks, and data={config.data.name} has a reader of its own. Name its "
            "columns with data=table data.source.path=... data.source.user=... (conf/data/table.yaml, clicks.yaml)."
        )
    if missing := sorted(OmegaConf.missing_keys(config.data)):
        raise ConfigError(f"data.{missing[0]} has no value. Give it on the command line: data.{missing[0]}=<value>.")
    data, about, written = readers[source["_target_"]](config, source, filters, folder)
    for part, shards in written.items():
        for shard in shards:
            if not (folder / part / shard).is_file():
                raise DataError(f"{folder / part / shard} was written elsewhere: output must be a folder that all see.")
    write_catalogue(folder, data)
    write_about(folder, about, written)
    tell(folder, data.family)


def _ratings(config: Any, source: Mapping[str, Any], filters: Mapping[str, Any], folder: Path) -> Prepared:
    splitter = build(config.split, "split")
    check_splitter(splitter)
    spark = spark_session(f"nnrec prepare {config.data.name}")
    rows, ratings = encoded(spark, source)
    rows, ratings = filtered(rows, ratings, filters)
    rows, definition, new_users = split_up(rows, ratings, splitter, config.seed)
    say(ratings.notes, definition)
    columns = [name for name in COLUMNS if name in rows.columns]
    parts = PARTS[: 5 if new_users else 3]
    rows = rows.withColumn("index", F.col("user").cast("bigint"))
    written = write(rows, folder, schema_of(columns), parts, [ratings.num_users] * len(parts), order(rows))
    return ratings, about_of(config.data.name, ratings, columns, definition, new_users), written


def encoded(spark: SparkSession, source: Mapping[str, Any]) -> tuple[DataFrame, Ratings]:
    """The rows of a log with indices instead of ids, and `Ratings` without rows: vocabularies, tables, notes.

    Returns:
        A data frame with the columns user, item, value and, if the log has them, time, weight, event, as in shards;
        moment (times with fractions of seconds) if there is a time; and those of `nnrec.spark.logs.ARRIVAL`.
    """
    log, name = read_log(spark, source)
    number = log.count()
    users, items = (_vocabulary(log, role) for role in ("user", "item"))
    log = indexed(indexed(log, "user", users), "item", items).withColumn("value", F.col("value").cast("float"))
    names: tuple[str, ...] = ()
    if "weight" in log.columns:
        log = log.withColumn("weight", F.col("weight").cast("float"))
    if "event" in log.columns:
        events = _vocabulary(log, "event")
        names = tuple(map(str, events.ids))
        factors = event_factors(source["event_weights"], names, name) if source.get("event_weights") else None
        log = indexed(log, "event", events, factors).withColumn("event", F.col("event").cast("smallint"))
    elif source.get("event_weights"):
        event_factors(source["event_weights"], names, name)
    kind = None
    if "moment" in log.columns:
        log = log.withColumn("time", F.floor("moment").cast("bigint"))
        kind = "order" if _counts_up(log) else "timestamp"
    ratings = Ratings(
        users=users,
        items=items,
        user=np.zeros(0, np.int32),
        item=np.zeros(0, np.int32),
        value=np.zeros(0, np.float32),
        time_kind=kind,  # type: ignore[arg-type]
        event_names=names,
    ).noted(f"Read {number:,} ratings of {len(users):,} users and {len(items):,} items from {name}.")
    for role, read in (("item", read_item_table), ("user", read_user_table)):
        table = source.get(f"{role}_table")
        if table and table.get("path") is not None:
            ratings = with_table(ratings, read(**table), role)  # type: ignore[arg-type]
    kept = [column for column in (*COLUMNS, "moment", *ARRIVAL) if column in log.columns]
    return log.select(*kept).persist(StorageLevel.MEMORY_AND_DISK), ratings


def _vocabulary(log: DataFrame, role: str) -> Vocabulary:
    ids = log.select(role).distinct().toPandas()[role]
    return dense(ids, role, lambda row: "the log")[0]


def _counts_up(log: DataFrame) -> bool:
    """Whether every user's times are 0, 1, 2, ...: positions instead of timestamps."""
    per_user = log.groupBy("user").agg(
        F.min("time").alias("first"),
        F.max("time").alias("last"),
        F.count("*").alias("number"),
        F.count_distinct("time").alias("distinct"),
    )
    counts = (F.col("first") == 0) & (F.col("last") == F.col("number") - 1) & (F.col("distinct") == F.col("number"))
    return per_user.filter(~counts).isEmpty()

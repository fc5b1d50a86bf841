"""Shards from raw logs, as `nnrec.preparation` writes them, on any number of machines.

What happens to rows happens on the workers. The driver holds what every training holds too: the vocabularies, and a few
numbers per user and item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nnrec.config import build
from nnrec.console import console
from nnrec.data.attributes import read_item_table, read_user_table, with_table
from nnrec.data.rating_shards import COLUMNS, about_of, schema_of
from nnrec.data.ratings import Ratings
from nnrec.data.readers import dense, event_factors
from nnrec.data.shards import num_shards, shard_name, write_about, write_catalogue, write_shard
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import ConfigError, DataError
from nnrec.preparation import check, tell
from nnrec.spark.filters import filtered
from nnrec.spark.frames import order
from nnrec.spark.logs import ARRIVAL, read_log
from nnrec.spark.session import spark_session
from nnrec.spark.splits import PARTS, check_splitter, split_up

READER = "nnrec.data.readers.read_table"


def execute(config: Any) -> None:
    """Reads, filters and splits ratings, and writes them as shards.

    Args:
        config: the configuration, composed from conf/prepare.yaml.

    Raises:
        NnrecError: whatever stands in the way, in words for the user.
    """
    from omegaconf import OmegaConf

    folder = check(config)
    plain: Any = OmegaConf.to_container(config.data, resolve=True)
    source, filters = plain.get("source") or {}, plain.get("filters") or {}
    if source.get("_target_") != READER:
        raise ConfigError(
            f"Spark reads data=table, and data={config.data.name} has a reader of its own. Name its columns with "
            "data=table data.source.path=... data.source.user=... (conf/data/table.yaml)."
        )
    if missing := sorted(OmegaConf.missing_keys(config.data)):
        raise ConfigError(f"data.{missing[0]} has no value. Give it on the command line: data.{missing[0]}=<value>.")
    splitter = build(config.split, "split")
    check_splitter(splitter)
    spark = spark_session(f"nnrec prepare {config.data.name}")
    rows, ratings = encoded(spark, source)
    rows, ratings = filtered(rows, ratings, filters)
    rows, definition, new_users = split_up(rows, ratings, splitter, config.seed)
    for note in ratings.notes:
        console.print(note, soft_wrap=True)
    console.print(f"Split: {definition}", soft_wrap=True)
    columns = [name for name in COLUMNS if name in rows.columns]
    written = write(rows, ratings, columns, folder)
    for part in PARTS[: 5 if new_users else 3]:
        for shard in written.setdefault(part, {}):
            if not (folder / part / shard).is_file():
                raise DataError(f"{folder / part / shard} was written elsewhere: output must be a folder that all see.")
    write_catalogue(folder, ratings)
    write_about(folder, about_of(config.data.name, ratings, columns, definition, new_users), written)
    tell(folder, "ratings")


def encoded(spark: SparkSession, source: Mapping[str, Any]) -> tuple[DataFrame, Ratings]:
    """The rows of a log with indices for ids, and `Ratings` without rows: vocabularies, tables, notes.

    Returns:
        Columns user, item, value and, where there are such, time, weight, event, as in shards; moment (times with
        their fractions) where there is a time; and those of `nnrec.spark.logs.ARRIVAL`.
    """
    log, name = read_log(spark, source)
    number = log.count()
    users, items = (_vocabulary(log, role) for role in ("user", "item"))
    log = _indexed(_indexed(log, "user", users), "item", items).withColumn("value", F.col("value").cast("float"))
    names: tuple[str, ...] = ()
    if "weight" in log.columns:
        log = log.withColumn("weight", F.col("weight").cast("float"))
    if "event" in log.columns:
        events = _vocabulary(log, "event")
        names = tuple(map(str, events.ids))
        factors = event_factors(source["event_weights"], names, name) if source.get("event_weights") else None
        log = _indexed(log, "event", events, factors).withColumn("event", F.col("event").cast("smallint"))
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


def _indexed(log: DataFrame, role: str, vocabulary: Vocabulary, factors: np.ndarray | None = None) -> DataFrame:
    """The log with indices in the place of ids; the weight times the factor of each id, where there are such."""
    table = pd.DataFrame({role: vocabulary.ids, "index": np.arange(len(vocabulary), dtype=np.int32)})
    schema = f"{role} {'bigint' if vocabulary.numeric else 'string'}, index int"
    if factors is not None:
        table, schema = table.assign(factor=factors), f"{schema}, factor float"
    log = log.join(log.sparkSession.createDataFrame(table, schema), role).drop(role).withColumnRenamed("index", role)
    if factors is None:
        return log
    weight = F.col("weight") * F.col("factor") if "weight" in log.columns else F.col("factor")
    return log.withColumn("weight", weight.cast("float")).drop("factor")


def _counts_up(log: DataFrame) -> bool:
    """Whether every user's times are 0, 1, 2 ...: an order, not a moment."""
    per_user = log.groupBy("user").agg(
        F.min("time").alias("first"),
        F.max("time").alias("last"),
        F.count("*").alias("number"),
        F.count_distinct("time").alias("distinct"),
    )
    counts = (F.col("first") == 0) & (F.col("last") == F.col("number") - 1) & (F.col("distinct") == F.col("number"))
    return per_user.filter(~counts).isEmpty()


def write(rows: DataFrame, ratings: Ratings, columns: list[str], folder: Path) -> dict[str, dict[str, int]]:
    """Writes the shards, each by one worker, and returns the rows of each: part -> shard -> rows.

    Args:
        rows: with a column `part`, an index into `PARTS`.
        columns: of the shards.
    """
    sizes = {row["part"]: row["count"] for row in rows.groupBy("part").count().collect()}
    shards = {part: num_shards(number) for part, number in sizes.items()}
    number = F.coalesce(*(F.when(F.col("part") == part, F.lit(count)) for part, count in shards.items()))
    shard = F.floor(F.col("user").cast("bigint") * number / F.lit(ratings.num_users)).cast("int")
    placed = rows.withColumn("shard", shard).repartition(sum(shards.values()), "part", "shard")
    ordered = placed.sortWithinPartitions("part", "shard", "user", *order(rows)).select("part", "shard", *columns)
    schema = "part int, shard int, rows bigint"
    found = ordered.mapInArrow(_writer(str(folder.absolute()), columns), schema).collect()
    written: dict[str, dict[str, int]] = {PARTS[part]: {} for part in sorted(sizes)}
    for row in sorted(found):
        written[PARTS[row["part"]]][shard_name(row["shard"])] = row["rows"]
    return written


def _writer(folder: str, columns: list[str]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a worker does with the rows of its shards, which come one shard after the other."""

    def pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[tuple[int, int], dict[str, np.ndarray]]]:
        for batch in batches:
            arrays = {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}
            part, shard = arrays.pop("part"), arrays.pop("shard")
            edges = np.flatnonzero((np.diff(part) != 0) | (np.diff(shard) != 0)) + 1
            for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(part)], strict=True):
                if stop > start:
                    key = int(part[start]), int(shard[start])
                    yield key, {name: array[start:stop] for name, array in arrays.items()}

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (part, shard), group in groupby(pieces(batches), key=lambda piece: piece[0]):
            path = Path(folder) / PARTS[part] / shard_name(shard)
            rows = write_shard(path, schema_of(columns), (chunk for _, chunk in group))
            yield pa.RecordBatch.from_pydict(
                {"part": pa.array([part], pa.int32()), "shard": pa.array([shard], pa.int32()), "rows": [rows]}
            )

    return work

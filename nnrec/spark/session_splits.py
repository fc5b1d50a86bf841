"""The splits of `nnrec.splits.sessions` by time, on Spark data frames, and the order of all sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nnrec.core.errors import ConfigError
from nnrec.data.sessions import Sessions
from nnrec.spark.frames import counts_of, mapped
from nnrec.spark.session_filters import number_of
from nnrec.splits.sessions import LastDays, LastSessions, UsualSessions, check_longest, check_parts, in_words

NAMES = ("training", "validation", "test")


def checked(splitter: Any) -> LastDays | LastSessions:
    """The splitter to use on Spark.

    Raises:
        ConfigError: the splitter is not available on Spark.
    """
    if isinstance(splitter, UsualSessions):  # a raw log has no published test file
        return LastSessions(splitter.test, splitter.validation)
    if not isinstance(splitter, (LastDays, LastSessions)):
        name = type(splitter).__name__
        raise ConfigError(f"{name} does not split sessions on Spark. Use split=last_days or split=last_sessions.")
    return splitter


def split_up(
    rows: DataFrame, sessions: Sessions, splitter: LastDays | LastSessions
) -> tuple[DataFrame, list[int], str]:
    """The events with columns `part`, an index into `NAMES`, and `index`, the position of their session in its part.

    Args:
        rows: filtered; `start` sorts the sessions.
        sessions: without events.

    Returns:
        These events, the number of sessions in each part, and the description of the split.

    Raises:
        DataError: a part is empty or has nothing to predict, or the split needs times and there are none.
    """
    each = rows.groupBy("session").agg(
        F.first("start").alias("start"),
        F.count("*").alias("length"),
        *([F.max("moment").alias("last"), F.min("moment").alias("first")] if "moment" in rows.columns else []),
    )
    if isinstance(splitter, LastDays):
        splitter.check(sessions.time_kind)
        end, begin = each.agg(F.max("last"), F.min("first")).collect()[0]
        edges, how, advice = splitter.edges(end), splitter.how(end), splitter.advice(end - begin)
        each = each.withColumn("part", _part(F.col("last"), edges))
        each = _numbered(each, [F.col("part"), F.col("start")])
    else:
        whole = splitter.edges(number_of(rows))
        edges, how, advice = whole, splitter.how(sessions.time_kind), splitter.ADVICE
        each = _numbered(each, [F.col("start")])
        each = each.withColumn("part", _part(F.col("number"), edges))
    each = each.persist()
    found = {
        row["part"]: row
        for row in each.groupBy("part")
        .agg(F.count("*").alias("sessions"), F.sum("length").alias("events"), F.max("length").alias("longest"))
        .collect()
    }
    numbers = [found[part]["sessions"] if part in found else 0 for part in range(3)]
    check_parts(dict(zip(NAMES, numbers, strict=True)), advice)
    for part in (1, 2):
        check_longest(NAMES[part], numbers[part], found[part]["longest"], advice)
    before = F.element_at(F.array(*(F.lit(int(sum(numbers[:part]))) for part in range(3))), F.col("part") + 1)
    each = each.select("session", "part", (F.col("number") - before).alias("index"))
    rows = rows.join(each, "session").persist()
    known = counts_of(rows.filter("part = 0"), "item", sessions.num_items) > 0
    unknown = rows.filter(~mapped(rows, "item", known)).groupBy("part").count().collect()
    missing = {row["part"]: row["count"] for row in unknown}
    events = [found[part]["events"] for part in range(3)]
    return rows, numbers, in_words(how, numbers, events, [missing.get(part, 0) for part in (1, 2)])


def _part(column: Column, edges: tuple[float, float]) -> Column:
    """0 below the first edge, 1 below the second, else 2."""
    validated, tested = (F.lit(float(edge)) for edge in edges)
    return F.when(column < validated, 0).when(column < tested, 1).otherwise(2).cast("int")


def _numbered(frame: DataFrame, columns: list[Column]) -> DataFrame:
    """Adds a column `number`: each row's position, from 0, when sorted by some columns; sorts on the workers."""
    # The upper bits of the id are the partition, the lower 33 bits the row within it.
    frame = frame.orderBy(*columns).withColumn("id", F.monotonically_increasing_id()).persist()
    partition = F.shiftright("id", 33).cast("int")
    counts = frame.groupBy(partition.alias("partition")).count().collect()
    sizes = np.zeros(1 + max((row["partition"] for row in counts), default=0), np.int64)
    for row in counts:
        sizes[row["partition"]] = row["count"]
    before = F.array(*(F.lit(int(size)) for size in np.cumsum(sizes) - sizes))
    place = F.element_at(before, partition + 1) + F.col("id").bitwiseAND(2**33 - 1)
    return frame.withColumn("number", place.cast("bigint")).drop("id")

"""Splits that need no order of all ratings, on Spark data frames; parts are those of the single-machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nnrec.core.errors import ConfigError
from nnrec.data.age_weighting import SECONDS_PER_DAY
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.ratings import Ratings
from nnrec.spark.frames import computed, counts_of, mapped, order
from nnrec.splits.hashed import Hashed, HashedUsers, draws, id_hashes
from nnrec.splits.ratings import SHARED_MOMENTS, TimeSplit
from nnrec.splits.shares import first_of_last
from nnrec.splits.split import MORE_DATA, with_sizes
from nnrec.splits.users import LeaveOneOut, UserTimeSplit, held_out_in_words, need_times, num_targets

# The folders of shards; TRAIN, VALIDATION and TEST are the indices of the first three.
PARTS = ("train", "validation", "test", "validation_history", "test_history")
SPLITS = (Hashed, HashedUsers, UserTimeSplit, TimeSplit, LeaveOneOut)


def check_splitter(splitter: Any) -> None:
    """Checks that Spark can draw this split as the single-machine code does.

    Raises:
        ConfigError: it cannot.
    """
    if isinstance(splitter, LeaveOneOut) and splitter.which == "random":
        raise ConfigError("split=leave_one_out draws in the order of all ratings. With Spark use split.which=last.")
    if not isinstance(splitter, SPLITS):
        name = type(splitter).__name__
        other = "hashed_users" if name == "HeldOutUsers" else "hashed"
        raise ConfigError(
            f"{name} draws in the order of all ratings, which Spark has not. Use split={other}, which draws by a hash "
            "of user and item, or a split by time (user_time, time, leave_one_out with split.which=last)."
        )


def split_up(rows: DataFrame, ratings: Ratings, splitter: Any, seed: int) -> tuple[DataFrame, str, bool]:
    """The rows with a column `part` (an index into `PARTS`), the split's description, whether users are held out whole.

    Args:
        rows: filtered.
        ratings: without rows.
        splitter: one of `SPLITS`.

    Raises:
        DataError: a part is empty, or the split needs times and there are none.
    """
    if isinstance(splitter, HashedUsers):
        return _held_out(rows, ratings, splitter, seed)
    advice = MORE_DATA
    if isinstance(splitter, Hashed):
        rows = _drawn(rows, ratings, seed).withColumn("part", computed(splitter.parts, "tinyint", "draw")).drop("draw")
        how = splitter.how(seed)
    elif isinstance(splitter, TimeSplit):
        rows, how = _by_moment(rows, ratings, splitter)
        advice = SHARED_MOMENTS
    else:
        need_times(ratings, "split=hashed")
        rows, how = _by_place(rows, splitter, seed)
        if isinstance(splitter, LeaveOneOut):
            advice = "Users need three ratings or more."
    rows = rows.persist()
    return rows, with_sizes(how, _sizes(rows), advice), False


def _sizes(rows: DataFrame) -> dict[str, int]:
    found = {row["part"]: row["count"] for row in rows.groupBy("part").count().collect()}
    return {name: found.get(number, 0) for number, name in enumerate(PARTS[:3])}


def _drawn(rows: DataFrame, ratings: Ratings, seed: int) -> DataFrame:
    """Adds a column `draw`: a random number from a hash of seed, user and item."""
    for role, hashes in (("user", id_hashes(ratings.users)), ("item", id_hashes(ratings.items))):
        rows = rows.withColumn(f"{role}_hash", mapped(rows, role, hashes.view(np.int64)))

    def draw(user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return draws(seed, user.view(np.uint64), item.view(np.uint64))

    return rows.withColumn("draw", computed(draw, "double", "user_hash", "item_hash")).drop("user_hash", "item_hash")


def _by_place(rows: DataFrame, splitter: Any, seed: int) -> tuple[DataFrame, str]:
    each = Window.partitionBy("user")
    place = F.row_number().over(each.orderBy(*order(rows, descending=True))) - 1
    rows = rows.withColumn("place", place.cast("bigint")).withColumn("number", F.count("*").over(each))
    part = computed(splitter.parts, "tinyint", "place", "number")
    return rows.withColumn("part", part).drop("place", "number"), splitter.how(seed)


def _by_moment(rows: DataFrame, ratings: Ratings, splitter: TimeSplit) -> tuple[DataFrame, str]:
    splitter.check(ratings.time_kind)
    number = rows.count()
    test = _at_rank(rows, first_of_last(splitter.test, number))
    rest = rows.filter(F.col("time") < test)
    number = rest.count()
    validation = _at_rank(rest, first_of_last(splitter.validation, number)) if number else 0
    part = F.when(F.col("time") >= test, TEST).when(F.col("time") >= validation, VALIDATION).otherwise(TRAIN)
    return rows.withColumn("part", part.cast("tinyint")), splitter.how(test, validation)


def _at_rank(rows: DataFrame, rank: int) -> int:
    """The time at this rank (from 0) among all sorted times; finds the day first, then the time within it."""
    for unit in (SECONDS_PER_DAY, 1):
        step = F.floor(F.col("time") / F.lit(unit)).cast("bigint").alias("step")
        found = rows.groupBy(step).count().orderBy("step").toPandas()
        ends = found["count"].cumsum().to_numpy()
        at = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[at - 1]) if at else 0
        value = int(found["step"].iloc[at])
        rows = rows.filter(step == value) if unit > 1 else rows
    return value


def _held_out(rows: DataFrame, ratings: Ratings, splitter: HashedUsers, seed: int) -> tuple[DataFrame, str, bool]:
    count = counts_of(rows, "user", ratings.num_users)
    roles = splitter.roles(draws(seed, id_hashes(ratings.users)), count)
    rows = rows.withColumn("role", mapped(rows, "user", roles)).persist()
    train = rows.filter(F.col("role") == TRAIN)
    trained = counts_of(train, "item", ratings.num_items) > 0
    others = rows.filter(F.col("role") != TRAIN)
    each = Window.partitionBy("user")
    others = others.filter(mapped(others, "item", trained)).withColumn("number", F.count("*").over(each))
    others = _drawn(others.filter("number >= 2"), ratings, seed)
    place = F.row_number().over(each.orderBy("draw", "item")) - 1

    def part(role: np.ndarray, place: np.ndarray, number: np.ndarray) -> np.ndarray:
        return np.where(place < num_targets(number, splitter.fold_in), role, role + 2).astype(np.int8)

    others = others.withColumn("place", place.cast("bigint"))
    others = others.withColumn("part", computed(part, "tinyint", "role", "place", "number"))
    together = train.withColumn("part", F.lit(TRAIN).cast("tinyint")).drop("role")
    together = together.unionByName(others.drop("role", "number", "place", "draw")).persist()
    users = [together.filter(F.col("part") == code).select("user").distinct().count() for code in (VALIDATION, TEST)]
    dropped = int(count.sum()) - together.count()
    how = held_out_in_words(users, splitter.fold_in, f"by a hash of user, item and seed {seed}", dropped)
    return together, with_sizes(how, _sizes(together)), True

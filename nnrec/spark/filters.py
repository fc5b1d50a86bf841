"""The filters of `nnrec.data.filters.ratings`, in the same order and with the same results, on Spark data frames.

The driver decides which users and items stay, from their counts and with the arithmetic of the single-machine code;
the workers hold masks of users and items.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.ratings import apply_filters, check_filters, restricted, within
from nnrec.data.filters.stoplist import catch, in_words, read_words
from nnrec.data.ratings import Ratings
from nnrec.spark.frames import counts_of, mapped, order


def filtered(rows: DataFrame, ratings: Ratings, filters: Mapping[str, Any]) -> tuple[DataFrame, Ratings]:
    """The remaining rows, and their vocabularies, tables and notes.

    Args:
        rows: as returned by `nnrec.spark.preparation.encoded`.
        ratings: without rows.
        filters: arguments of `nnrec.data.filters.ratings.apply_filters`.

    Raises:
        DataError: no rows remain, or there are duplicates and filters.duplicates=error.
        ConfigError: an argument is out of range.
    """
    known = dict(inspect.signature(apply_filters).parameters)
    settings = {name: known[name].default for name in list(known)[1:]}
    if unknown := [name for name in filters if name not in settings]:
        raise ConfigError(f"There is no filter {unknown[0]!r}. Known: {', '.join(settings)}.")
    settings |= filters
    stoplist = settings.pop("stoplist")
    check_filters(**settings)
    if stoplist is not None:
        rows, ratings = _drop_stopped(rows, ratings, read_words(stoplist, "filters.stoplist"))
    rows, ratings = _drop_duplicates(rows, ratings, settings["duplicates"])
    if settings["min_value"] is not None:
        rows, ratings = _drop_low(rows, ratings, settings["min_value"])
    rows = rows.persist()
    for role in ("user", "item"):
        if settings[f"outlier_{role}s"] is not None:
            rows, ratings = _drop_outliers(rows, ratings, role, settings[f"outlier_{role}s"])
    return _drop_rare(rows, ratings, settings["min_ratings_per_user"], settings["min_ratings_per_item"])


def _drop_stopped(rows: DataFrame, ratings: Ratings, words: list[str]) -> tuple[DataFrame, Ratings]:
    stopped = catch(ratings.item_table, ratings.items, words, "filters.stoplist")
    named = f"Stoplist ({in_words(words)})"
    if not len(stopped):
        return rows, ratings.noted(f"{named}: caught no item.")
    kept = np.ones(ratings.num_items, bool)
    kept[stopped["item"]] = False
    before = rows.count()
    rows, ratings = _restricted(rows, ratings, np.ones(ratings.num_users, bool), kept)
    left = rows.count()
    if not left:
        raise DataError(f"filters.stoplist ({in_words(words)}) leaves none of the {before:,} ratings.")
    return rows, ratings.noted(f"{named}: removed {len(stopped):,} items with {before - left:,} ratings.")


def _drop_duplicates(rows: DataFrame, ratings: Ratings, duplicates: str) -> tuple[DataFrame, Ratings]:
    pairs = rows.groupBy("user", "item").agg((F.count("*") - 1).alias("more")).filter("more > 0").persist()
    repeated = pairs.agg(F.sum("more")).collect()[0][0] or 0
    if not repeated:
        return rows, ratings
    if duplicates == "error":
        user, item, _ = pairs.orderBy("user", "item").collect()[0]
        raise DataError(
            f"{repeated:,} ratings repeat a pair of user and item, for example user {ratings.users.ids[user]} and item "
            f"{ratings.items.ids[item]}. filters.duplicates=last keeps the latest of each pair."
        )
    place = F.row_number().over(Window.partitionBy("user", "item").orderBy(*order(rows, duplicates == "last")))
    rows = rows.withColumn("place", place).filter("place = 1").drop("place")
    return rows, ratings.noted(f"Duplicates: removed {repeated:,} ratings, kept the {duplicates} of each pair.")


def _drop_low(rows: DataFrame, ratings: Ratings, minimum: float) -> tuple[DataFrame, Ratings]:
    # In single precision, as NumPy compares a float32 array with a number.
    kept = rows.filter(F.col("value") >= F.lit(float(np.float32(minimum))).cast("float"))
    before, left = rows.count(), kept.count()
    if not left:
        highest = rows.agg(F.max("value")).collect()[0][0]
        raise DataError(f"filters.min_value={minimum:g} leaves no rating: the highest is {highest:g}. Lower it.")
    return kept, ratings.noted(f"Values below {minimum:g}: removed {before - left:,} ratings.")


def _drop_outliers(rows: DataFrame, ratings: Ratings, role: str, limit: float) -> tuple[DataFrame, Ratings]:
    masks = {"user": np.ones(ratings.num_users, bool), "item": np.ones(ratings.num_items, bool)}
    counts = counts_of(rows, role, len(masks[role]))
    masks[role], told = within(counts, limit)
    rows, ratings = _restricted(rows, ratings, masks["user"], masks["item"])
    left, before = rows.count(), int(counts.sum())
    if not left:
        raise DataError(f"filters.outlier_{role}s={limit:g} leaves none of the {before:,} ratings: raise it.")
    gone = int((~masks[role]).sum())
    return rows, ratings.noted(
        f"Outlier {role}s: removed {gone:,} of {(counts > 0).sum():,} {role}s with {before - left:,} ratings; kept "
        f"those with {told}."
    )


def _drop_rare(rows: DataFrame, ratings: Ratings, per_user: int, per_item: int) -> tuple[DataFrame, Ratings]:
    user_left, item_left = np.ones(ratings.num_users, bool), np.ones(ratings.num_items, bool)
    before, number = None, -1
    while True:
        kept = _among(rows, user_left, item_left)
        users, items = counts_of(kept, "user", ratings.num_users), counts_of(kept, "item", ratings.num_items)
        before = int(users.sum()) if before is None else before
        if int(users.sum()) == number:
            break
        number = int(users.sum())
        user_left, item_left = user_left & (users >= per_user), item_left & (items >= per_item)
    if not number:
        raise DataError(
            f"filters.min_ratings_per_user={per_user} and filters.min_ratings_per_item={per_item} leave none of the "
            f"{before:,} ratings: lower them."
        )
    if number < before:
        ratings = ratings.noted(
            f"Minimum counts ({per_user} per user, {per_item} per item): removed {before - number:,} ratings."
        )
    some_users, some_items = (users > 0) | (per_user == 0), (items > 0) | (per_item == 0)
    fewer_users, fewer_items = int((~some_users).sum()), int((~some_items).sum())
    rows = _among(rows, user_left, item_left)
    if not fewer_users and not fewer_items:
        return rows, ratings
    note = f"Left without a rating: removed {fewer_users:,} users and {fewer_items:,} items."
    rows, ratings = _restricted(rows, ratings, some_users, some_items)
    return rows, ratings.noted(note)


def _among(rows: DataFrame, users: np.ndarray, items: np.ndarray) -> DataFrame:
    """The rows of some users and items (masks), with unchanged indices."""
    for role, kept in (("user", users), ("item", items)):
        if not kept.all():
            rows = rows.filter(mapped(rows, role, kept))
    return rows


def _restricted(rows: DataFrame, ratings: Ratings, users: np.ndarray, items: np.ndarray) -> tuple[DataFrame, Ratings]:
    """The rows of some users and items (masks), with new indices, vocabularies and tables."""
    rows = _among(rows, users, items)
    for role, kept in (("user", users), ("item", items)):
        if not kept.all():
            rows = rows.withColumn(role, mapped(rows, role, (np.cumsum(kept) - 1).astype(np.int32)))
    return rows, restricted(ratings, users, items)

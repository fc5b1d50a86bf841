"""Filters of ratings, applied before the split."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.stoplist import Words, catch, in_words, read_words
from nnrec.data.ratings import Ratings

DUPLICATES = ("last", "first", "error")


def apply_filters(
    ratings: Ratings,
    min_ratings_per_user: int = 1,
    min_ratings_per_item: int = 1,
    duplicates: str = "last",
    min_value: float | None = None,
    outlier_users: float | None = None,
    outlier_items: float | None = None,
    stoplist: Words | None = None,
) -> Ratings:
    """Removes items, ratings and users; each filter works on the result of the last and adds a line to `notes`.

    The filters, in order:

    1. `stoplist`: removes items whose title or category contains a word; `Ratings.stopped` lists them.
    2. `duplicates`: removes repeated (user, item) pairs.
    3. `min_value`: removes low ratings; after the duplicates, so that only the kept rating of a pair counts.
    4. `outlier_users`, then `outlier_items`.
    5. `min_ratings_per_user`, `min_ratings_per_item`: repeated until all counts reach their minimum. Users and items
       left without a rating are removed from the vocabularies and tables; a minimum of 0 keeps them.

    Args:
        ratings: the ratings.
        min_ratings_per_user, min_ratings_per_item: minimum counts.
        duplicates: which rating of a repeated pair to keep: "last" (by time, then order of arrival)
            or "first"; "error" raises an error.
        min_value: ratings below it are removed, which turns stars into likes; None = none is removed.
        outlier_users, outlier_items: removes users (items) whose number of ratings differs from the mean per user
            (item) by more than this many standard deviations, in either direction. Mean and (population) standard
            deviation are computed once, before the removal, over users (items) with a rating. None = none is removed.
        stoplist: words and phrases, or a file of them; see `nnrec.data.filters.stoplist` for how they match.

    Raises:
        DataError: no rating is left; there are duplicates and `duplicates` is "error"; a stoplist cannot be read, or
            the items have no text to match.
        ConfigError: an argument is out of range.
    """
    check_filters(min_ratings_per_user, min_ratings_per_item, duplicates, min_value, outlier_users, outlier_items)
    if stoplist is not None:
        ratings = _drop_stopped(ratings, read_words(stoplist, "filters.stoplist"))
    ratings = _drop_duplicates(ratings, duplicates)
    if min_value is not None:
        ratings = _drop_low(ratings, min_value)
    if outlier_users is not None:
        ratings = _drop_outliers(ratings, "user", outlier_users)
    if outlier_items is not None:
        ratings = _drop_outliers(ratings, "item", outlier_items)
    return _drop_rare(ratings, min_ratings_per_user, min_ratings_per_item)


def check_filters(
    min_ratings_per_user: int,
    min_ratings_per_item: int,
    duplicates: str,
    min_value: float | None,
    outlier_users: float | None,
    outlier_items: float | None,
) -> None:
    """Raises ConfigError if an argument of `apply_filters` is out of range."""
    if duplicates not in DUPLICATES:
        raise ConfigError(f"filters.duplicates must be one of {', '.join(DUPLICATES)}. Received: {duplicates}")
    minima = {"min_ratings_per_user": min_ratings_per_user, "min_ratings_per_item": min_ratings_per_item}
    for name, minimum in minima.items():
        if not isinstance(minimum, int) or minimum < 0:
            raise ConfigError(f"filters.{name} must be a whole number, 0 or more. Received: {minimum!r}")
    if min_value is not None and not _is_number(min_value):
        raise ConfigError(f"filters.min_value must be a number, or null. Received: {min_value!r}")
    for name, limit in {"outlier_users": outlier_users, "outlier_items": outlier_items}.items():
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise ConfigError(
                f"filters.{name} is a number of standard deviations, above 0, or null. Received: {limit!r}"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _drop_stopped(ratings: Ratings, words: list[str]) -> Ratings:
    stopped = catch(ratings.item_table, ratings.items, words, "filters.stoplist")
    result = replace(ratings, stopped=stopped)
    named = f"Stoplist ({in_words(words)})"
    if not len(stopped):
        return result.noted(f"{named}: caught no item.")
    kept = np.ones(ratings.num_items, bool)
    kept[stopped["item"]] = False
    result = restricted(result, np.ones(ratings.num_users, bool), kept)
    if not len(result):
        raise DataError(f"filters.stoplist ({in_words(words)}) leaves none of the {len(ratings):,} ratings.")
    return result.noted(f"{named}: removed {len(stopped):,} items with {len(ratings) - len(result):,} ratings.")


def _drop_duplicates(ratings: Ratings, duplicates: str) -> Ratings:
    pairs = pd.Series(ratings.user.astype(np.int64) * ratings.num_items + ratings.item)
    repeated = pairs.duplicated(keep="first" if duplicates == "first" else "last").to_numpy()
    if not repeated.any():
        return ratings
    if duplicates == "error":
        entry = int(np.argmax(repeated))
        user, item = ratings.users.ids[ratings.user[entry]], ratings.items.ids[ratings.item[entry]]
        raise DataError(
            f"{repeated.sum():,} ratings repeat a pair of user and item, for example user {user} and item {item}. "
            "filters.duplicates=last keeps the latest of each pair."
        )
    note = f"Duplicates: removed {repeated.sum():,} ratings, kept the {duplicates} of each pair."
    return ratings.take(~repeated).noted(note)


def _drop_low(ratings: Ratings, minimum: float) -> Ratings:
    kept = ratings.value >= minimum
    if not kept.any():
        highest = ratings.scale[1]
        raise DataError(f"filters.min_value={minimum:g} leaves no rating: the highest is {highest:g}. Lower it.")
    return ratings.take(kept).noted(f"Values below {minimum:g}: removed {(~kept).sum():,} ratings.")


def _drop_outliers(ratings: Ratings, role: Literal["user", "item"], limit: float) -> Ratings:
    everybody = {"user": np.ones(ratings.num_users, bool), "item": np.ones(ratings.num_items, bool)}
    counts = np.bincount(getattr(ratings, role), minlength=len(everybody[role]))
    kept, told = within(counts, limit)
    left = restricted(ratings, **{f"{name}s": kept if name == role else mask for name, mask in everybody.items()})
    if not len(left):
        raise DataError(f"filters.outlier_{role}s={limit:g} leaves none of the {len(ratings):,} ratings: raise it.")
    return left.noted(
        f"Outlier {role}s: removed {(~kept).sum():,} of {(counts > 0).sum():,} {role}s with "
        f"{len(ratings) - len(left):,} ratings; kept those with {told}."
    )


def within(counts: np.ndarray, limit: float) -> tuple[np.ndarray, str]:
    """Returns (n,) boolean, whose counts are within `limit` standard deviations of the mean, and the bounds as text.

    Users or items without ratings are excluded from mean and standard deviation, and are kept.
    """
    rated = counts[counts > 0]
    mean, spread = rated.mean(), rated.std()
    low, high = mean - limit * spread, mean + limit * spread
    bounds = f"{low:,.1f} to {high:,.1f}" if low > 0 else f"up to {high:,.1f}"
    told = f"{bounds} ratings (mean {mean:,.1f}, {limit:g} standard deviations of {spread:,.1f})"
    return (counts == 0) | ((counts >= low) & (counts <= high)), told


def _drop_rare(ratings: Ratings, per_user: int, per_item: int) -> Ratings:
    kept = np.ones(len(ratings), bool)
    while True:
        users = np.bincount(ratings.user[kept], minlength=ratings.num_users)
        items = np.bincount(ratings.item[kept], minlength=ratings.num_items)
        still = kept & (users[ratings.user] >= per_user) & (items[ratings.item] >= per_item)
        if still.sum() == kept.sum():
            break
        kept = still
    if not kept.any():
        raise DataError(
            f"filters.min_ratings_per_user={per_user} and filters.min_ratings_per_item={per_item} leave none of the "
            f"{len(ratings):,} ratings: lower them."
        )
    if not kept.all():
        left = len(ratings) - int(kept.sum())
        ratings = ratings.take(kept).noted(
            f"Minimum counts ({per_user} per user, {per_item} per item): removed {left:,} ratings."
        )
    some_users = (users > 0) | (per_user == 0)
    some_items = (items > 0) | (per_item == 0)
    fewer_users, fewer_items = int((~some_users).sum()), int((~some_items).sum())
    if not fewer_users and not fewer_items:
        return ratings
    note = f"Left without a rating: removed {fewer_users:,} users and {fewer_items:,} items."
    return restricted(ratings, some_users, some_items).noted(note)


def restricted(ratings: Ratings, users: np.ndarray, items: np.ndarray) -> Ratings:
    """Returns the ratings of some users and items (masks), with vocabularies and tables reduced to these."""
    ratings = ratings.take(users[ratings.user] & items[ratings.item])
    return replace(
        ratings,
        users=ratings.users.take(users),
        items=ratings.items.take(items),
        user=(np.cumsum(users) - 1)[ratings.user].astype(np.int32),
        item=(np.cumsum(items) - 1)[ratings.item].astype(np.int32),
        user_table=_rows(ratings.user_table, users),
        item_table=_rows(ratings.item_table, items),
    )


def _rows(table: pd.DataFrame | None, kept: np.ndarray) -> pd.DataFrame | None:
    return None if table is None else table[kept].reset_index(drop=True)

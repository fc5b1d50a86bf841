"""Filters: repeated ratings, and users and items with too few of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from nnrec.data.ratings import Ratings
from nnrec.errors import ConfigError, DataError

DUPLICATES = ("last", "first", "error")


def apply_filters(
    ratings: Ratings, min_ratings_per_user: int = 1, min_ratings_per_item: int = 1, duplicates: str = "last"
) -> Ratings:
    """Removes repeated (user, item) pairs, then users and items with too few ratings.

    Counts are taken again after each removal until all of them hold. Users and items left without
    a rating leave the vocabularies and the item table; a minimum of 0 keeps them. Each removal
    adds a line to `notes`.

    Args:
        duplicates: which rating of a repeated pair stays: "last" (by time, then order of arrival)
            or "first"; "error" refuses them.

    Raises:
        DataError: nothing is left, or there are duplicates and `duplicates` is "error".
        ConfigError: an argument is out of range.
    """
    if duplicates not in DUPLICATES:
        raise ConfigError(f"filters.duplicates must be one of {', '.join(DUPLICATES)}. Received: {duplicates}")
    minima = {"min_ratings_per_user": min_ratings_per_user, "min_ratings_per_item": min_ratings_per_item}
    for name, minimum in minima.items():
        if not isinstance(minimum, int) or minimum < 0:
            raise ConfigError(f"filters.{name} must be a whole number, 0 or more. Received: {minimum!r}")
    return _drop_rare(_drop_duplicates(ratings, duplicates), min_ratings_per_user, min_ratings_per_item)


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
    some_users = np.flatnonzero(users) if per_user else np.arange(len(users))
    some_items = np.flatnonzero(items) if per_item else np.arange(len(items))
    return _restrict(ratings, some_users, some_items)


def _restrict(ratings: Ratings, users: np.ndarray, items: np.ndarray) -> Ratings:
    """The ratings with vocabularies and item table cut down to these indices, which hold all ratings."""
    fewer_users, fewer_items = ratings.num_users - len(users), ratings.num_items - len(items)
    if not fewer_users and not fewer_items:
        return ratings
    table = ratings.item_table
    result = replace(
        ratings,
        users=ratings.users.take(users),
        items=ratings.items.take(items),
        user=np.searchsorted(users, ratings.user).astype(np.int32),
        item=np.searchsorted(items, ratings.item).astype(np.int32),
        item_table=None if table is None else table.iloc[items].reset_index(drop=True),
    )
    return result.noted(f"Left without a rating: removed {fewer_users:,} users and {fewer_items:,} items.")

"""Reader of MovieLens as impressions: ratings with attributes of users and items, and the time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from nnrec.data.impressions import Impressions
from nnrec.data.ratings import Ratings
from nnrec.data.readers.impression_columns import TIME_FEATURES, Meaning, from_columns
from nnrec.data.readers.impressions import with_items
from nnrec.data.schema import Schema
from nnrec.data.sources.movielens import read_movielens

OF_USER = ("gender", "age_group", "occupation")


def read_movielens_impressions(
    release: str, folder: str | Path, download: bool = False, threshold: float | None = 4
) -> Impressions:
    """Reads the ratings of a MovieLens release as impressions.

    Rows have user, item, genres (multi-valued), year and, where published, gender, age group and occupation; if there
    are timestamps, also the hour of the day (UTC) and the weekday.

    Args:
        release, folder, download: see `nnrec.data.read_movielens`.
        threshold: the label is 1 from this rating on, else 0; None = the rating itself.

    Raises:
        DataError: the files are absent or damaged.
        ConfigError: no such release.
    """
    return with_attributes(read_movielens(release, folder, download), threshold)


def with_attributes(ratings: Ratings, threshold: float | None) -> Impressions:
    """Converts ratings to impressions, with attributes from their user and item tables; see above."""
    people = pd.DataFrame() if ratings.user_table is None else ratings.user_table
    items = pd.DataFrame() if ratings.item_table is None else ratings.item_table
    columns: dict[str, pd.Series] = {
        "label": pd.Series(ratings.value),
        "user": pd.Series(ratings.users.ids[ratings.user]),
        "item": pd.Series(ratings.items.ids[ratings.item]),
    }
    of_user = tuple(name for name in OF_USER if name in people)
    for name in of_user:
        columns[name] = people[name].iloc[ratings.user].reset_index(drop=True)
    of_item = tuple(name for name in ("year", "genres") if name in items)
    for name in of_item:
        columns[name] = items[name].iloc[ratings.item].reset_index(drop=True)
    timed = ratings.time is not None and ratings.time_kind == "timestamp"
    if timed:
        columns["time"] = pd.Series(ratings.time)
    features = TIME_FEATURES if timed else ()
    schema = Schema(
        categorical=("user", "item", *of_user, *(name for name in of_item if name != "genres"), *features),
        multi=tuple(name for name in of_item if name == "genres"),
        user="user",
        item="item",
        of_user=of_user,
        of_item=of_item,
    )
    meaning = Meaning(schema, threshold=threshold, time="time" if timed else None, time_features=features)
    impressions = replace(from_columns(columns, meaning, "the ratings"), notes=ratings.notes)
    return with_items(impressions, items.assign(item=ratings.items.ids)) if len(items) else impressions

"""Side information about items and users: tables of titles, genres, ages etc., one row per item or user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import read_columns
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary


def read_item_table(
    path: str | Path,
    item: str | int = "item",
    columns: Mapping[str, str | int] | None = None,
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
) -> pd.DataFrame:
    """Reads a table of items: a frame with raw ids in column "item", then one column per entry of `columns`.

    Args:
        path, separator, header, encoding: see `nnrec.data.files.tables.read_columns`.
        item: the column of item ids.
        columns: name in nnrec -> column of the file; tables and reports use `title` and `genres`.
            Default: title = "title".

    Raises:
        DataError: as `read_columns`.
    """
    wanted = {"title": "title"} if columns is None else columns
    key = "data.source.item_table.path"
    return read_columns(path, {"item": item, **wanted}, separator, header, encoding, key).frame


def read_user_table(
    path: str | Path,
    user: str | int = "user",
    columns: Mapping[str, str | int] | None = None,
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
) -> pd.DataFrame:
    """Reads a table of users: a frame with raw ids in column "user", then one column per entry of `columns`.

    Args:
        path, separator, header, encoding: see `nnrec.data.files.tables.read_columns`.
        user: the column of user ids.
        columns: name in nnrec -> column of the file, at least one.

    Raises:
        DataError: as `read_columns`.
        ConfigError: no columns are named.
    """
    if not columns:
        raise ConfigError("Which columns of the table of users? data.source.user_table.columns={gender: gender}.")
    key = "data.source.user_table.path"
    return read_columns(path, {"user": user, **columns}, separator, header, encoding, key).frame


def with_table(ratings: Ratings, table: pd.DataFrame, role: Literal["user", "item"]) -> Ratings:
    """Returns the ratings with a table of users or items, one row per id of the vocabulary, in index order.

    Args:
        ratings: the ratings.
        table: raw ids in column "user" (or "item"), and any other columns; the first row of a repeated id is used.
        role: "user" or "item".

    Raises:
        DataError: the table holds none of the ids.
    """
    vocabulary = ratings.users if role == "user" else ratings.items
    rows, note = aligned(table, vocabulary, role)
    ratings = replace(ratings, user_table=rows) if role == "user" else replace(ratings, item_table=rows)
    return ratings.noted(note) if note else ratings


def aligned(table: pd.DataFrame, vocabulary: Vocabulary, role: Literal["user", "item"]) -> tuple[pd.DataFrame, str]:
    """Returns the rows of a table (see `with_table`) in the order of a vocabulary, and a note on missing rows, or "".

    Raises:
        DataError: the table holds none of the ids.
    """
    table = table.dropna(subset=[role])
    if not pd.api.types.is_integer_dtype(table[role].dtype):
        table = table.assign(**{role: table[role].astype(str).str.strip()})
    table = table.drop_duplicates(role)
    index = vocabulary.indices(table[role])
    rows = table.drop(columns=role)[index >= 0].set_axis(index[index >= 0]).reindex(range(len(vocabulary)))
    missing = len(vocabulary) - int((index >= 0).sum())
    if missing == len(vocabulary):
        raise DataError(f"The {role} table holds none of the {role}s: do its ids mean the same {role}s?")
    return rows, f"The {role} table has no row for {missing:,} of the {role}s." if missing else ""


def category_codes(column: pd.Series, known: np.ndarray, most: int) -> np.ndarray:
    """Returns (n,) int32 codes: 1 ... `most` for the most frequent values among known items, 0 for others and missing.

    Args:
        column: one value per item.
        known: (n,) boolean, the items in the training data.
        most: maximum number of values with a code of their own.
    """
    frequent = column[known].value_counts(sort=False).sort_values(ascending=False, kind="stable").index[:most]
    return (frequent.get_indexer(pd.Index(column)) + 1).astype(np.int32)


def scaled(column: pd.Series, known: np.ndarray, name: str) -> np.ndarray:
    """Returns (n,) float32: the numbers standardised by the known items and clipped to -5 ... 5; 0 for missing.

    Args:
        column, known: as in `category_codes`.
        name: name of the column in error messages.

    Raises:
        DataError: a value is not a number.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    if (wrong := numbers.isna() & column.notna()).any():
        raise DataError(f"{name}: {column[wrong].iloc[0]!r} is not a number. Name it among model.categories instead.")
    values = numbers.to_numpy(np.float64)
    there = values[known & np.isfinite(values)]
    mean, spread = (there.mean(), there.std()) if len(there) else (0.0, 0.0)
    return np.clip(np.nan_to_num((values - mean) / (spread or 1.0), nan=0.0), -5, 5).astype(np.float32)

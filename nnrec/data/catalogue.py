"""The catalogue of a data set in files: raw ids in index order, and the tables of items and users.

users.parquet, items.parquet             vocabularies
item_table.parquet, user_table.parquet   titles etc., one row per item or user in index order (if the source has them)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnrec.core.files import atomic


def write_catalogue(folder: Path, data: Any) -> None:
    """Writes vocabularies and tables of `Ratings`, `Sessions` or `Impressions`, each file atomically."""
    for name, vocabulary in (("users.parquet", data.users), ("items.parquet", data.items)):
        with atomic(folder / name) as path:
            vocabulary.save(path)
    for name, table in (("item_table.parquet", data.item_table), ("user_table.parquet", data.user_table)):
        if table is not None:
            with atomic(folder / name) as path:
                table.to_parquet(path, index=False)

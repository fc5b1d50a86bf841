"""The catalogue of some data in files: raw ids in index order, and what is known of items and users.

users.parquet, items.parquet             vocabularies
item_table.parquet, user_table.parquet   titles, ... one row each in index order (where the source has them)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnrec.core.files import atomic


def write_catalogue(folder: Path, data: Any) -> None:
    """Writes vocabularies and tables of `Ratings`, `Sessions` or `Impressions`, each whole or not at all."""
    for name, vocabulary in (("users.parquet", data.users), ("items.parquet", data.items)):
        with atomic(folder / name) as path:
            vocabulary.save(path)
    for name, table in (("item_table.parquet", data.item_table), ("user_table.parquet", data.user_table)):
        if table is not None:
            with atomic(folder / name) as path:
                table.to_parquet(path, index=False)

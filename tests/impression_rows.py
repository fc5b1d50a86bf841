"""Small impressions that several test modules share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nnrec.data.impressions import Impressions
from nnrec.data.readers.impression_columns import Meaning, from_columns
from nnrec.data.schema import Schema

SCHEMA = Schema(
    categorical=("user", "item", "device"),
    multi=("genres",),
    numeric=("age",),
    user="user",
    item="item",
    of_user=("age",),
    of_item=("genres",),
)


def small() -> Impressions:
    """Six rows by hand."""
    frame = pd.DataFrame(
        {
            "label": [1, 0, 1, 0, 1, 1],
            "user": ["u1", "u2", "u1", "u3", "u2", "u4"],
            "item": [10, 20, 10, 30, 20, 40],
            "device": ["phone", None, "phone", "tablet", "phone", "watch"],
            "genres": ["a|b", "", "a|b|c", None, "c", "d"],
            "age": [20, 40, 20, None, 40, 99],
        }
    )
    return from_columns({name: frame[name] for name in frame}, Meaning(SCHEMA), "the frame")


def random_rows(number: int, seed: int = 0) -> Impressions:
    """Rows drawn at random; the label of row r is r % 2, the numeric column r itself."""
    rng = np.random.default_rng([seed, 9])
    genres = [
        "|".join(f"g{genre}" for genre in rng.choice(9, rng.integers(0, 4), replace=False)) for _ in range(number)
    ]
    frame = pd.DataFrame(
        {
            "label": np.arange(number) % 2,
            "user": rng.integers(50, size=number),
            "item": rng.integers(20, size=number),
            "device": rng.choice(["phone", "tablet", "watch"], number),
            "genres": genres,
            "age": np.arange(number, dtype=float),
        }
    )
    return from_columns({name: frame[name] for name in frame}, Meaning(SCHEMA), "the frame")

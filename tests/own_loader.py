"""A loader as a user would write it, outside the package."""

from __future__ import annotations

import numpy as np
import pandas as pd


def read_diary(people: int, films: int) -> pd.DataFrame:
    """Two thirds of all pairs, the later films rated higher."""
    user, item = (grid.ravel() for grid in np.indices((people, films)))
    kept = (user + item) % 3 > 0
    frame = pd.DataFrame({"user": user, "item": item, "rating": 1 + 4 * item / (films - 1)})[kept]
    return frame.assign(user="person " + frame["user"].astype(str), item="film " + frame["item"].astype(str))

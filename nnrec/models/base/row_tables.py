"""Tables of weights that a step updates row by row."""

from __future__ import annotations

from typing import NamedTuple


class RowList(NamedTuple):
    """Which arrays of a batch say what it touches of a table.

    Attributes:
        rows: name of (U,) int32 rows; what is not moved may repeat others.
        moves: name of (U,) float32, 0 for rows that are not to move.
    """

    rows: str = "unique_ids"
    moves: str = "unique_ids_scale"

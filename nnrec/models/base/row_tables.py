"""Weight tables of which a training step updates only some rows."""

from __future__ import annotations

from typing import NamedTuple


class RowList(NamedTuple):
    """Names of the arrays of a batch that list the rows it uses of a table.

    Attributes:
        rows: name of the (U,) int32 row indices; rows that are not updated may be repeats of others.
        moves: name of a (U,) float32 array that is 0 for rows that are not updated.
    """

    rows: str = "unique_ids"
    moves: str = "unique_ids_scale"

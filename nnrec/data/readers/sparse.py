"""Ratings from a SciPy sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from nnrec.core.errors import DataError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary


def from_sparse(matrix: Any, scale: Sequence[float] | None = None) -> Ratings:
    """Returns the ratings in a matrix of users (rows) by items (columns), with the ids 0, 1, 2, ...

    Rows and columns without entries are users and items too. A stored zero is a rating of 0 (remove stored zeros with
    `eliminate_zeros`); entries that are not stored are not ratings. Formats that store whole blocks or diagonals (BSR,
    DIA) cannot distinguish the two: their zeros are not ratings. Duplicate entries are summed, as in SciPy.

    Args:
        matrix: any `scipy.sparse` matrix or two-dimensional array; it is not changed.
        scale: (lowest, highest) allowed value; None = any.

    Raises:
        DataError: the matrix has not two dimensions, is not numeric, is damaged or has no entry; or a value is not
            finite or is outside the scale.
    """
    if matrix.ndim != 2:
        raise DataError(f"A sparse matrix of ratings has two dimensions, users and items. Received: {matrix.ndim}")
    if matrix.dtype.kind not in "biuf":
        raise DataError(f"A sparse matrix of ratings holds numbers. Received: dtype {matrix.dtype}")
    if hasattr(matrix, "check_format"):
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"The sparse matrix is damaged: {error}") from error
    rows = sparse.csr_array(matrix.astype(np.float64), copy=True)
    rows.sum_duplicates()
    if matrix.format == "bsr":
        rows.eliminate_zeros()
    if not rows.nnz:
        raise DataError(f"The sparse matrix {matrix.shape} is empty: it holds no rating.")
    user = np.repeat(np.arange(rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
    item = rows.indices.astype(np.int32)
    with np.errstate(over="ignore"):
        value = rows.data.astype(np.float32)
    low, high = (-np.inf, np.inf) if scale is None else scale
    usable = np.isfinite(value) & (value >= low) & (value <= high)
    if not usable.all():
        entry = int(np.argmin(usable))
        wanted = "finite numbers" if scale is None else f"numbers from {low:g} to {high:g}"
        raise DataError(
            f"Row {user[entry]}, column {item[entry]} of the sparse matrix is {rows.data[entry]:g}. Ratings must be "
            f"{wanted}."
        )
    users, items = (Vocabulary(np.arange(number)) for number in rows.shape)
    ratings = Ratings.build(users=users, items=items, user=user, item=item, value=value)
    return ratings.noted(
        f"Read {len(ratings):,} ratings of {len(users):,} users and {len(items):,} items from a sparse matrix."
    )

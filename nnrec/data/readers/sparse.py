"""Ratings from a sparse matrix of SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from nnrec.core.errors import DataError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary


def from_sparse(matrix: Any, scale: Sequence[float] | None = None) -> Ratings:
    """Ratings from a matrix of users (rows) by items (columns); their ids are 0, 1, 2, ...

    Rows and columns without an entry are users and items too. A zero that is stored is a rating of 0 (`eliminate_zeros`
    takes such out beforehand); what is not stored was not rated. Formats that store whole blocks or diagonals (BSR,
    DIA) cannot tell the two apart: of these no zero is a rating. Entries of the same place are summed, as SciPy does.

    Args:
        matrix: any `scipy.sparse` matrix or two-dimensional array; it stays as it is.
        scale: (lowest, highest) value allowed; None = any.

    Raises:
        DataError: not two dimensions, or damaged; no entry; a value that is no finite number, or off the scale.
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

"""The parts of a batch add up to the whole batch."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.batches.device_parts import part_of
from nnrec.batches.rows import RowBatches
from nnrec.data.rows import Rows

# Rows 0 to 4 of a matrix with six columns; row 2 is empty.
ROWS = Rows(
    np.array([0, 2, 3, 3, 6, 7]),
    np.array([0, 3, 1, 0, 2, 5, 4], np.int32),
    np.array([1, 2, 3, 4, 5, 6, 7], np.float32),
    None,
    6,
)


def entries(batch, first=0):
    """(row, column, value) of the entries that are not padding; rows are numbered from `first` on."""
    real = batch["weight"] > 0
    arrays = (batch[name][real].tolist() for name in ("row", "column", "value"))
    return [(first + row, column, value) for row, column, value in zip(*arrays, strict=True)]


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("unique_ids", [False, True])
def test_sparse_rows_go_where_their_entries_go(parts, unique_ids):
    batch = next(RowBatches(ROWS, 6, unique_ids=unique_ids).epoch())
    cut = [part_of(batch, RowBatches.axes, number, parts) for number in range(parts)]
    size = 6 // parts
    assert [len(part["index"]) for part in cut] == [size] * parts
    np.testing.assert_array_equal(np.concatenate([part["index"] for part in cut]), batch["index"])
    assert [entry for number, part in enumerate(cut) for entry in entries(part, number * size)] == entries(batch)
    for part in cut:
        assert (np.diff(part["row"]) >= 0).all() and part["row"].max() < size
        if unique_ids:
            np.testing.assert_array_equal(part["unique_ids"], batch["unique_ids"])


def test_a_part_without_entries_holds_padding_alone():
    batch = next(RowBatches(ROWS, 5, which=np.array([0, 1, 3, 4, 2])).epoch())
    part = part_of(batch, RowBatches.axes, 4, 5)  # row 2, which is empty
    assert part["index"].tolist() == [2]
    assert part["weight"].tolist() == [0] and part["row"].tolist() == [0]


def test_other_arrays_are_cut_along_their_axis_or_stay_whole():
    batch = {"input": np.arange(12).reshape(1, 2, 6), "unique_ids": np.arange(5), "steps": np.array(1)}
    first, second = (part_of(batch, {"input": 2, "key": 2}, number, 2) for number in range(2))
    assert first["input"].tolist() == [[[0, 1, 2], [6, 7, 8]]]
    assert second["input"].tolist() == [[[3, 4, 5], [9, 10, 11]]]
    assert second["unique_ids"] is batch["unique_ids"] and int(second["steps"]) == 1

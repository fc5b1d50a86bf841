"""Row batches: padding in a worked example; coverage of an epoch and frequencies of columns for any matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.batches.padding import bucket, padded
from nnrec.batches.rows import RowBatches
from nnrec.data.rows import Rows


def matrix(lists, num_columns, weights=None) -> Rows:
    """Rows from lists of (column, value)."""
    entries = [entry for row in lists for entry in row]
    return Rows(
        offsets=np.cumsum([0, *map(len, lists)]),
        ids=np.array([column for column, _ in entries], np.int32),
        values=np.array([value for _, value in entries], np.float32),
        weights=None if weights is None else np.array(weights, np.float32),
        num_columns=num_columns,
    )


@st.composite
def matrices(draw):
    num_columns = draw(st.integers(1, 6))
    columns = st.lists(st.integers(0, num_columns - 1), unique=True, max_size=num_columns)
    lists = draw(st.lists(columns, min_size=1, max_size=9))
    value = itertools.count(1)
    rows = [[(column, next(value)) for column in row] for row in lists]
    weights = [1 + number / 4 for number in range(sum(map(len, rows)))] if draw(st.booleans()) else None
    return matrix(rows, num_columns, weights)


def test_buckets():
    sizes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24, 25, 33, 48, 49, 1000, 1_000_000]
    expected = [1, 1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 16, 16, 24, 24, 32, 48, 48, 64, 1024, 1048576]
    assert [bucket(size) for size in sizes] == expected


@given(st.integers(1, 10**7))
def test_a_bucket_is_at_most_half_of_it_padding(size):
    assert size <= bucket(size) <= 1.5 * size + 1
    assert bucket(bucket(size)) == bucket(size)


def test_padded():
    assert padded(np.array([1, 2], np.int32), 4, fill=-1).tolist() == [1, 2, -1, -1]
    assert padded(np.zeros(0, np.float32), 2).dtype == np.float32


def test_a_batch_by_hand():
    rows = matrix([[(2, 5.0), (0, 3.0)], [], [(1, 4.0)]], num_columns=3, weights=[1, 2, 3])
    first, second = RowBatches(rows, 2).epoch()
    expected = {"index": [0, 1], "key": [0, 0], "row": [0, 0], "column": [2, 0], "value": [5, 3], "weight": [1, 2]}
    assert {name: array.tolist() for name, array in first.items()} == expected
    expected = {"index": [2, -1], "key": [0, 0], "row": [0], "column": [1], "value": [4], "weight": [3]}
    assert {name: array.tolist() for name, array in second.items()} == expected
    kinds = {
        "index": "int32",
        "key": "uint32",
        "row": "int32",
        "column": "int32",
        "value": "float32",
        "weight": "float32",
    }
    assert {name: str(array.dtype) for name, array in first.items()} == kinds


def test_a_padded_batch_by_hand():
    # five entries take a bucket of six; the padding belongs to the last of four rows and has weight 0
    rows = matrix([[(0, 1), (1, 2), (2, 3)], [(2, 4), (0, 5)]], num_columns=4)
    (batch,) = RowBatches(rows, 4).epoch()
    assert batch["index"].tolist() == [0, 1, -1, -1]
    assert batch["row"].tolist() == [0, 0, 0, 1, 1, 3]
    assert batch["weight"].tolist() == [1, 1, 1, 1, 1, 0]
    assert batch["column"].tolist() == [0, 1, 2, 2, 0, 0]


def test_touched_columns_by_hand():
    rows = matrix([[(7, 1), (4, 2)], [(4, 3), (9, 4), (0, 5)]], num_columns=12)
    (batch,) = RowBatches(rows, 2, unique_ids=True).epoch()
    # columns in order of first occurrence; four of them need no padding
    assert batch["unique_ids"].tolist() == [7, 4, 9, 0]
    assert batch["column"].tolist() == [0, 1, 1, 2, 3, 0]
    # both rows are in every batch
    assert batch["unique_ids_scale"].tolist() == [1, 1, 1, 1]


def test_no_rows_and_no_entries():
    (batch,) = RowBatches(matrix([[], []], 3), 2, unique_ids=True).epoch()
    assert (batch["row"].tolist(), batch["weight"].tolist(), batch["unique_ids_scale"].tolist()) == ([1], [0], [0])
    assert list(RowBatches(matrix([[(0, 1)]], 3), 2, which=np.zeros(0, int)).epoch()) == []


def entries_of(rows: Rows) -> list[tuple]:
    row = np.repeat(np.arange(len(rows)), rows.lengths)
    weights = np.ones(len(row)) if rows.weights is None else rows.weights
    return sorted(zip(row.tolist(), rows.ids.tolist(), rows.values.tolist(), weights.tolist(), strict=True))


@settings(deadline=None)
@given(
    rows=matrices(),
    batch_size=st.integers(1, 10),
    seed=st.none() | st.integers(0, 99),
    unique_ids=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_an_epoch_holds_every_row_once_and_every_entry(rows, batch_size, seed, unique_ids, epoch):
    batches = RowBatches(rows, batch_size, seed=seed, unique_ids=unique_ids)
    found, index = [], []
    for batch in batches.epoch(epoch):
        assert len(batch["index"]) == len(batch["key"]) == batch_size
        sizes = {len(batch[name]) for name in ("row", "column", "value", "weight")}
        assert sizes == {bucket(max(sizes))}
        assert (np.diff(batch["row"]) >= 0).all()
        index += batch["index"][batch["index"] >= 0].tolist()
        columns = batch["column"]
        if unique_ids:
            valid = batch["unique_ids_scale"] > 0
            assert len(set(batch["unique_ids"][valid])) == valid.sum()
            # Padding repeats the first column, so that both writes to its row are equal.
            assert set(batch["unique_ids"][~valid]) <= ({batch["unique_ids"][0]} if valid.any() else {0})
            kept = batch["weight"] > 0
            assert set(columns[kept]) == set(np.flatnonzero(valid))
            columns = batch["unique_ids"][columns]
        kept = batch["weight"] > 0
        found += zip(
            batch["index"][batch["row"][kept]].tolist(),
            columns[kept].tolist(),
            batch["value"][kept].tolist(),
            batch["weight"][kept].tolist(),
            strict=True,
        )
    assert sorted(index) == list(range(len(rows)))
    assert sorted(found) == entries_of(rows)
    assert len(batches) == len(list(batches.epoch(epoch)))


@settings(deadline=None)
@given(rows=matrices(), batch_size=st.integers(1, 5))
def test_an_epoch_is_the_same_every_time(rows, batch_size):
    batches = RowBatches(rows, batch_size, seed=3)
    for one, other in zip(batches.epoch(1), RowBatches(rows, batch_size, seed=3).epoch(1), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_epochs_and_seeds_differ():
    rows = matrix([[(0, 1)]] * 50, 1)
    orders = {tuple(RowBatches(rows, 7, seed=seed).order(epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert RowBatches(rows, 7).order(1).tolist() == list(range(50))


def test_only_some_rows():
    rows = matrix([[(0, 1)], [(1, 2)], [(2, 3)]], 3)
    (batch,) = RowBatches(rows, 2, which=np.array([2, 0])).epoch()
    assert (batch["index"].tolist(), batch["value"].tolist()) == ([2, 0], [3, 1])


def test_a_key_follows_the_row_not_its_place():
    rows = matrix([[(0, 1)]] * 20, 1)

    def keys(batch_size):
        return {
            int(index): int(key)
            for batch in RowBatches(rows, batch_size, seed=4).epoch(2)
            for index, key in zip(batch["index"], batch["key"], strict=True)
            if index >= 0
        }

    assert keys(3) == keys(7)
    assert len(set(keys(3).values())) == 20


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 9])
def test_touched_scale_is_one_over_the_share_of_batches_that_touch(batch_size):
    lists = [[(0, 1), (1, 1)], [(0, 1)], [(0, 1), (2, 1)], [(0, 1), (1, 1)], [(0, 1)]]
    batches = RowBatches(matrix(lists, 4), batch_size, unique_ids=True)
    columns = [{column for column, _ in row} for row in lists]
    touches, count = np.zeros(4), 0
    for order in itertools.permutations(range(5)):
        for start in range(0, 5, batch_size):
            count += 1
            for column in set().union(*(columns[row] for row in order[start : start + batch_size])):
                touches[column] += 1
    # no row contains column 3
    np.testing.assert_allclose(batches.scale[:3], count / touches[:3], rtol=1e-5)
    assert batches.scale[3] == 0


def test_drawn_columns_by_hand():
    """Column 0 has four entries, 1 has one, 2 and 3 none: with power .5, probabilities of .4, .2, .2, .2."""
    rows = matrix([[(0, 1)], [(0, 1)], [(0, 1)], [(0, 1), (1, 1)]], 4)
    batches = RowBatches(rows, 4, unique_ids=True, negatives=(6, 0.5))
    np.testing.assert_allclose(batches.probability, [0.4, 0.2, 0.2, 0.2])
    (batch,) = batches.epoch()
    (again,) = batches.epoch()
    (other,) = batches.epoch(1)
    assert all((batch[name] == again[name]).all() for name in batch)
    assert any((batch[name] != other[name]).any() for name in ("negative", "negative_scale"))
    assert len(batch["negative"]) == len(batch["negative_scale"]) == 6
    drawn = batch["negative_scale"] > 0
    columns = batch["unique_ids"][batch["negative"][drawn]]
    assert len(set(columns)) == len(columns)
    times = batch["negative_scale"][drawn] * 6 * batches.probability[columns]
    np.testing.assert_allclose(times, np.round(times), rtol=1e-5)
    assert times.sum() == pytest.approx(6)
    # entries still find their columns, and what is drawn is touched too
    kept = batch["weight"] > 0
    assert batch["unique_ids"][batch["column"][kept]].tolist() == [0, 0, 0, 0, 1]
    assert set(batch["unique_ids"]) == {0, 1, *columns}


def test_drawn_columns_stand_for_all_on_average():
    rows = matrix([[(0, 1)], [(0, 1)], [(0, 1)], [(0, 1), (1, 1)]], 4)
    batches = RowBatches(rows, 2, seed=0, unique_ids=True, negatives=(3, 0.5))
    total, reached, found = np.zeros(4), np.zeros(4), 0
    for epoch in range(1500):
        for batch in batches.epoch(epoch):
            np.add.at(total, batch["unique_ids"][batch["negative"]], batch["negative_scale"])
            reached[np.unique(batch["unique_ids"][batch["unique_ids_scale"] > 0])] += 1
            found += 1
    np.testing.assert_allclose(total / found, 1, atol=0.1)
    # touched_scale: one over the share of batches in which a column is touched, entries and draws together
    scale = batches.scale
    np.testing.assert_allclose(found / reached, scale, rtol=0.05)
    assert scale[0] == 1.0
    assert scale[3] == pytest.approx(1 / (1 - 0.8**3), rel=1e-6)

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnrec.splits.impressions import fitted
from tests.impression_rows import random_rows, small


def test_histories_of_clicks_by_hand():
    # Rows 0, 2, 4 and 5 are clicks: twice of the first user on the first item, then (1, 1) and (3, 3).
    histories = fitted(small(), np.arange(6)).histories()
    assert histories.offsets.tolist() == [0, 1, 2, 2, 3] and histories.num_columns == 4
    assert histories.ids.tolist() == [0, 1, 3] and histories.values.tolist() == [1, 1, 1]
    assert histories.ids.dtype == np.int32 and histories.values.dtype == np.float32
    assert fitted(small(), np.array([1, 3])).histories().offsets.tolist() == [0, 0, 0, 0, 0]


def test_of_ratings_the_highest_of_all_rows():
    data = replace(small(), label=np.array([2, 3, 5, 1, 4, 0], np.float32))
    histories = fitted(data, np.arange(6)).histories()
    assert histories.ids.tolist() == [0, 1, 2, 3] and histories.values.tolist() == [5, 4, 1, 0]


def test_many_rows_as_one_by_one(monkeypatch):
    monkeypatch.setattr("nnrec.data.click_histories.CHUNK_ROWS", 64)
    part = fitted(random_rows(500), np.arange(0, 500, 2) + 1)  # odd rows, all clicks
    histories = part.histories()
    pairs = {(int(user), int(item)) for user, item in zip(part.user, part.item, strict=True)}
    assert {(u, int(i)) for u in range(part.num_users) for i in histories.take(np.array([u])).ids} == pairs
    assert len(histories.ids) == len(pairs)


def test_nobody_has_no_history():
    data = small()
    nobody = replace(data, schema=replace(data.schema, user=None, of_user=()))
    assert fitted(nobody, np.arange(6)).histories() is None

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import nnrec.batches.impressions as module
from nnrec.batches.impressions import ImpressionBatches, blocks, roomy
from nnrec.core.keyed_random import row_keys
from nnrec.core.stored_arrays import StoredArray
from nnrec.data.preprocessing import Preprocessing
from nnrec.splits.impressions import Examples, fitted
from tests.impression_rows import random_rows, small

PER_ROW = ("categorical", "multi", "multi_share", "numeric", "label", "key", "weight")


def stored(data, folder):
    """The same impressions with arrays in files."""
    for name in ("label", "codes", "numbers"):
        np.asarray(getattr(data, name)).tofile(folder / name)
    for number, bag in enumerate(data.bags):
        bag.offsets.tofile(folder / f"offsets{number}")
        bag.value.tofile(folder / f"value{number}")
    files = {name: getattr(data, name) for name in ("label", "codes", "numbers")}
    files = {name: StoredArray(folder / name, array.dtype, array.shape) for name, array in files.items()}
    bags = tuple(
        bag._replace(
            offsets=StoredArray(folder / f"offsets{n}", np.int64, bag.offsets.shape),
            value=StoredArray(folder / f"value{n}", np.int32, bag.value.shape),
        )
        for n, bag in enumerate(data.bags)
    )
    return replace(data, bags=bags, **files)


@pytest.fixture
def examples() -> Examples:
    """333 of 1,000 rows; the numeric field is the row number, without a transform."""
    data = replace(random_rows(1_000), preprocessing=Preprocessing(numeric=[]))
    return fitted(data, np.arange(1, 1_000, 3))


@pytest.fixture(params=["memory", "buffer", "files"])
def batches(request, examples, tmp_path, monkeypatch):
    """Batches of rows in memory; in memory, shuffled in several pools; in files."""
    monkeypatch.setattr(module, "BLOCK_ROWS", 16)
    monkeypatch.setattr(module, "BUFFER_ROWS", 100)
    if request.param == "files":
        examples = replace(examples, impressions=stored(examples.impressions, tmp_path))
    return ImpressionBatches(examples, 32, seed=5, buffer=70 if request.param == "buffer" else None)


def rows_of(batch) -> np.ndarray:
    return batch["numeric"][batch["weight"] > 0, 0].astype(int)


def test_each_row_comes_once_in_an_epoch(batches, examples):
    for epoch in range(2):
        made = list(batches.epoch(epoch))
        assert len(made) == len(batches) == 11 and batches.num_examples == 333
        seen = np.concatenate([rows_of(batch) for batch in made])
        assert np.array_equal(np.sort(seen), examples.which)
        assert [int(batch["weight"].sum()) for batch in made] == [32] * 10 + [13]


def test_rows_hold_what_they_are_encoded_as(batches, examples):
    for batch in batches.epoch(1):
        rows, filled = rows_of(batch), batch["weight"] > 0
        encoded = examples.encoded(rows)
        for name, array in encoded.items():
            np.testing.assert_array_equal(batch[name][filled], array)
            assert batch[name].dtype == array.dtype
        assert batch["label"][filled].tolist() == (rows % 2).tolist()
        assert batch["key"][filled].tolist() == row_keys(5, 1, rows).tolist()
        # Padding holds the unknown ids and has weight 0.
        assert (batch["categorical"][~filled] == examples.fields.offsets[:3]).all()
        assert (batch["multi"][~filled] == examples.fields.offsets[3]).all()
        assert not any(batch[name][~filled].any() for name in ("multi_share", "numeric", "label", "key"))
        assert {name: batch[name].shape[0] for name in PER_ROW} == dict.fromkeys(PER_ROW, 32)


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_others_differ(batches):
    first, again, other = (np.concatenate([rows_of(b) for b in batches.epoch(e)]) for e in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    seeded = ImpressionBatches(batches.examples, 32, seed=6, buffer=batches.buffer)
    assert not np.array_equal(first, np.concatenate([rows_of(batch) for batch in seeded.epoch(0)]))


def test_rows_are_well_mixed(batches):
    order = np.concatenate([rows_of(batch) for batch in batches.epoch(0)])
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.35
    assert (np.abs(np.diff(order)) <= 3).mean() < 0.1  # neighbours in the data are not adjacent in the epoch


def test_a_batch_is_told_by_its_rows(batches):
    for step in (0, 4, 10):
        rows = rows_of(next(islice(batches.epoch(1), step, None)))
        assert f": {', '.join(map(str, rows[:10]))}" in batches.where(1, step)


def test_files_and_memory_give_the_same_batches(examples, tmp_path):
    on_disk = replace(examples, impressions=stored(examples.impressions, tmp_path))
    for a, b in zip(*(ImpressionBatches(e, 50, seed=1).epoch(2) for e in (examples, on_disk)), strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("size", [1, 32, 400])
def test_touched_ids(examples, size):
    plain, renumbered = (ImpressionBatches(examples, size, seed=5, unique_ids=some) for some in (False, True))
    shapes = set()
    for a, b in zip(islice(plain.epoch(0), 20), islice(renumbered.epoch(0), 20), strict=True):
        unique_ids, moves = b["unique_ids"], b["unique_ids_scale"] > 0
        assert (unique_ids[b["categorical"]] == a["categorical"]).all() and (unique_ids[b["multi"]] == a["multi"]).all()
        distinct = np.unique(np.concatenate([a["categorical"].ravel(), a["multi"].ravel()]))
        number = len(distinct)
        assert np.array_equal(np.sort(unique_ids[:number]), distinct) and (unique_ids[number:] == unique_ids[0]).all()
        assert not moves[number:].any()
        # Only ids in training rows are updated; unknown ids, which only occur as padding, are not.
        assert np.array_equal(moves[:number], examples.counts[unique_ids[:number]] > 0)
        shapes.add(len(unique_ids))
    assert len(shapes) == 1


def test_scale_of_touched_ids_by_hand():
    # Six rows, batches of two: P(touched) of an id in one row = 2/6, in two rows = 1 - (4 * 3) / (6 * 5) = 18/30.
    batches = ImpressionBatches(fitted(small(), np.arange(6)), 2, seed=0, unique_ids=True)
    scale = {
        int(i): s
        for b in batches.epoch(0)
        for i, s in zip(b["unique_ids"], b["unique_ids_scale"], strict=True)
        if s > 0
    }
    counts = batches.examples.counts
    expected = {1: 3, 2: 30 / 18, 3: 30 / 24}
    assert scale == pytest.approx({i: expected[counts[i]] for i in scale})
    assert set(scale) == set(np.flatnonzero(counts))


def test_blocks_for_scoring(examples):
    made = list(blocks(examples, 100))
    assert [int(batch["weight"].sum()) for batch in made] == [100, 100, 100, 33]
    assert np.concatenate([rows_of(batch) for batch in made]).tolist() == examples.which.tolist()
    assert {batch["categorical"].shape for batch in made} == {(100, 3)}
    assert set(made[0]) == {"categorical", "multi", "multi_share", "numeric", "weight"}


def test_roomy_sizes_are_few_and_close():
    sizes = np.arange(1, 5_000)
    rooms = np.array([roomy(int(size)) for size in sizes])
    assert (rooms >= sizes).all() and (rooms <= np.ceil(sizes * 1.07)).all()
    assert len(np.unique(rooms)) < 16 * 13


def test_rows_without_categories_or_without_numbers():
    for ignore in (["user", "item", "device", "genres"], ["age"]):
        data = replace(small(), preprocessing=Preprocessing(ignore=ignore))
        batch = next(ImpressionBatches(fitted(data, np.arange(6)), 4, seed=0, unique_ids=True).epoch(0))
        assert batch["categorical"].shape == (4, 0 if len(ignore) > 1 else 3)
        assert batch["numeric"].shape == (4, 1 if len(ignore) > 1 else 0)


def test_an_interrupted_epoch_ends_its_reader(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUFFER_ROWS", 100)
    on_disk = replace(examples, impressions=stored(examples.impressions, tmp_path))
    epoch = ImpressionBatches(on_disk, 32, seed=0).epoch(0)
    next(epoch)
    epoch.close()

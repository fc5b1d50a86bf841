"""Windows and negatives, compared with worked examples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.batches import session_windows
from nnrec.batches.session_windows import WindowBatches, neighbours
from nnrec.core.errors import DataError
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary


def sessions_of(clicks, num_items: int) -> Sessions:
    item = np.concatenate([np.array(session, np.int32) for session in clicks])
    session = np.repeat(np.arange(len(clicks)), [len(each) for each in clicks])
    return Sessions.build(
        ids=Vocabulary(range(len(clicks))), session=session, items=Vocabulary(range(num_items)), item=item
    )


def batches_of(clicks, num_items: int = 5, batch_size: int = 3, **options) -> WindowBatches:
    options = {"seed": 0, "cbow": False, "window": 1, "negatives": 2, "power": 0.75, "subsample": None} | options
    return WindowBatches(sessions_of(clicks, num_items), batch_size, **options)


def examples(batches: WindowBatches, epoch: int = 0) -> list[tuple[tuple[int, ...], int]]:
    """(inputs, target) of all examples of an epoch, as items."""
    found = []
    for batch in batches.epoch(epoch):
        for row in np.flatnonzero(batch["weight"]):
            used = batch["share"][row] > 0
            np.testing.assert_allclose(batch["share"][row][used], 1 / used.sum())
            inputs = batch["unique_ids"][batch["input"][row][used]]
            found.append((tuple(sorted(inputs.tolist())), int(batch["scored"][batch["output"][row, 0]])))
    return found


def test_neighbours():
    # Sessions 0 1 1 2 and 3 4: nearest first, before and after; the same item is no neighbour of itself.
    around = neighbours(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 1, 2, 3, 4]), 2)
    expected = [[-1, -1, 1, 1], [0, -1, -1, 2], [-1, 0, 2, -1], [1, 1, -1, -1], [-1, -1, 4, -1], [3, -1, -1, -1]]
    np.testing.assert_array_equal(around, expected)


CLICKS = [[0, 1, 2], [3], [2, 4]]


def test_skip_gram_pairs():
    pairs = [((0,), 1), ((1,), 0), ((1,), 2), ((2,), 1), ((2,), 4), ((4,), 2)]
    assert sorted(examples(batches_of(CLICKS))) == pairs
    assert len(batches_of(CLICKS, batch_size=4)) == 2
    whole = sorted([*pairs, ((0,), 2), ((2,), 0)])
    assert sorted(examples(batches_of(CLICKS, window=None))) == whole
    assert batches_of(CLICKS, window=None).num_examples == 8


def test_cbow_examples():
    expected = [((0, 2), 1), ((1,), 0), ((1,), 2), ((2,), 4), ((4,), 2)]
    assert sorted(examples(batches_of(CLICKS, cbow=True))) == expected
    expected = [((0, 1), 2), ((0, 2), 1), ((1, 2), 0), ((2,), 4), ((4,), 2)]
    assert sorted(examples(batches_of(CLICKS, cbow=True, window=None))) == expected


@settings(max_examples=30, deadline=None)
@given(
    clicks=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=9),
    window=st.sampled_from([1, 2, None]),
    batch_size=st.integers(1, 9),
    cbow=st.booleans(),
)
def test_every_example_once_whatever_the_batches(clicks, window, batch_size, cbow):
    expected: Counter = Counter()
    for session in clicks:
        for place, item in enumerate(session):
            around = [other for other in range(len(session)) if 0 < abs(other - place) <= (window or 99)]
            inputs = [session[other] for other in around if session[other] != item]
            if cbow and inputs:
                expected[tuple(sorted(inputs)), item] += 1
            elif not cbow:
                expected.update(((item,), other) for other in inputs)
    if not expected:
        with pytest.raises(DataError, match="No training session has two different items within model.window"):
            batches_of(clicks, window=window, cbow=cbow)
        return
    batches = batches_of(clicks, window=window, batch_size=batch_size, cbow=cbow)
    for epoch in range(2):
        assert Counter(examples(batches, epoch)) == expected
    assert batches.num_examples == expected.total()
    assert len(list(batches.epoch())) == len(batches)


def test_shapes_are_static_and_epochs_repeat(monkeypatch):
    monkeypatch.setattr(session_windows, "CHUNK_EVENTS", 40)
    rng = np.random.default_rng(0)
    batches = batches_of([rng.integers(0, 30, 6) for _ in range(50)], 30, batch_size=16, window=2)
    shapes = {tuple((name, array.shape, str(array.dtype)) for name, array in b.items()) for b in batches.epoch(0)}
    assert len(shapes) == 1
    first, again, second = (list(batches.epoch(epoch)) for epoch in (0, 0, 1))
    for one, other in zip(first, again, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert any((one["unique_ids"] != other["unique_ids"]).any() for one, other in zip(first, second, strict=True))
    for batch in first:  # positions point at real rows; what is padding does not move
        for rows, positions in (("unique_ids", "input"), ("scored", "output")):
            moving = np.flatnonzero(batch[f"{rows}_scale"])
            assert set(np.unique(batch[positions])) == set(moving.tolist())
            assert len(np.unique(batch[rows][moving])) == len(moving)
    told = batches.where(0, 2)
    target = first[2]["scored"][first[2]["output"][0, 0]]
    assert told.startswith(f"target items in the batch: {target}, ")


def test_negatives_follow_the_power_of_the_counts():
    # Events 16 and 1 and 0: to the power .75 8 : 1 : 0
    batches = batches_of([[0, 1], *[[0]] * 15], 3, batch_size=2, negatives=9000)
    (batch,) = batches.epoch()
    drawn = np.bincount(batch["scored"][batch["output"][:, 1:]].ravel(), minlength=3)
    assert drawn.sum() == 18_000
    assert drawn[0] == pytest.approx(16_000, abs=250)  # standard deviation 42
    assert drawn[2] == 0


def test_subsampling_leaves_out_frequent_items():
    # Item 0 has half of all events: with a threshold of .02, a share sqrt(.02 / .5) = .2 of them is kept; items 1 to
    # 100 have .005 each and are kept.
    clicks = [[0, 1 + number % 100] for number in range(20_000)]
    kept = batches_of(clicks, 101, subsample=0.02).train.support
    assert kept[1:].tolist() == [200] * 100
    assert kept[0] == pytest.approx(4000, abs=350)  # standard deviation 57

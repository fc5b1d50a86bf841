from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.batches.session_segments import SegmentBatches, aims, segment_size
from nnrec.core.errors import ConfigError, DataError
from tests.models.small_sessions import random_clicks, sessions_of


def batches(train, batch_size=8, *, seed=0, clicks=3, n_sample=4, sample_alpha=0.5, **options):
    return SegmentBatches(
        train, batch_size, seed=seed, clicks=clicks, n_sample=n_sample, sample_alpha=sample_alpha, **options
    )


def examples(batch, clicks):
    """(the clicks so far, at most the last `clicks`, and the target) of every example in a batch."""
    found = []
    for row, step in zip(*np.nonzero(batch["weight"]), strict=True):
        window = slice(step, step + clicks)
        there = batch["present"][row, window] > 0
        seen = batch["unique_ids"][batch["input"][row, window][there]]
        found.append((tuple(seen.tolist()), int(batch["unique_ids"][batch["target"][row, step]])))
    return found


def expected(clicks, last):
    return [(tuple(session[max(i - last, 0) : i]), session[i]) for session in clicks for i in range(1, len(session))]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 5))
def test_every_beginning_of_a_session_is_learnt_from_once_an_epoch(seed, batch_size, last):
    clicks = [*random_clicks(12, 9, longest=12, seed=seed), [3, 4]]
    made = batches(sessions_of(clicks, 9), batch_size, clicks=last)
    for epoch in (0, 1):
        found = [example for batch in made.epoch(epoch) for example in examples(batch, last)]
        assert sorted(found) == sorted(expected(clicks, last))
        assert len(found) == made.num_examples
    assert len(list(made.epoch())) == len(made)


def test_shapes_stay_and_touched_items_are_distinct():
    made = batches(sessions_of(random_clicks(40, 30, longest=20), 30), 16, n_sample=6)
    shapes = set()
    for batch in made.epoch():
        shapes.add(tuple((name, array.shape, array.dtype.str) for name, array in batch.items()))
        used = batch["unique_ids"][batch["unique_ids_scale"] > 0]
        assert len(set(used.tolist())) == len(used)
        assert set(batch["unique_ids"].tolist()) == set(used.tolist())
        # targets and negatives come first, and are counted
        counted = batch["aimed"] + batch["drawn"] > 0
        np.testing.assert_array_equal(counted, batch["scored"] > 0)
        assert (np.diff(counted.astype(int)) <= 0).all()
        assert batch["aimed"].sum() == batch["weight"].sum()
        assert batch["drawn"].sum() <= 6
        np.testing.assert_array_equal(batch["support"], made.train.support[batch["unique_ids"]])
    assert len(shapes) == 1


def test_an_epoch_is_the_same_every_time_and_no_other_is():
    made = batches(sessions_of(random_clicks(30, 9), 9))
    one, again, other = (list(made.epoch(epoch)) for epoch in (2, 2, 3))
    for batch, same in zip(one, again, strict=True):
        for name in batch:
            np.testing.assert_array_equal(batch[name], same[name])
    assert any((batch["unique_ids"] != more["unique_ids"]).any() for batch, more in zip(one, other, strict=True))
    assert (one[0]["key"] != other[0]["key"]).any() and (one[0]["touched_key"] != other[0]["touched_key"]).any()


def test_negatives_follow_support_to_the_power():
    # supports 1, 4, 16 (items 0, 1, 2); powers of one half 1, 2, 4
    clicks = [[0, 1, 1, 1, 1], [2] * 16]
    made = batches(sessions_of(clicks, 3), 100, n_sample=2000)
    batch = next(made.epoch())
    drawn = batch["drawn"][np.argsort(batch["unique_ids"][:3])]
    np.testing.assert_allclose(drawn / drawn.sum(), np.array([1, 2, 4]) / 7, atol=0.04)


def with_kinds(clicks, kinds, num_items=6):
    event = np.concatenate(kinds).astype(np.int16)
    return replace(sessions_of(clicks, num_items), event=event, event_names=("click", "buy"))


KINDS = with_kinds([[0, 1, 2, 3], [4, 5], [1, 2, 0]], [[0, 0, 1, 0], [0, 0], [1, 0, 1]])


def test_the_next_event_of_a_kind():
    # 0 1 [2] 3: item 2 after 0 and after 1; 4 5: nothing; [1] 2 [0]: item 0 after 1 and after 2
    assert aims(KINDS, "buy").tolist() == [2, 2, -1, -1, -1, -1, 8, 8, -1]
    assert aims(KINDS).tolist() == [1, 2, 3, -1, 5, -1, 7, 8, -1]
    made = batches(KINDS, 8, event="buy")
    found = [example for batch in made.epoch() for example in examples(batch, 3)]
    assert sorted(found) == sorted([((0,), 2), ((0, 1), 2), ((1,), 0), ((1, 2), 0)])
    assert made.num_examples == 4


def test_without_prefixes_each_session_is_one_example():
    found = [example for batch in batches(KINDS, 8, prefixes=False).epoch() for example in examples(batch, 3)]
    assert sorted(found) == sorted([((0, 1, 2), 3), ((4,), 5), ((1, 2), 0)])


def test_segments_suit_the_sessions():
    assert segment_size(np.full(50, 4), clicks=3) == 4  # no padding
    assert segment_size(np.full(50, 1), clicks=3) == 1
    assert segment_size(np.full(5, 320), clicks=8) == 32  # little context


def test_nothing_to_learn_is_refused():
    with pytest.raises(DataError, match="No training session has two events"):
        batches(sessions_of([[1], [2]], 3))
    with pytest.raises(DataError, match="has an event of the kind 'buy' after another event"):
        batches(with_kinds([[1, 2]], [[1, 0]]), event="buy")
    with pytest.raises(ConfigError, match="no events of the kind 'cart'. There: click, buy"):
        batches(KINDS, event="cart")
    assert "sessions in the batch: " in batches(KINDS).where(0, 0)

"""Session-parallel batches: the schedule, the negatives, and the content of a host call."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.batches.session_parallel import SessionParallelBatches, Slots
from nnrec.batches.session_parallel_loops import count_time_steps
from nnrec.core.errors import DataError
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary


def sessions_of(*sessions: list[int], num_items: int | None = None) -> Sessions:
    items = np.concatenate([np.array(items, np.int32) for items in sessions])
    lengths = [len(items) for items in sessions]
    return Sessions(
        ids=Vocabulary(f"s{number}" for number in range(len(sessions))),
        items=Vocabulary(range(num_items or int(items.max()) + 1)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item=items,
    )


def random_sessions(num_sessions: int, num_items: int, seed: int = 0) -> Sessions:
    rng = np.random.default_rng(seed)
    odds = 1 / np.arange(1, num_items + 1)
    drawn = [rng.choice(num_items, rng.integers(2, 9), p=odds / odds.sum()).tolist() for _ in range(num_sessions)]
    return sessions_of(*drawn, num_items=num_items)


def schedule(offsets, slots, order=None, pools: int = 1, time_steps: int | None = None) -> np.ndarray:
    """(time steps, slots) events of some sessions, which come in pools and are read a few time steps at a time."""
    order = np.arange(len(offsets) - 1) if order is None else order
    queue, tables, waiting = Slots(slots, offsets), [], np.array_split(order, pools)
    shape = (time_steps or int(offsets[-1]) + 1, slots)
    while True:
        events, reset = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
        row = queue.read(events, reset, 0, not waiting)
        while row < len(events) and waiting:
            queue.add(waiting.pop(0))
            row = queue.read(events, reset, row, not waiting)
        np.testing.assert_array_equal(reset == 1, np.isin(events, offsets[:-1]))
        tables.append(events[:row])
        if row < len(events):
            return np.concatenate(tables)


def test_five_sessions_in_two_slots():
    """Events 0-2, 3-4, 5-8, 9-10, 11-13; the last event of each is a target only.

    Slot 0 reads 0, 1 and finishes the first session; slot 1 reads 3, and takes the third session at once: 5, 6, 7.
    Slot 0 takes the fourth: 9, then the fifth: 11, 12; no session is left for slot 1.
    """
    offsets = np.array([0, 3, 5, 9, 11, 14])
    assert schedule(offsets, 2).tolist() == [[0, 3], [1, 5], [9, 6], [11, 7], [12, -1]]


def test_of_two_free_slots_the_first_takes_the_next_session():
    assert schedule(np.array([0, 2, 4, 6, 9]), 2).tolist() == [[0, 2], [4, 6], [-1, 7]]


def test_fewer_sessions_than_slots():
    assert schedule(np.array([0, 2, 5]), 4).tolist() == [[0, 2, -1, -1], [-1, 3, -1, -1]]


def test_sessions_of_one_event_take_no_step():
    assert schedule(np.array([0, 1, 3, 4, 6]), 2).tolist() == [[1, 4]]


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=30), slots=st.integers(1, 9), seed=st.integers(0, 9))
def test_the_schedule_does_not_depend_on_how_sessions_come(lengths, slots, seed):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    order = np.random.default_rng(seed).permutation(len(lengths))
    whole = schedule(offsets, slots, order)
    for pools, time_steps in ((2, None), (7, 3), (len(lengths), 1)):
        assert schedule(offsets, slots, order, pools, time_steps).tolist() == whole.tolist()
    assert len(whole) == count_time_steps(np.diff(offsets)[order] - 1, slots)


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=30), slots=st.integers(1, 9), seed=st.integers(0, 9))
def test_every_pair_comes_once_and_sessions_stay_in_their_slot(lengths, slots, seed):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    table = schedule(offsets, slots, np.random.default_rng(seed).permutation(len(lengths)))
    read = np.sort(table[table >= 0])
    last = offsets[1:] - 1
    assert read.tolist() == np.setdiff1d(np.arange(offsets[-1]), last).tolist()
    assert (table >= 0).any(axis=1).all()
    reset = np.isin(table, offsets[:-1])
    for slot in range(slots):
        column = table[:, slot]
        ongoing = (column >= 0) & ~reset[:, slot]
        assert (column[ongoing] == np.roll(column, 1)[ongoing] + 1).all()
        ended = np.flatnonzero(column < 0)
        assert ended.size == 0 or (column[ended[0] :] < 0).all(), "a slot waited while there were sessions"


def items_of(batch: dict, step: int, name: str) -> np.ndarray:
    return batch["unique_ids"][step][batch[name][step, 0]]


def test_a_call_says_what_its_steps_read():
    # The sessions of the schedule above, event n with item n, except in the third session, which repeats other items.
    train = sessions_of([0, 1, 2], [3, 4], [1, 1, 4, 2], [9, 10], [11, 12, 13])
    (batch,) = SessionParallelBatches(train, 2, steps_per_call=8).epoch()
    assert batch["steps"] == 5 and batch["input"].shape == (5, 1, 2)
    assert batch["weight"][:, 0].tolist() == [[1, 1], [1, 1], [1, 1], [1, 1], [1, 0]]
    # The state is reset before the first event of each session, not a step late.
    assert batch["reset"][:, 0].tolist() == [[1, 1], [0, 1], [1, 0], [1, 0], [0, 0]]
    assert items_of(batch, 1, "input").tolist() == [1, 1]
    assert items_of(batch, 1, "target").tolist() == [2, 1]
    real = batch["unique_ids_scale"] > 0
    assert sorted(batch["unique_ids"][1][real[1]]) == [1, 2]  # an item has one row, however often it occurs
    assert batch["scored"][1].sum() == 2
    assert sorted(batch["unique_ids"][0][real[0]]) == [0, 1, 3, 4]
    assert sorted(batch["unique_ids"][0][batch["scored"][0] > 0]) == [1, 4]  # items that are inputs only are not scored
    assert batch["aimed"].sum() == 9 and batch["aimed"][4].sum() == 1  # a masked slot has no target
    aims = np.bincount(batch["unique_ids"][1], weights=batch["aimed"][1, 0])
    assert (aims[1], aims[2]) == (1, 1)
    assert (batch["support"][1][batch["unique_ids"][1] == 1] == 3).all()


def test_the_last_call_says_how_many_steps_it_has():
    train = sessions_of([0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10], [11, 12, 13])
    batches = SessionParallelBatches(train, 2, seed=1, n_sample=4, steps_per_call=2)
    assert len(batches) == 3
    calls = list(batches.epoch(3))
    assert [int(call["steps"]) for call in calls] == [2, 2, 1]
    assert {name: array.shape for name, array in calls[0].items()} == {
        name: array.shape for name, array in calls[2].items()
    }
    assert calls[2]["weight"][1:].sum() == 0 and calls[2]["drawn"][1:].sum() == 0
    assert batches.where(3, 2) == "sessions in the batch: s4"
    assert batches.num_examples == 9


def test_draws_depend_on_seed_epoch_and_step_alone():
    train = random_sessions(40, 30)
    long, short = (SessionParallelBatches(train, 4, seed=3, n_sample=6, steps_per_call=size) for size in (7, 3))
    for name in ("unique_ids", "drawn", "key", "aimed"):
        whole, parts = (np.concatenate([call[name] for call in made.epoch(2)]) for made in (long, short))
        steps = long.steps
        np.testing.assert_array_equal(whole[:steps], parts[:steps], err_msg=name)
    other = SessionParallelBatches(train, 4, seed=4, n_sample=6)
    assert (long.negatives(2, 0) != long.negatives(3, 0)).any()
    assert (long.negatives(2, 0) != other.negatives(2, 0)).any()
    np.testing.assert_array_equal(long.negatives(2, 5), short.negatives(2, 5))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_negatives_are_drawn_by_support_to_the_power_of_alpha(alpha):
    # Items 0, 1, 3 occur 1, 4 and 9 times; item 2 never occurs and is never drawn, whatever alpha is.
    train = sessions_of([0] + 4 * [1] + 9 * [3], num_items=4)
    batches = SessionParallelBatches(train, 1, seed=0, n_sample=20_000, sample_alpha=alpha)
    share = np.bincount(batches.negatives(0, 0), minlength=4) / 20_000
    expected = np.array([1, 4, 0, 9]) ** alpha * [1, 1, 0, 1]
    np.testing.assert_allclose(share, expected / expected.sum(), atol=0.015)
    assert share[2] == 0


def test_negatives_count_as_often_as_they_were_drawn_targets_included():
    train = random_sessions(40, 12)
    batches = SessionParallelBatches(train, 4, seed=3, n_sample=50)
    (batch,) = batches.epoch()
    for step in range(int(batch["steps"])):
        counts = np.bincount(batch["unique_ids"][step], weights=batch["drawn"][step], minlength=12)
        np.testing.assert_array_equal(counts, np.bincount(batches.negatives(0, step), minlength=12))


def test_room_is_found_for_all_that_is_drawn():
    train = random_sessions(400, 3000)
    batches = SessionParallelBatches(train, 8, seed=0, n_sample=500, sample_alpha=1.0)
    assert batches.room < 516
    for batch in batches.epoch():
        assert (batch["drawn"].sum(axis=1)[: int(batch["steps"])] == 500).all()


def test_inputs_stand_apart_where_they_have_a_table_of_their_own():
    train = sessions_of([0, 1, 2], [0, 4])
    (batch,) = SessionParallelBatches(train, 2, separate_inputs=True).epoch()
    real = batch["looked_up_scale"] > 0
    assert batch["looked_up"][0][real[0]].tolist() == [0] and batch["looked_up"][1][real[1]].tolist() == [1]
    assert sorted(batch["unique_ids"][0][batch["unique_ids_scale"][0] > 0]) == [1, 4]


def test_several_moments_to_a_step():
    train = sessions_of([0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10], [11, 12, 13])
    batches = SessionParallelBatches(train, 2, time_steps=2, n_sample=1)
    events = next(batches.plan(0)).events
    assert events.reshape(-1, 2).tolist() == [[0, 3], [1, 5], [9, 6], [11, 7], [12, -1], [-1, -1]]
    (batch,) = batches.epoch()
    assert batch["input"].shape == (3, 2, 2) and batch["drawn"].sum() == 3


def test_random_order_is_another_in_every_epoch_and_loses_nothing():
    train = random_sessions(50, 20)
    batches = SessionParallelBatches(train, 4, seed=0, random_order=True, steps_per_call=8)
    first, second = ([call for call in batches.epoch(epoch)] for epoch in (0, 1))
    assert len(first) == len(second) == len(batches)
    for calls in (first, second):
        assert sum(call["weight"].sum() for call in calls) == batches.num_examples
    first, second = (next(batches.plan(epoch)).events for epoch in (0, 1))
    assert (first != second).any()


def test_data_without_a_pair_are_refused():
    with pytest.raises(DataError, match="No training session has two events"):
        SessionParallelBatches(sessions_of([0], [1]), 2)


def test_half_a_million_events_are_planned_at_once():
    lengths = np.random.default_rng(0).geometric(0.25, 125_000) + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.zeros(offsets[-1], np.int32)

    def plan(count: int, slots: int) -> None:
        some = offsets[: count + 1]
        train = Sessions(Vocabulary(range(count)), Vocabulary([0]), some, items[: some[-1]])
        for _ in SessionParallelBatches(train, slots).plan(0):
            pass

    plan(100, 4)
    started = time.process_time()
    plan(len(lengths), 144)
    assert time.process_time() - started < 1.0

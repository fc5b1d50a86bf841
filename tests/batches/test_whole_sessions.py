from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.batches.padding import bucket
from nnrec.batches.whole_sessions import blocks
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary


def of_lengths(lengths: list[int], times: bool = False) -> Sessions:
    """Sessions of these lengths; the items count up over all of them."""
    num_events = sum(lengths)
    return Sessions.build(
        ids=Vocabulary(range(len(lengths))),
        session=np.repeat(np.arange(len(lengths)), lengths),
        items=Vocabulary(range(num_events)),
        item=np.arange(num_events, dtype=np.int32),
        time=np.arange(num_events) / 2 if times else None,
        time_kind="timestamp" if times else None,
    )


def test_by_hand():
    # Items: session 0 = 0 1, 1 = 2 3 4 5 6, 2 = 7 8, 3 = 9 10. Lengths of 2 have T = 2, that of 5 has T = 6.
    # At most 4 events: two sessions of T = 2, one of T = 6 (longer than the bound).
    first, second, third = blocks(of_lengths([2, 5, 2, 2], times=True), max_events=4)
    assert first["item"].tolist() == [[0, 1], [7, 8]]
    assert first["session"].tolist() == [0, 2]
    assert first["time"].tolist() == [[0, 0.5], [3.5, 4]]
    assert second["item"].tolist() == [[9, 10], [-1, -1]]
    assert second["session"].tolist() == [3, -1]
    assert second["time"].tolist() == [[4.5, 5], [0, 0]]
    assert third["item"].tolist() == [[2, 3, 4, 5, 6, -1]]
    assert third["session"].tolist() == [1]
    assert (first["item"].dtype, first["session"].dtype, first["time"].dtype) == (np.int32, np.int32, np.float64)


def test_without_times():
    assert set(next(blocks(of_lengths([1]), 8))) == {"session", "item"}


def test_no_session():
    assert list(blocks(of_lengths([1]).take(np.zeros(1, bool)), 8)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 100))
def test_every_session_is_there_once_and_shapes_are_few(lengths, max_events):
    sessions = of_lengths(lengths)
    shapes, seen = {}, []
    for batch in blocks(sessions, max_events):
        rows, size = batch["item"].shape
        assert rows * size <= max_events or rows == 1
        assert bucket(size) == size
        assert shapes.setdefault(size, rows) == rows
        for session, items in zip(batch["session"], batch["item"], strict=True):
            if session < 0:
                assert (items == -1).all()
                continue
            seen.append(session)
            start, stop = sessions.offsets[session : session + 2]
            assert items[: stop - start].tolist() == sessions.item[start:stop].tolist()
            assert (items[stop - start :] == -1).all()
            assert size == bucket(int(stop - start))
    assert sorted(seen) == list(range(sessions.num_sessions))


@pytest.mark.parametrize("number", [3, 1000])
def test_padding_is_little(number):
    batch = next(blocks(of_lengths([2] * number), 10**6))
    assert batch["item"].shape == (bucket(number), 2)

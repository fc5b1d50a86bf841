from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.sessions import filter_sessions
from tests.data.test_sessions import make, spelt


def titled(sessions, titles):
    return replace(sessions, item_table=pd.DataFrame({"title": titles}))


def test_repeats_in_a_row():
    sessions = filter_sessions(make("aaaaabb", "xxyxxxy", [1, 2, 3, 4, 5, 6, 7]), collapse_repeats=True)
    # The x at the start of b stays, although a ends with x.
    assert spelt(sessions) == {"a": "xyx", "b": "xy"}
    assert sessions.time.tolist() == [1, 3, 4, 6, 7]
    assert sessions.notes == ("Repeats in a row: removed 2 events.",)


def test_of_repeats_the_strongest_kind_stays():
    sessions = make("aaaa", "xxxy", event=np.array([0, 2, 1, 0], np.int16), event_names=("view", "cart", "buy"))
    assert filter_sessions(sessions, collapse_repeats=True).event.tolist() == [2, 0]
    assert sessions.event.tolist() == [0, 2, 1, 0]


def test_repeats_stay_by_default():
    assert spelt(filter_sessions(make("aaa", "xxx"))) == {"a": "xxx"}


def test_too_long():
    sessions = filter_sessions(make("aaabb", "xyzxy"), max_session_length=2)
    assert spelt(sessions) == {"b": "xy"}
    assert sessions.notes == (
        "Sessions of more than 2 events: removed 1 with 3 events (the longest had 3).",
        "Left without an event: removed 1 items.",
    )


def test_minimum_counts_to_convergence():
    # Support: x 4, y 2, z 1. Without z, c has one event and goes; then y has one; then b goes, and then x has 2.
    sessions = make("aabbccd", "xxxyyzx")
    assert spelt(filter_sessions(sessions, min_session_length=2, min_item_support=2)) == {"a": "xx"}
    with pytest.raises(DataError, match="min_session_length=2 and filters.min_item_support=3 leave none of the 7 even"):
        filter_sessions(sessions, min_session_length=2, min_item_support=3)


def test_notes_of_minimum_counts():
    sessions = filter_sessions(make("aabbc", "xyxyz"), min_item_support=2)
    assert sessions.notes == (
        "Minimum counts (2 events per session, 2 per item): removed 1 events and 1 sessions.",
        "Left without an event: removed 1 items.",
    )
    assert sessions.items.ids.tolist() == ["x", "y"]


def test_support_is_counted_in_training():
    # z has three events, one of them in training: it leaves both parts. y: two in training.
    sessions = make("aabbbccc", "xyyxzzzx", part=np.array([0, 0, 1], np.int8))
    found = filter_sessions(sessions, min_item_support=2, min_session_length=1)
    assert spelt(found) == {"a": "xy", "b": "yx", "c": "x"}
    assert found.part.tolist() == [0, 0, 1]


def test_items_of_the_test_file_alone_stay_where_no_support_is_asked_for():
    sessions = make("aabbb", "xyxzz", part=np.array([0, 1], np.int8))
    assert spelt(filter_sessions(sessions)) == {"a": "xy", "b": "xzz"}


def test_a_support_of_nought_keeps_items_without_an_event():
    sessions = titled(make("aabc", "xyxz"), ["X", "Y", "Z"])
    assert filter_sessions(sessions, min_item_support=0).num_items == 3
    fewer = filter_sessions(sessions)
    assert fewer.num_items == 2
    assert fewer.item_table["title"].tolist() == ["X", "Y"]


def test_stoplist():
    sessions = titled(make("aaabb", "xyzyy"), ["Lamp", "Gory Film", "Blood and Gore"])
    found = filter_sessions(sessions, stoplist=["gore", "blood"], min_session_length=1)
    assert spelt(found) == {"a": "xy", "b": "yy"}
    assert found.items.ids.tolist() == ["x", "y"]
    assert found.stopped["item_id"].tolist() == ["z"]
    assert found.notes == ("Stoplist (gore, blood): removed 1 items with 1 events.",)
    assert "caught no item" in filter_sessions(sessions, stoplist=["tractor"]).notes[0]


def test_what_nobody_can_beat_goes_with_the_events_it_rests_on():
    sessions = make("aaabb", "xyzxy", expected=np.full((5, 1), 0.5, np.float32), expected_names=("recall@20",))
    assert filter_sessions(sessions, max_session_length=2).best == {"recall@20": 0.5}
    assert filter_sessions(sessions, min_item_support=2).best is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_session_length": 2}, "max_session_length=2 leaves none of the 1 sessions: raise it"),
        ({"min_session_length": 4}, "min_session_length=4 and filters.min_item_support=1 leave none of the 3 events"),
        ({"stoplist": ["lamp"]}, r"filters.stoplist \(lamp\) leaves none of the 3 events"),
    ],
)
def test_nothing_left(arguments, message):
    with pytest.raises(DataError, match=message):
        filter_sessions(titled(make("aaa", "xyz"), ["Lamp"] * 3), **arguments)


def test_nothing_left_for_training():
    with pytest.raises(DataError, match="leave none of the 2 training events"):
        filter_sessions(make("aabbb", "xyxxx", part=np.array([0, 1], np.int8)), min_session_length=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_session_length": 0}, "filters.min_session_length must be a whole number, 1 or more"),
        ({"min_item_support": -1}, "filters.min_item_support must be a whole number, 0 or more"),
        ({"min_item_support": 1.5}, "filters.min_item_support must be a whole number"),
        ({"max_session_length": 1}, "filters.max_session_length must be a whole number, 2 or more"),
        ({"stoplist": []}, "filters.stoplist is empty"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ConfigError, match=message):
        filter_sessions(make("aa", "xy"), **arguments)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sets(st.integers(0, 9)),
)
def test_minimum_counts_hold_and_are_the_largest_such(log, per_session, per_item, tested):
    names, items = ("".join(map(str, column)) for column in zip(*log, strict=True))
    part = np.array([int(name) in tested for name in sorted(set(names))], np.int8)
    sessions = make(names, items, part=part)
    events = {(name, place): item for name, word in spelt(sessions).items() for place, item in enumerate(word)}
    while True:  # one removal at a time
        bad = None
        for (name, place), item in events.items():
            length = sum(other == name for other, _ in events)
            support = sum(one == item and int(other) not in tested for (other, _), one in events.items())
            if length < per_session or (per_item > 1 and support < per_item):
                bad = name, place
                break
        if bad is None:
            break
        del events[bad]
    if not any(int(name) not in tested for name, _ in events):
        with pytest.raises(DataError):
            filter_sessions(sessions, min_session_length=per_session, min_item_support=per_item)
        return
    found = filter_sessions(sessions, min_session_length=per_session, min_item_support=per_item)
    left: dict[str, str] = {}
    for (name, _), item in events.items():
        left[name] = left.get(name, "") + item
    assert spelt(found) == left

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import DataError
from nnrec.data.sessions import Sessions, in_time
from nnrec.data.vocabulary import Vocabulary


def make(ids: str, items: str, times: list[float] | None = None, **fields) -> Sessions:
    """Sessions from two letters per event, its session and its item, in order of arrival."""
    vocabulary, session = Vocabulary.of(np.array(list(ids), object))
    catalogue, item = Vocabulary.of(np.array(list(items), object))
    if times is not None:
        fields |= {"time": np.array(times, float), "time_kind": fields.get("time_kind", "timestamp")}
    return Sessions.build(ids=vocabulary, session=session, items=catalogue, item=item, **fields)


def spelt(sessions: Sessions) -> dict[str, str]:
    """Session id -> its items."""
    words = np.split(sessions.items.ids[sessions.item], sessions.offsets[1:-1])
    return {str(name): "".join(word) for name, word in zip(sessions.ids.ids, words, strict=True)}


def test_sorted_by_first_event_then_arrival():
    # a: b@3 a@5; b: c@1 d@7; c: e@3 (as early as a, arrived after it)
    sessions = make("abacb", "adbec", [5, 7, 3, 3, 1])
    assert list(spelt(sessions).items()) == [("b", "cd"), ("a", "ba"), ("c", "e")]
    assert sessions.time.tolist() == [1, 7, 3, 5, 3]
    assert sessions.offsets.tolist() == [0, 2, 4, 5]
    assert sessions.item.dtype == np.int32
    assert sessions.session.tolist() == [0, 0, 1, 1, 2]
    assert sessions.support.tolist() == [1, 1, 1, 1, 1]


def test_events_of_one_moment_keep_their_order():
    assert spelt(make("aaaa", "dbca", [1, 1, 0, 1])) == {"a": "cdba"}


def test_without_times_the_order_of_arrival_counts():
    assert list(spelt(make("babac", "abcde")).items()) == [("b", "ac"), ("a", "bd"), ("c", "e")]


def test_an_order_within_the_session_does_not_order_sessions():
    # session b arrives first and stays first, although its first event has the higher position
    sessions = make("bbaa", "abcd", [1, 0, 0, 1], time_kind="order")
    assert list(spelt(sessions).items()) == [("b", "ba"), ("a", "cd")]


def test_ids_without_an_event_are_gone_and_parts_follow():
    sessions = Sessions.build(
        ids=Vocabulary([5, 6, 7]), session=np.array([2, 0]), items=Vocabulary([1]), item=np.zeros(2, np.int32),
        part=np.array([1, 0, 0], np.int8),
    )  # fmt: skip
    assert sessions.ids.ids.tolist() == [7, 5]
    assert sessions.part.tolist() == [0, 1]


def test_columns_of_different_lengths():
    with pytest.raises(DataError, match="differ in length"):
        Sessions.build(ids=Vocabulary([1]), session=np.zeros(2, int), items=Vocabulary([1]), item=np.zeros(3, np.int32))


def test_take_and_keep():
    sessions = make("aabbbc", "abcdef", [1, 2, 3, 4, 5, 6], part=np.array([0, 1, 0], np.int8))
    assert spelt(sessions.take(np.array([2, 0]))) == {"c": "f", "a": "ab"}
    some = sessions.keep(np.array([1, 0, 0, 1, 1, 0], bool))
    assert spelt(some) == {"a": "a", "b": "de"}
    assert (some.part.tolist(), some.time.tolist()) == ([0, 1], [1, 4, 5])
    assert some.num_items == 6
    assert sessions.take(np.zeros(3, bool)).num_sessions == 0


def test_fingerprint():
    one = make("aab", "xyx", [1, 2, 3])
    assert one.fingerprint() == make("baa", "xxy", [3, 1, 2]).fingerprint()
    assert one.fingerprint() != make("aab", "xyx", [1, 2, 4]).fingerprint()
    assert one.fingerprint() != make("abb", "xyx", [1, 2, 3]).fingerprint()


logs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(logs, st.integers(0, 6))
def test_every_event_is_there_once_in_order(log, cut):
    session, item, time = map(np.array, zip(*log, strict=True))
    ids, codes = Vocabulary.of(session)
    items = Vocabulary(range(5))
    sessions = Sessions.build(
        ids=ids, session=codes, items=items, item=item.astype(np.int32), time=time * 1.0, time_kind="timestamp"
    )
    found = zip(sessions.ids.ids[sessions.session], sessions.item, sessions.time, strict=True)
    assert sorted(found) == sorted(log)
    assert (sessions.lengths > 0).all()
    same = np.diff(sessions.session) == 0
    assert (np.diff(sessions.time)[same] >= 0).all()
    assert (np.diff(sessions.time[sessions.offsets[:-1]]) >= 0).all()
    early, late = (sessions.take(mask) for mask in (np.arange(len(ids)) < cut, np.arange(len(ids)) >= cut))
    assert early.joined(late).fingerprint() == sessions.fingerprint()


def test_in_time_is_stable():
    assert in_time(np.array([1, 0, 1, 0]), np.array([2, 2, 2, 1])).tolist() == [3, 1, 0, 2]
    assert in_time(np.array([1, 0, 1, 0]), None).tolist() == [1, 3, 0, 2]

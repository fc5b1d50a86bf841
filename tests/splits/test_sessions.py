from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError
from nnrec.splits.sessions import DAY, ColdItems, GivenSessions, LastDays, LastSessions, UsualSessions
from tests.data.test_sessions import make, spelt


def daily():
    """Sessions a to e of two events each; a, b and c on the first three days, d and e on the fourth."""
    # The last event is at 3.9 days: test from 2.9 on, validation from 1.9 on. c begins at 2.8 and ends at 2.9.
    days = [0, 0.1, 1.95, 2.0, 2.8, 2.9, 3.0, 3.1, 3.85, 3.9]
    return make("aabbccddee", "xyxyxzxyxw", [day * DAY for day in days])


def parts(split):
    return ["".join(spelt(part)) for part in (split.train, split.validation, split.test)]


def test_last_days():
    split = LastDays(test=1, validation=1)(daily(), 0)
    assert parts(split) == ["a", "b", "cde"]
    assert "in the last day of the data (from 1970-01-03 21:36:00 on) for test" in split.definition
    # z and w have no training event: two events of the test part
    assert "0 events for validation, 2 for test" in split.definition
    assert split.train.items is split.test.items


def test_no_training_event_is_later_than_the_test_begins():
    split = LastDays(test=0.5, validation=1)(daily(), 0)
    assert parts(split) == ["ab", "cd", "e"]
    assert split.train.time.max() < 2.4 * DAY <= split.validation.time.max() < 3.4 * DAY


def test_merged():
    split = LastDays(test=1, validation=1)(daily(), 0)
    merged = split.merged()
    assert parts(merged) == ["ab", "b", "cde"]
    assert merged.train.fingerprint() == daily().take(np.array([0, 1])).fingerprint()


def test_merged_sessions_are_in_order_of_their_start():
    # a begins before b, ends after it; of the days by last event b is for training, a for validation
    times = [0, 1.5, 0.5, 0.6, 2.2, 2.3]
    split = LastDays(test=0.5, validation=1)(make("aabbcc", "xyxyxy", [day * DAY for day in times]), 0)
    assert parts(split) == ["b", "a", "c"]
    assert list(spelt(split.merged().train)) == ["a", "b"]


def test_last_sessions():
    # 5 sessions: 2 for test (round(.4 * 5)), 1 of the 3 others for validation
    assert parts(LastSessions(test=0.4, validation=0.3)(daily(), 0)) == ["ab", "c", "de"]


def test_last_sessions_without_times():
    split = LastSessions(test=0.4, validation=0.3)(make("eeddccbbaa", "xyxyxyxyxy"), 0)
    assert parts(split) == ["ed", "c", "ba"]
    assert "in the order of the data" in split.definition


def test_given_sessions():
    given_part = make("aabbccddee", "xyxyxyxyxy", part=np.array([0, 1, 0, 0, 1], np.int8))
    assert parts(GivenSessions(validation=0.3)(given_part, 0)) == ["ac", "d", "be"]


def test_usual_sessions():
    part = np.array([0, 1, 0, 0, 1], np.int8)
    assert parts(UsualSessions(0.4, 0.3)(make("aabbccddee", "xyxyxyxyxy", part=part), 0)) == ["ac", "d", "be"]
    assert parts(UsualSessions(0.4, 0.3)(daily(), 0)) == ["ab", "c", "de"]


def test_no_test_file():
    with pytest.raises(DataError, match=r"no test file of their own\. Use split=last_days or split=last_sessions"):
        GivenSessions()(daily(), 0)


@pytest.mark.parametrize(
    ("sessions", "found"),
    [
        (make("aabb", "xyxy"), "have no times"),
        (make("aabb", "xyxy", [0, 1, 0, 1], time_kind="order"), "have only the order within each session"),
    ],
)
def test_days_need_timestamps(sessions, found):
    with pytest.raises(DataError, match=rf"needs timestamps; these data {found}\. Use split=last_sessions"):
        LastDays()(sessions, 0)


def test_nothing_left():
    with pytest.raises(DataError, match=r"leaves no session for training .*span 3.9 days: change split.test"):
        LastDays(test=2, validation=5)(daily(), 0)
    with pytest.raises(DataError, match=r"no session for validation \(training 1, validation 0, test 1 sessions\)"):
        LastSessions(test=0.5, validation=0.1)(make("aabb", "xyxy"), 0)


def test_nothing_to_predict():
    with pytest.raises(DataError, match="test part has nothing to predict: none of its 1 sessions has two events"):
        LastSessions(test=0.3, validation=0.5)(make("aabbc", "xyxyx"), 0)


@pytest.mark.parametrize("days", [0, -1, "1", True, float("nan"), float("inf")])
def test_days_out_of_range(days):
    with pytest.raises(ConfigError, match="split.test must be a number of days, above 0"):
        LastDays(test=days)


def test_shares_out_of_range():
    with pytest.raises(ConfigError, match="split.validation must be a share"):
        LastSessions(validation=1)
    with pytest.raises(ConfigError, match="split.validation must be a share"):
        GivenSessions(validation=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=60), st.integers(1, 20))
def test_parts_are_disjoint_and_cover_everything(log, days):
    names, times = zip(*log, strict=True)
    sessions = make("".join(map(str, names)), "x" * len(log), [time * DAY for time in times])
    for splitter in (LastDays(days, days), LastSessions(0.3, 0.3)):
        try:
            split = splitter(sessions, 0)
        except DataError:
            continue
        found = [spelt(part) for part in (split.train, split.validation, split.test)]
        assert sum(map(len, found)) == sessions.num_sessions
        assert found[0] | found[1] | found[2] == spelt(sessions)
        assert split.merged().train.num_sessions == len(found[0]) + len(found[1])


def test_cold_items_have_no_event_but_in_the_test():
    rng = np.random.default_rng(0)
    sessions = make("".join(chr(97 + n) * 6 for n in range(26)), "".join(map(chr, 97 + rng.integers(0, 20, 156))))
    usual = UsualSessions(0.2, 0.2)(sessions, 0)
    split = ColdItems(0.25, 0.2, 0.2)(sessions, 7)
    known = np.flatnonzero(usual.train.support > 0)
    cold = np.flatnonzero((usual.train.support > 0) & (split.train.support == 0))
    assert len(cold) == round(0.25 * len(known))
    assert not split.validation.support[cold].any() and not split.merged().train.support[cold].any()
    assert split.test.fingerprint() == usual.test.fingerprint()
    assert len(split.train) == len(usual.train) - usual.train.support[cold].sum()
    assert f"25% of the items ({len(cold)}, seed 7) are new" in split.definition
    again, other = (ColdItems(0.25, 0.2, 0.2)(sessions, seed).train for seed in (7, 8))
    assert again.fingerprint() == split.train.fingerprint() != other.fingerprint()
    with pytest.raises(ConfigError, match="split.items"):
        ColdItems(items=1.5)

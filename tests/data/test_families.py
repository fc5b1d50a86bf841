from __future__ import annotations

import dataclasses

import pytest

from nnrec.core.errors import ConfigError
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS, family_named, family_of
from nnrec.data.load import load


class OfSessions:
    family = "sessions"


class OfLikes:
    family = "implicit"


def test_a_family_by_its_name():
    assert [family_named(name) for name in ("ratings", "sessions", "impressions")] == [RATINGS, SESSIONS, IMPRESSIONS]
    assert family_named(None) is RATINGS


def test_it_reads_as_its_name():
    assert f"trained on {SESSIONS}" == "trained on sessions" and str(IMPRESSIONS) == "impressions"
    assert (RATINGS.ranked, SESSIONS.ranked, IMPRESSIONS.ranked) == ("users", "sessions", "rows")


def test_it_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RATINGS.exclude_seen = False


def test_what_is_not_nnrecs_may_name_its_family_or_none():
    assert family_of(OfSessions) is SESSIONS and family_of(object()) is RATINGS
    assert family_of(dataclasses.replace(RATINGS)) is RATINGS


@pytest.mark.parametrize("call", [lambda: family_of(OfLikes), lambda: load({"family": "implicit"})])
def test_a_family_that_there_is_not(call):
    with pytest.raises(ConfigError, match="no family of data 'implicit'. Known: ratings, sessions, impressions"):
        call()

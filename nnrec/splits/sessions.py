"""Splits of sessions into training, validation and test: whole sessions, the latest for test.

A splitter is a small dataclass; calling it with sessions and a seed gives a `SessionSplit`. All parts share the item
vocabulary of the data. Only `ColdItems` uses the seed; the other splits are deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.parts import Parts
from nnrec.data.sessions import Sessions
from nnrec.splits.shares import check_shares, percent

DAY = 86_400  # seconds


@dataclass(frozen=True, eq=False)
class SessionSplit(Parts):
    """Training, validation and test part, each of whole sessions.

    Attributes:
        train: the training part.
        validation, test: the held-out parts. They may hold items without an event in `train`.
        definition: description of the split: what is held out, and how.
    """

    train: Sessions
    validation: Sessions
    test: Sessions
    definition: str

    def counts(self) -> dict[str, int]:
        """Returns the sizes of the split by name."""
        return {
            "items": self.train.num_items,
            "training_sessions": self.train.num_sessions,
            "training_events": len(self.train),
            "test_sessions": self.test.num_sessions,
            "test_events": len(self.test),
        }

    def fingerprint(self) -> str:
        """Returns a hash of all three parts."""
        return self.train.fingerprint(self.validation, self.test)

    def merged(self) -> SessionSplit:
        """Returns the split for a refit: training and validation part together become the training part.

        `validation` keeps its sessions, which are now also training sessions.
        """
        return replace(self, train=self.train.joined(self.validation))

    def in_memory(self) -> SessionSplit:
        """Returns the same split with all its sessions in memory."""
        return replace(self, train=self.train.in_memory())


@dataclass(frozen=True)
class LastDays:
    """The sessions of the last days for test, those of the days before for validation.

    As in the work on GRU4Rec, a day is 24 hours, counted back from the last event of the data, and a session belongs
    to the day of its own last event: no training event is later than the start of the test days.

    Args:
        test, validation: numbers of days; fractions are allowed.
    """

    test: float = 1
    validation: float = 1

    family = "sessions"

    def __post_init__(self) -> None:
        for name, days in {"test": self.test, "validation": self.validation}.items():
            if isinstance(days, bool) or not isinstance(days, (int, float)) or not (isfinite(days) and days > 0):
                raise ConfigError(f"split.{name} must be a number of days, above 0. Received: {days!r}")

    def __call__(self, sessions: Sessions, seed: int) -> SessionSplit:
        self.check(sessions.time_kind)
        assert sessions.time is not None
        last = sessions.time[sessions.offsets[1:] - 1]
        validated, tested = self.edges(last.max())
        how, advice = self.how(last.max()), self.advice(last.max() - sessions.time.min())
        return _assemble(sessions, validated <= last, tested <= last, how, advice)

    @staticmethod
    def check(time_kind: str | None) -> None:
        """Raises DataError if there are no timestamps."""
        if time_kind != "timestamp":
            found = "no times" if time_kind is None else "only the order within each session"
            raise DataError(
                f"A split by days needs timestamps; these data have {found}. Use split=last_sessions (the last share "
                "of the sessions)."
            )

    def edges(self, end: float) -> tuple[float, float]:
        """Returns the start of the validation days and of the test days, in seconds since 1970.

        Args:
            end: time of the last event of the data.
        """
        tested = end - self.test * DAY
        return tested - self.validation * DAY, tested

    def how(self, end: float) -> str:
        """Describes what is held out."""
        moments = [f"{pd.Timestamp(moment, unit='s'):%Y-%m-%d %H:%M:%S}" for moment in self.edges(end)[::-1]]
        return (
            f"Sessions whose last event is in the last {_days(self.test)} of the data (from {moments[0]} on) for test, "
            f"in the {_days(self.validation)} before (from {moments[1]} on) for validation"
        )

    @staticmethod
    def advice(seconds: float) -> str:
        """Returns the advice for an empty part; `seconds` is the time span of the data."""
        return (
            f"The data span {seconds / DAY:,.3g} days: change split.test and split.validation, or use "
            "split=last_sessions."
        )


@dataclass(frozen=True)
class LastSessions:
    """The last share of all sessions for test, and of the rest for validation.

    Sessions are ordered by the time of their first event; without times by their order in the data.
    """

    test: float = 0.1
    validation: float = 0.1

    family = "sessions"

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, sessions: Sessions, seed: int) -> SessionSplit:
        number = np.arange(sessions.num_sessions)
        validated, tested = self.edges(sessions.num_sessions)
        how = self.how(sessions.time_kind)
        return _assemble(sessions, number >= validated, number >= tested, how, self.ADVICE)

    ADVICE = "Raise split.test and split.validation, or use more data."

    def edges(self, number: int) -> tuple[int, int]:
        """Returns the first validation session and the first test session among `number` sessions."""
        rest = number - round(self.test * number)
        return rest - round(self.validation * rest), rest

    def how(self, time_kind: str | None) -> str:
        """Describes what is held out."""
        order = "by their first event" if time_kind == "timestamp" else "in the order of the data"
        how = f"The last {percent(self.test)} of the sessions {order} for test, {percent(self.validation)} of the rest "
        return f"{how}for validation"


@dataclass(frozen=True)
class GivenSessions:
    """The publisher's test file for test; the last share of the other sessions for validation.

    "Last" as in `LastSessions`.
    """

    validation: float = 0.1

    family = "sessions"

    def __post_init__(self) -> None:
        check_shares(validation=self.validation)

    def __call__(self, sessions: Sessions, seed: int) -> SessionSplit:
        if sessions.part is None:
            raise DataError("These data have no test file of their own. Use split=last_days or split=last_sessions.")
        tested = sessions.part == 1
        rest = np.flatnonzero(~tested)
        held_out = tested.copy()
        held_out[rest[len(rest) - round(self.validation * len(rest)) :]] = True
        how = f"The publisher's test file for test, the last {percent(self.validation)} of the other sessions for "
        return _assemble(sessions, held_out, tested, f"{how}validation", "Raise split.validation, or use more data.")


@dataclass(frozen=True)
class UsualSessions:
    """`GivenSessions` if the publisher has a test file, else `LastSessions`."""

    test: float = 0.1
    validation: float = 0.1

    family = "sessions"

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, sessions: Sessions, seed: int) -> SessionSplit:
        if sessions.part is not None:
            return GivenSessions(self.validation)(sessions, seed)
        return LastSessions(self.test, self.validation)(sessions, seed)


@dataclass(frozen=True)
class ColdItems:
    """`UsualSessions` with a random share of new items: training and validation part contain no event of them.

    The other events of these sessions stay. How well new items are recommended is measured on the test part
    (`evaluation.new_items`).

    Args:
        items: share of new items among the items that occur in the training part.
        test, validation: as in `UsualSessions`.
    """

    items: float = 0.1
    test: float = 0.1
    validation: float = 0.1

    family = "sessions"

    def __post_init__(self) -> None:
        check_shares(items=self.items, test=self.test, validation=self.validation)

    def __call__(self, sessions: Sessions, seed: int) -> SessionSplit:
        split = UsualSessions(self.test, self.validation)(sessions, seed)
        known = np.flatnonzero(split.train.support > 0)
        drawn = np.random.default_rng(seed).permutation(known)[: round(self.items * len(known))]
        warm = np.ones(sessions.num_items, bool)
        warm[drawn] = False
        train, validation = (part.keep(warm[part.item]) for part in (split.train, split.validation))
        for name, part in {"training": train, "validation": validation}.items():
            if not len(part) or part.lengths.max() < 2:
                raise DataError(f"Without split.items={self.items:g} of the items the {name} part holds no two events.")
        told = (
            f"{split.definition} {percent(self.items)} of the items ({len(drawn):,}, seed {seed}) are new: their "
            f"events are taken out of training and validation ({len(train):,} and {len(validation):,} events are left)."
        )
        return replace(split, train=train, validation=validation, definition=told)


def _assemble(sessions: Sessions, held_out: np.ndarray, tested: np.ndarray, how: str, advice: str) -> SessionSplit:
    """Builds the split from two masks of sessions.

    Args:
        sessions: the data.
        held_out: sessions of the validation and test part.
        tested: those of them in the test part.
        how: description of the split, to which the sizes are added.
        advice: advice in the messages of errors.

    Raises:
        DataError: a part is empty, or has nothing to predict (no session of two events or more).
    """
    parts = {"training": ~held_out, "validation": held_out & ~tested, "test": tested}
    check_parts({name: int(mask.sum()) for name, mask in parts.items()}, advice)
    train, validation, test = found = [sessions.take(mask) for mask in parts.values()]
    for name, part in {"validation": validation, "test": test}.items():
        check_longest(name, part.num_sessions, int(part.lengths.max()), advice)
    unknown = [int((train.support[part.item] == 0).sum()) for part in (validation, test)]
    numbers = [part.num_sessions for part in found]
    return SessionSplit(train, validation, test, in_words(how, numbers, list(map(len, found)), unknown))


def check_parts(sessions: Mapping[str, int], advice: str) -> None:
    """Raises DataError if a part (name -> number of sessions) is empty."""
    told = ", ".join(f"{name} {number:,}" for name, number in sessions.items())
    if empty := [name for name, number in sessions.items() if not number]:
        raise DataError(f"The split leaves no session for {' and '.join(empty)} ({told} sessions). {advice}")


def check_longest(name: str, sessions: int, longest: int, advice: str) -> None:
    """Raises DataError if no session of a part has two events."""
    if longest < 2:
        raise DataError(
            f"The {name} part has nothing to predict: none of its {sessions:,} sessions has two events. {advice}"
        )


def in_words(how: str, sessions: Sequence[int], events: Sequence[int], unknown: Sequence[int]) -> str:
    """Returns the definition of a split: what is held out, and the sizes of training, validation and test part.

    Args:
        how: what is held out.
        sessions, events: numbers of sessions and events per part.
        unknown: numbers of validation and test events whose item has no training event.
    """
    named = zip(("training", "validation", "test"), sessions, strict=True)
    told = ", ".join(f"{name} {number:,}" for name, number in named)
    notes = f"{how} ({told} sessions; {events[0]:,}, {events[1]:,} and {events[2]:,} events)."
    if any(unknown):
        notes += f" Of items without a training event: {unknown[0]:,} events for validation, {unknown[1]:,} for test."
    return notes


def _days(number: float) -> str:
    return "day" if number == 1 else f"{number:g} days"

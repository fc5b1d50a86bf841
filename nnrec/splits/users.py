"""Splits of the ratings of each user separately, or by whole users; called like those in `nnrec.splits.ratings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.ratings import Ratings
from nnrec.splits.shares import check_drawn, check_shares, interval, percent
from nnrec.splits.split import MORE_DATA, HeldOut, Split, assemble, checked


@dataclass(frozen=True)
class LeaveOneOut:
    """One rating of every user for test and one for validation; users with fewer than three stay in training.

    Args:
        which: "random", or "last" by time (the last for test, the one before for validation).
    """

    which: Literal["random", "last"] = "random"

    def __post_init__(self) -> None:
        if self.which not in ("random", "last"):
            raise ConfigError(f"split.which must be random or last. Received: {self.which!r}")

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        if self.which == "last":
            need_times(ratings, "split.which=random")
        place = _place_from_end(ratings.user, None if self.which == "last" else np.random.default_rng(seed))
        part = self.parts(place, ratings.activity[ratings.user])
        return assemble(ratings, part, self.how(seed), "Users need three ratings or more.")

    def parts(self, place: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Returns (n,) int8, the parts of ratings.

        Args:
            place: (n,) position from the end of the user's ratings (0 = last).
            count: (n,) number of ratings of the user.
        """
        held_out = np.where(place == 0, TEST, np.where(place == 1, VALIDATION, TRAIN))
        return np.where(count >= 3, held_out, TRAIN).astype(np.int8)

    def how(self, seed: int) -> str:
        """Describes what is held out."""
        if self.which == "random":
            return f"One random rating of every user for test and one for validation, seed {seed}"
        return "The last rating of every user for test, the one before for validation"


@dataclass(frozen=True)
class UserTimeSplit:
    """The last share of each user's ratings for test, and of the rest for validation, rounded.

    At least one rating of each user stays in training.
    """

    test: float = 0.1
    validation: float = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        need_times(ratings, "split=random")
        part = self.parts(_place_from_end(ratings.user), ratings.activity[ratings.user])
        return assemble(ratings, part, self.how(seed))

    def parts(self, place: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Returns (n,) int8, the parts of ratings.

        Args:
            place: (n,) position from the end of the user's ratings (0 = last).
            count: (n,) number of ratings of the user.
        """
        test = np.minimum(_rounded(self.test * count), np.maximum(count - 1, 0))
        rest = count - test
        validation = np.minimum(_rounded(self.validation * rest), np.maximum(rest - 1, 0))
        return np.where(place < test, TEST, np.where(place < test + validation, VALIDATION, TRAIN)).astype(np.int8)

    def how(self, seed: int) -> str:
        """Describes what is held out."""
        how = f"The last {percent(self.test)} of each user's ratings for test, {percent(self.validation)} of the rest "
        return f"{how}(the latest) for validation"


@dataclass(frozen=True)
class HeldOutUsers:
    """Holds out whole users: a share for test, another (or one of several equal parts of the rest) for validation.

    For each held-out user a random share `fold_in` of the ratings (at least one) is the history, and the rest (at least
    one) the target, as in Liang et al., Variational Autoencoders for Collaborative Filtering (2018). Their ratings of
    items without a training rating are dropped. Users with a single rating are never held out.
    """

    test: float = 0.1
    validation: float | str = 0.1
    fold_in: float = 0.8

    def __post_init__(self) -> None:
        check_user_shares(self.test, self.validation, self.fold_in)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        count = np.bincount(ratings.user, minlength=ratings.num_users)
        drawn = rng.permutation(np.flatnonzero(count >= 2))
        present = int((count > 0).sum())
        tested, rest = np.split(drawn, [round(self.test * present)])
        of = len(rest) if isinstance(self.validation, str) else present
        first, end = (round(place * of) for place in interval(self.validation))
        role = np.zeros(ratings.num_users, np.int8)
        role[tested], role[rest[first:end]] = TEST, VALIDATION

        return hold_out(ratings, role, lambda kept: _place_from_end(kept.user, rng), self.fold_in, f"seed {seed}")


def check_user_shares(test: float, validation: float | str, fold_in: float) -> None:
    """Raises ConfigError if a share of the users, or of their ratings (`fold_in`), is out of range."""
    check_shares(test=test, fold_in=fold_in)
    check_drawn(validation)
    if not isinstance(validation, str) and test + validation >= 1:
        raise ConfigError(
            "split.test and split.validation are shares of the users and must add up to less than 1. "
            f"Received: {test} and {validation}"
        )


def hold_out(
    ratings: Ratings, role: np.ndarray, order: Callable[[Ratings], np.ndarray], fold_in: float, by: str
) -> Split:
    """Builds a split that holds out whole users.

    Args:
        ratings: the data.
        role: (num_users,) the part of each user.
        order: maps n ratings to (n,) their positions, from 0, among their user's ratings; the first are the target.
        fold_in: share of a held-out user's ratings that is the history.
        by: how the users and targets are drawn, for the definition.
    """
    part = role[ratings.user]
    trained = np.bincount(ratings.item[part == TRAIN], minlength=ratings.num_items) > 0
    usable = trained[ratings.item] | (part == TRAIN)
    left = np.bincount(ratings.user[usable], minlength=ratings.num_users)
    usable &= (left[ratings.user] >= 2) | (part == TRAIN)
    kept, part = ratings.take(usable), part[usable]
    hidden = order(kept) < num_targets(kept.activity, fold_in)[kept.user]
    validation, test = (
        HeldOut(kept.take((part == code) & ~hidden), kept.take((part == code) & hidden)) for code in (VALIDATION, TEST)
    )
    users = [int(np.count_nonzero(half.target.activity)) for half in (validation, test)]
    how = held_out_in_words(users, fold_in, by, len(ratings) - len(kept))
    return checked(Split(kept.take(part == TRAIN), validation, test, how, new_users=True), MORE_DATA)


def num_targets(count: np.ndarray, fold_in: float) -> np.ndarray:
    """Returns (num_users,) int64, the number of targets among `count` ratings of held-out users."""
    return count - np.clip(_rounded(fold_in * count), 1, np.maximum(count - 1, 1))


def held_out_in_words(users: Sequence[int], fold_in: float, by: str, dropped: int) -> str:
    """Describes what is held out; `users` are the numbers of validation and test users."""
    return (
        f"{users[0]:,} users held out for validation and {users[1]:,} for test, {percent(fold_in)} of their "
        f"ratings as history, the rest as target, {by}; dropped {dropped:,} of their ratings (items without a "
        "training rating)"
    )


def _place_from_end(user: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Returns (n,) int64: 0 for a user's last rating, 1 for the one before ...; in a random order with `rng`.

    Args:
        user: (n,) the user of each rating, ascending.
    """
    count = np.bincount(user)
    place = np.repeat(np.cumsum(count), count) - 1 - np.arange(len(user))
    if rng is None:
        return place
    shuffled = np.empty_like(place)
    shuffled[np.argsort(user + rng.random(len(user)), kind="stable")] = place
    return shuffled


def need_times(ratings: Ratings, other: str) -> None:
    """Raises DataError if there are no times; `other` is the split to advise."""
    if ratings.time is None and ratings.time_kind is None:
        raise DataError(f"A split by time needs times; these data have none. Use {other}.")


def _rounded(amount: np.ndarray) -> np.ndarray:
    return np.floor(amount + 0.5).astype(np.int64)

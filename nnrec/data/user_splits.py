"""Splits that treat the ratings of each user apart, or hold out whole users; called as those in `nnrec.data.splits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnrec.data.ratings import Ratings
from nnrec.data.splits import (
    MORE_DATA,
    TEST,
    TRAIN,
    VALIDATION,
    HeldOut,
    Split,
    assemble,
    check_shares,
    checked,
    percent,
)
from nnrec.errors import ConfigError, DataError


@dataclass(frozen=True)
class LeaveOneOut:
    """One rating of every user for test and one for validation; users with fewer than three stay in training.

    Args:
        which: "random", or "last" in time (test the last, validation the one before).
    """

    which: Literal["random", "last"] = "random"

    def __post_init__(self) -> None:
        if self.which not in ("random", "last"):
            raise ConfigError(f"split.which must be random or last. Received: {self.which!r}")

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        if self.which == "last":
            _need_times(ratings, "split.which=random")
        place = _place_from_end(ratings.user, None if self.which == "last" else np.random.default_rng(seed))
        enough = np.bincount(ratings.user, minlength=ratings.num_users)[ratings.user] >= 3
        part = np.where(enough & (place == 0), TEST, np.where(enough & (place == 1), VALIDATION, TRAIN))
        how = (
            f"One random rating of every user for test and one for validation, seed {seed}"
            if self.which == "random"
            else "The last rating of every user for test, the one before for validation"
        )
        return assemble(ratings, part, how, "Users need three ratings or more.")


@dataclass(frozen=True)
class UserTimeSplit:
    """The last share of each user's ratings for test, and of the rest for validation, rounded; one is left to train."""

    test: float = 0.1
    validation: float = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        _need_times(ratings, "split=random")
        count = np.bincount(ratings.user, minlength=ratings.num_users)
        test = np.minimum(_rounded(self.test * count), np.maximum(count - 1, 0))
        rest = count - test
        validation = np.minimum(_rounded(self.validation * rest), np.maximum(rest - 1, 0))
        place = _place_from_end(ratings.user)
        part = np.where(place < test[ratings.user], TEST, TRAIN)
        part[(part == TRAIN) & (place < (test + validation)[ratings.user])] = VALIDATION
        how = f"The last {percent(self.test)} of each user's ratings for test, {percent(self.validation)} of the rest "
        return assemble(ratings, part, f"{how}(the latest) for validation")


@dataclass(frozen=True)
class HeldOutUsers:
    """Users held out whole: a share for test, another for validation; the rest are trained on.

    Of each held-out user's ratings `fold_in` (random, at least one) is the history and the rest (at least one) the
    target, as in Liang et al., Variational Autoencoders for Collaborative Filtering (2018). Their ratings of items
    without a training rating are dropped. Users with a single rating are never held out.
    """

    test: float = 0.1
    validation: float = 0.1
    fold_in: float = 0.8

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation, fold_in=self.fold_in)
        if self.test + self.validation >= 1:
            raise ConfigError(
                "split.test and split.validation are shares of the users and must add up to less than 1. "
                f"Received: {self.test} and {self.validation}"
            )

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        count = np.bincount(ratings.user, minlength=ratings.num_users)
        drawn = rng.permutation(np.flatnonzero(count >= 2))
        num_test, num_validation = (round(share * int((count > 0).sum())) for share in (self.test, self.validation))
        role = np.zeros(ratings.num_users, np.int8)
        role[drawn[:num_test]] = TEST
        role[drawn[num_test : num_test + num_validation]] = VALIDATION

        part = role[ratings.user]
        trained = np.bincount(ratings.item[part == TRAIN], minlength=ratings.num_items) > 0
        usable = trained[ratings.item] | (part == TRAIN)
        left = np.bincount(ratings.user[usable], minlength=ratings.num_users)
        usable &= (left[ratings.user] >= 2) | (part == TRAIN)
        kept, part = ratings.take(usable), part[usable]
        left = np.bincount(kept.user, minlength=ratings.num_users)
        num_target = left - np.clip(_rounded(self.fold_in * left), 1, np.maximum(left - 1, 1))
        hidden = _place_from_end(kept.user, rng) < num_target[kept.user]
        validation, test = (
            HeldOut(kept.take((part == code) & ~hidden), kept.take((part == code) & hidden))
            for code in (VALIDATION, TEST)
        )
        users = [f"{len(np.unique(half.target.user)):,}" for half in (validation, test)]
        how = (
            f"{users[0]} users held out for validation and {users[1]} for test, {percent(self.fold_in)} of their "
            f"ratings as history, the rest as target, seed {seed}; dropped {len(ratings) - len(kept):,} of their "
            "ratings (items without a training rating)"
        )
        return checked(Split(kept.take(part == TRAIN), validation, test, how, new_users=True), MORE_DATA)


def _place_from_end(user: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """(n,) int64: 0 for a user's last rating, 1 for the one before ...; a random order with `rng`.

    Args:
        user: (n,) ascending.
    """
    count = np.bincount(user)
    place = np.repeat(np.cumsum(count), count) - 1 - np.arange(len(user))
    if rng is None:
        return place
    shuffled = np.empty_like(place)
    shuffled[np.argsort(user + rng.random(len(user)), kind="stable")] = place
    return shuffled


def _need_times(ratings: Ratings, other: str) -> None:
    if ratings.time is None:
        raise DataError(f"A split by time needs times; these data have none. Use {other}.")


def _rounded(amount: np.ndarray) -> np.ndarray:
    return np.floor(amount + 0.5).astype(np.int64)

"""Splits of ratings into training, validation and test.

A splitter is a small dataclass; calling it with ratings and a seed gives a `Split`. All parts share the vocabularies of
the ratings. The same ratings and seed give the same split. A randomly drawn `validation` is a share of the ratings
outside the test part, or one of several equal parts of them, such as "2/5", for cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.ratings import Ratings
from nnrec.splits.shares import check_drawn, check_shares, first_of_last, interval, percent
from nnrec.splits.split import Split, assemble

SHARED_MOMENTS = "Too many ratings share a moment; split=user_time splits each user's."


@dataclass(frozen=True)
class RandomSplit:
    """A random share of all ratings for test, and of the rest for validation."""

    test: float = 0.1
    validation: float | str = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test)
        check_drawn(self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        part = np.zeros(len(ratings), np.int8)
        _mark(part, TEST, self.test, rng)
        _mark(part, VALIDATION, self.validation, rng)
        how = f"A random {percent(self.test)} of the ratings for test, {percent(self.validation)} of the rest for "
        return assemble(ratings, part, f"{how}validation, seed {seed}")


@dataclass(frozen=True)
class KFold:
    """One of `folds` equal random parts for test; a random share of the rest for validation.

    With the same seed, the test parts of fold = 0 ... folds - 1 are disjoint and cover all ratings.
    """

    folds: int = 5
    fold: int = 0
    validation: float | str = 0.05

    def __post_init__(self) -> None:
        check_drawn(self.validation)
        if not (_whole(self.folds) and self.folds >= 2):
            raise ConfigError(f"split.folds must be a whole number, 2 or more. Received: {self.folds!r}")
        if not (_whole(self.fold) and 0 <= self.fold < self.folds):
            raise ConfigError(f"split.fold must be one of 0 to {self.folds - 1}. Received: {self.fold!r}")

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        part = np.zeros(len(ratings), np.int8)
        part[np.array_split(rng.permutation(len(ratings)), self.folds)[self.fold]] = TEST
        _mark(part, VALIDATION, self.validation, rng)
        how = f"Fold {self.fold} of {self.folds} random ones for test, {percent(self.validation)} of the rest for "
        return assemble(ratings, part, f"{how}validation, seed {seed}")


@dataclass(frozen=True)
class PublisherFold:
    """The publisher's file `<fold>.test` beside the ratings for test; a random share of the rest for validation.

    MovieLens 100K has u1 ... u5 (five-fold), ua and ub (ten ratings per user); MovieLens 10M has r1 ... r5,
    ra and rb after its script has been run.
    """

    fold: str = "u1"
    validation: float | str = 0.05

    def __post_init__(self) -> None:
        check_drawn(self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        path = self._path(ratings)
        with path.open("rb") as file:
            double = b"::" in file.readline()
        try:
            # Split at ":", "1::6::5" has an empty field between two colons.
            table = pd.read_csv(path, sep=":" if double else "\t", header=None, usecols=[0, 2 if double else 1])
        except ValueError as error:
            raise DataError(f"{path} is not a file of ratings: {error}") from error
        user, item = ratings.users.indices(table.iloc[:, 0]), ratings.items.indices(table.iloc[:, 1])
        known = (user >= 0) & (item >= 0)
        wanted = user[known].astype(np.int64) * ratings.num_items + item[known]
        held_out = np.isin(ratings.user.astype(np.int64) * ratings.num_items + ratings.item, wanted)
        part = np.where(held_out, TEST, TRAIN).astype(np.int8)
        _mark(part, VALIDATION, self.validation, np.random.default_rng(seed))
        how = f"The publisher's {path.name} for test, {percent(self.validation)} of the rest for validation, seed "
        absent = len(table) - int(held_out.sum())
        note = f"; {absent:,} lines of {path.name} are not among the ratings" if absent else ""
        return assemble(ratings, part, f"{how}{seed}{note}", f"Is {path} of these ratings?")

    def _path(self, ratings: Ratings) -> Path:
        folder = Path(ratings.folder or "")
        names = sorted(path.stem for path in folder.glob("*.test")) if ratings.folder else []
        if not names:
            where = f" in {folder}" if ratings.folder else ""
            raise DataError(f"There are no publisher's folds (u1.test ...){where}. Use split=kfold or split=random.")
        if self.fold not in names:
            raise ConfigError(f"split.fold must be one of {', '.join(names)} in {folder}. Received: {self.fold!r}")
        return folder / f"{self.fold}.test"


@dataclass(frozen=True)
class TimeSplit:
    """The latest share of all ratings for test, and of the rest for validation: the same cut-off time for all users.

    Ratings with the same time stay in one part, so that training < validation < test in time; the sizes of the parts
    therefore differ slightly from the shares.
    """

    test: float = 0.1
    validation: float = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        self.check(ratings.time_kind)
        assert ratings.time is not None
        time = np.sort(ratings.time)
        test = int(time[first_of_last(self.test, len(time))])
        rest = time[: np.searchsorted(time, test)]
        validation = int(rest[first_of_last(self.validation, len(rest))]) if len(rest) else 0
        part = np.where(ratings.time >= test, TEST, np.where(ratings.time >= validation, VALIDATION, TRAIN))
        return assemble(ratings, part.astype(np.int8), self.how(test, validation), SHARED_MOMENTS)

    @staticmethod
    def check(time_kind: str | None) -> None:
        """Raises DataError if there are no timestamps."""
        if time_kind != "timestamp":
            found = "no times" if time_kind is None else "only the order within each user"
            other = "split=random" if time_kind is None else "split=user_time (the last ratings of each user)"
            raise DataError(
                f"A split at one moment for all users needs timestamps; these data have {found}. Use {other}."
            )

    def how(self, test: int, validation: int) -> str:
        """Describes what is held out.

        Args:
            test, validation: start times of these parts, in seconds since 1970.
        """
        shown = [pd.Timestamp(moment, unit="s").strftime("%Y-%m-%d %H:%M:%S") for moment in (test, validation)]
        return f"Ratings from {shown[0]} on (about {percent(self.test)}) for test, from {shown[1]} on for validation"


def _mark(part: np.ndarray, code: int, share: float | str, rng: np.random.Generator) -> None:
    """Moves a random share of the TRAIN entries to another part."""
    rest = np.flatnonzero(part == TRAIN)
    first, end = (round(place * len(rest)) for place in interval(share))
    part[rng.permutation(rest)[first:end]] = code


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)

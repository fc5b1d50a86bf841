"""Splits of ratings into training, validation and test.

A splitter is a small dataclass; calling it with ratings and a seed gives a `Split`. All parts share the vocabularies of
the ratings. The same ratings and seed give the same split. Where `validation` is drawn at random it is a share of what
the test part leaves, or one of several equal parts of it, such as "2/5", for cross-validation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.data.ratings import Ratings
from nnrec.errors import ConfigError, DataError

TRAIN, VALIDATION, TEST = 0, 1, 2
SHARED_MOMENTS = "Too many ratings share a moment; split=user_time splits each user's."
MORE_DATA = "Raise split.validation and split.test, or use more data."
_FOLD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Ratings to be predicted, and what may be known when they are.

    Attributes:
        history: what a model may see of the users when it scores; never overlaps `target`.
        target: what it has to predict.
    """

    history: Ratings
    target: Ratings


@dataclass(frozen=True, eq=False)
class Split:
    """Training, validation and test part.

    Attributes:
        train: what a model learns from.
        validation, test: what it is judged on. Before a refit the history of both is `train`, or the
            fold-in part of users who are held out whole.
        definition: what was held out, how, and with which seed, in a sentence.
        new_users: whether held-out users are absent from `train`.
    """

    train: Ratings
    validation: HeldOut
    test: HeldOut
    definition: str
    new_users: bool = False

    def counts(self) -> dict[str, int]:
        """How much there is of what."""
        train, target = self.train, self.test.target
        return {
            "users": train.num_users,
            "items": train.num_items,
            "training_ratings": len(train),
            "test_ratings": len(target),
        }

    def merged(self) -> Split:
        """The split of a refit: training and validation part together are the training part.

        The test history grows with it, save for users held out whole. `validation` stays what it was,
        and is now trained on.
        """
        if self.new_users:
            train = _joined(self.train, self.validation.history, self.validation.target)
            return replace(self, train=train)
        train = _joined(self.train, self.validation.target)
        return replace(self, train=train, test=HeldOut(train, self.test.target))

    def in_memory(self) -> Split:
        """The same split with all its ratings in memory."""
        from nnrec.data.stored_ratings import loaded

        train = loaded(self.train)

        def held_out(part: HeldOut) -> HeldOut:
            return replace(part, history=train) if part.history is self.train else part

        return replace(self, train=train, validation=held_out(self.validation), test=held_out(self.test))


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
    """Test is one of `folds` equal random parts; validation a random share of the others.

    With one seed the test parts of fold = 0 ... folds - 1 are disjoint and cover all ratings.
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
    """Test is the publisher's file `<fold>.test` beside the ratings; validation a random share of the rest.

    MovieLens 100K has u1 ... u5 (five-fold), ua and ub (ten ratings per user); MovieLens 10M has r1 ... r5,
    ra and rb once its script has made them.
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
            # "1::6::5" has an empty field between two colons.
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
    """The latest share of all ratings for test, and of the rest for validation: one moment for everybody.

    Ratings of the same second stay together, so that training < validation < test in time; the parts
    differ from the shares by as much.
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
        """Raises DataError where there are no timestamps."""
        if time_kind != "timestamp":
            found = "no times" if time_kind is None else "only the order within each user"
            other = "split=random" if time_kind is None else "split=user_time (the last ratings of each user)"
            raise DataError(
                f"A split at one moment for all users needs timestamps; these data have {found}. Use {other}."
            )

    def how(self, test: int, validation: int) -> str:
        """What is held out, in words.

        Args:
            test, validation: the moments at which these parts begin, in seconds since 1970.
        """
        shown = [pd.Timestamp(moment, unit="s").strftime("%Y-%m-%d %H:%M:%S") for moment in (test, validation)]
        return f"Ratings from {shown[0]} on (about {percent(self.test)}) for test, from {shown[1]} on for validation"


def first_of_last(share: float, number: int) -> int:
    """Where the last share of so many sorted entries begins; the last entry is among it."""
    return min(number - round(share * number), number - 1)


def assemble(ratings: Ratings, part: np.ndarray, how: str, advice: str = MORE_DATA) -> Split:
    """The split that `part` (n,) describes: TRAIN, VALIDATION or TEST for each rating."""
    train, validation, test = (ratings.take(part == code) for code in (TRAIN, VALIDATION, TEST))
    return checked(Split(train, HeldOut(train, validation), HeldOut(train, test), how), advice)


def checked(split: Split, advice: str) -> Split:
    """The split with its sizes in the definition; raises DataError where a part is empty."""
    parts = {"train": split.train, "validation": split.validation.target, "test": split.test.target}
    sizes = {name: len(part) for name, part in parts.items()}
    return replace(split, definition=with_sizes(split.definition, sizes, advice))


def with_sizes(how: str, sizes: Mapping[str, int], advice: str = MORE_DATA) -> str:
    """The definition of a split: what is held out, and the number of ratings in train, validation and test.

    Raises:
        DataError: a part is empty.
    """
    told = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if empty := [name for name, size in sizes.items() if not size]:
        raise DataError(f"The split leaves no ratings for {' and '.join(empty)} ({told}). {advice}")
    return f"{how} ({told} ratings)."


def _joined(first: Ratings, *others: Ratings) -> Ratings:
    """The ratings of all parts in the order of `Ratings.build`."""
    if first.stored:
        from nnrec.data.stored_ratings import joined

        return joined(first, *others)
    parts = (first, *others)
    present = [name for name in Ratings.PER_ENTRY if getattr(first, name) is not None]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in present}
    kept = {field.name: getattr(first, field.name) for field in fields(first)}
    return Ratings.build(**kept | columns)


def _mark(part: np.ndarray, code: int, share: float | str, rng: np.random.Generator) -> None:
    """Gives a random share of what is still TRAIN to another part."""
    rest = np.flatnonzero(part == TRAIN)
    first, end = (round(place * len(rest)) for place in interval(share))
    part[rng.permutation(rest)[first:end]] = code


def check_shares(**shares: float) -> None:
    """Raises ConfigError where a share of the split group is not in (0, 1)."""
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            parts = isinstance(share, str) and bool(_FOLD.fullmatch(share))
            why = " (only splits that draw it at random take one of several equal parts)" if parts else ""
            raise ConfigError(f"split.{name} must be a share above 0 and below 1. Received: {share!r}{why}")


def check_drawn(validation: float | str) -> None:
    """Raises ConfigError where split.validation is neither a share nor one of several equal parts, such as "2/5"."""
    if isinstance(validation, str) and (found := _FOLD.fullmatch(validation)):
        fold, folds = map(int, found.groups())
        if 1 <= fold <= folds >= 2:
            return
        raise ConfigError(f"split.validation must be one of the parts 1/{folds} to {folds}/{folds}, of two or more.")
    check_shares(validation=validation)  # type: ignore[arg-type]


def interval(share: float | str) -> tuple[float, float]:
    """The draws in [0, 1) that are held out: those below a share, or of "2/5" those from .2 to .4.

    The parts "1/k" to "k/k" are disjoint, of equal size, and cover everything.
    """
    if isinstance(share, str):
        fold, folds = map(int, share.split("/"))
        return (fold - 1) / folds, fold / folds
    return 0.0, share


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def percent(share: float | str) -> str:
    """A share for people: 0.05 is "5%", "2/5" is "part 2 of 5 equal ones"."""
    if isinstance(share, str):
        return "part {} of {} equal ones".format(*share.split("/"))
    return f"{100 * share:g}%"

"""The result of splitting ratings: training, validation and test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nnrec.core.errors import DataError
from nnrec.data.parts import TEST, TRAIN, VALIDATION, Parts
from nnrec.data.ratings import Ratings

MORE_DATA = "Raise split.validation and split.test, or use more data."


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out ratings, and the histories from which they are predicted.

    Attributes:
        history: the ratings of the users that a model may use when it scores; never overlaps `target`.
        target: the ratings to predict.
    """

    history: Ratings
    target: Ratings


@dataclass(frozen=True, eq=False)
class Split(Parts):
    """Training, validation and test part.

    Attributes:
        train: the training part.
        validation, test: the held-out parts. Before a refit the history of both is `train`, or, for users
            held out entirely, their fold-in part.
        definition: description of the split: what is held out, how, and with which seed.
        new_users: whether held-out users are absent from `train`.
    """

    train: Ratings
    validation: HeldOut
    test: HeldOut
    definition: str
    new_users: bool = False

    def counts(self) -> dict[str, int]:
        """Returns the sizes of the split by name."""
        train, target = self.train, self.test.target
        return {
            "users": train.num_users,
            "items": train.num_items,
            "training_ratings": len(train),
            "test_ratings": len(target),
        }

    def fingerprint(self) -> str:
        """Returns a hash of all three parts."""
        return self.train.fingerprint(self.validation.target, self.test.target)

    def merged(self) -> Split:
        """Returns the split for a refit: training and validation part together become the training part.

        The test history grows with it, except for users held out entirely. `validation` keeps its ratings, which
        are now also training ratings.
        """
        if self.new_users:
            train = self.train.joined(self.validation.history, self.validation.target)
            return replace(self, train=train)
        train = self.train.joined(self.validation.target)
        return replace(self, train=train, test=HeldOut(train, self.test.target))

    def in_memory(self) -> Split:
        """Returns the same split with all its ratings in memory."""
        train = self.train.in_memory()

        def held_out(part: HeldOut) -> HeldOut:
            return replace(part, history=train) if part.history is self.train else part

        return replace(self, train=train, validation=held_out(self.validation), test=held_out(self.test))


def assemble(ratings: Ratings, part: np.ndarray, how: str, advice: str = MORE_DATA) -> Split:
    """Builds the split from `part` (n,): TRAIN, VALIDATION or TEST for each rating."""
    train, validation, test = (ratings.take(part == code) for code in (TRAIN, VALIDATION, TEST))
    return checked(Split(train, HeldOut(train, validation), HeldOut(train, test), how), advice)


def checked(split: Split, advice: str) -> Split:
    """Returns the split with its sizes added to the definition; raises DataError if a part is empty."""
    parts = {"train": split.train, "validation": split.validation.target, "test": split.test.target}
    sizes = {name: len(part) for name, part in parts.items()}
    return replace(split, definition=with_sizes(split.definition, sizes, advice))


def with_sizes(how: str, sizes: Mapping[str, int], advice: str = MORE_DATA) -> str:
    """Returns the definition of a split: what is held out, and the number of ratings in train, validation and test.

    Raises:
        DataError: a part is empty.
    """
    told = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if empty := [name for name, size in sizes.items() if not size]:
        raise DataError(f"The split leaves no ratings for {' and '.join(empty)} ({told}). {advice}")
    return f"{how} ({told} ratings)."

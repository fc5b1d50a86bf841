"""Splits of impressions into training, validation and test rows.

A splitter is a small dataclass; calling it with impressions and a seed gives an `ImpressionSplit`. The encoder of all
three parts is fitted on the training rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.core.jit import compiled
from nnrec.data.encoding.encoder import Encoder
from nnrec.data.encoding.fields import Fields
from nnrec.data.impressions import CHUNK_ROWS, Impressions, count, slices
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.vocabulary import Vocabulary
from nnrec.splits.shares import check_drawn, check_shares, interval, percent


@dataclass(frozen=True, eq=False)
class Examples:
    """Some rows of impressions, with their encoder.

    Attributes:
        impressions: the data.
        which: (m,) row numbers, ascending.
        encoder: encoder for these impressions.
    """

    impressions: Impressions
    which: np.ndarray
    encoder: Encoder

    family = "impressions"
    user_table = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.which)

    @property
    def fields(self) -> Fields:
        return self.encoder.fields

    @property
    def sizes(self) -> dict[str, Fields]:
        """The sizes that a model for these data needs when it is built."""
        return {"fields": self.fields}

    @property
    def users(self) -> Vocabulary:
        return self.impressions.users

    @property
    def items(self) -> Vocabulary:
        return self.impressions.items

    @property
    def num_users(self) -> int:
        return self.impressions.num_users

    @property
    def num_items(self) -> int:
        return self.impressions.num_items

    @property
    def item_table(self) -> pd.DataFrame | None:
        return self.impressions.item_table

    @property
    def label(self) -> np.ndarray:
        """(m,) float32."""
        return self.impressions.label.take(self.which, axis=0)

    @property
    def user(self) -> np.ndarray | None:
        """(m,) int32, index into `users`, -1 where missing; None if the data have no column of users."""
        name = self.impressions.schema.user
        return None if name is None else self.impressions.codes_of(name, self.which)

    @property
    def item(self) -> np.ndarray | None:
        """(m,) int32, index into `items`, likewise."""
        name = self.impressions.schema.item
        return None if name is None else self.impressions.codes_of(name, self.which)

    @property
    def expected(self) -> np.ndarray | None:
        """(m,) float32, the true probability of the label 1; None if unknown."""
        return None if self.impressions.expected is None else self.impressions.expected.take(self.which, axis=0)

    @property
    def support(self) -> np.ndarray:
        """(num_items,) int64, rows per item; empty if the data have no column of items."""
        counts, name = np.zeros(self.num_items, np.int64), self.impressions.schema.item
        if name is not None:
            for places in slices(len(self), CHUNK_ROWS):
                count(self.impressions.codes_of(name, self.which[places]), counts)
        return counts

    @cached_property
    def counts(self) -> np.ndarray:
        """(num_ids,) int64, occurrences of each id of the shared table in the rows."""
        total = np.zeros(self.fields.num_ids, np.int64)
        for places in slices(len(self), CHUNK_ROWS):
            part = self.encoded(self.which[places])
            count(part["categorical"].ravel(), total)
            count(part["multi"][part["multi_share"] > 0], total)
        return total

    def encoded(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Encodes rows (`Encoder.encode`).

        Args:
            rows: (B,) row numbers of the impressions, such as some of `which`.
        """
        return self.encoder.encode(self.impressions.rows(rows))

    def shared(self, other: Examples) -> np.ndarray:
        """Returns the row numbers that are in both of two sets of rows of the same impressions."""
        mine = np.zeros(len(self.impressions), bool)
        mine[self.which] = True
        return other.which[mine[other.which]]

    def last_rows(self, role: str) -> np.ndarray:
        """Returns (num_users,) or (num_items,) int64, the last row of each user or item among these; -1 if none.

        Last by time, or without times in the order of the data.

        Args:
            role: "user" or "item".
        """
        data, name = self.impressions, getattr(self.impressions.schema, role)
        number = self.num_users if role == "user" else self.num_items
        last, latest = np.full(number, -1, np.int64), np.full(number, -np.inf)
        for places in slices(len(self), CHUNK_ROWS) if name is not None else ():
            rows = self.which[places]
            time = np.zeros(len(rows)) if data.time is None else data.time.take(rows, axis=0)
            _keep_latest(data.codes_of(name, rows), time, rows, last, latest)
        return last


@dataclass(frozen=True, eq=False)
class ImpressionSplit:
    """Training, validation and test part with a common encoder.

    Attributes:
        train: the training part; the encoder is fitted on these rows.
        validation, test: the held-out parts. They may hold values without an id, which are encoded as unknown.
        definition: description of the split: what is held out, and how.
    """

    train: Examples
    validation: Examples
    test: Examples
    definition: str

    def counts(self) -> dict[str, int]:
        """Returns the sizes of the split by name."""
        fields = self.train.fields
        return {
            "fields": len(fields.categorical) + len(fields.multi) + len(fields.numeric),
            "ids": fields.num_ids,
            "training_rows": len(self.train),
            "test_rows": len(self.test),
        }

    def merged(self) -> ImpressionSplit:
        """Returns the split for a refit: training and validation part together become the training part.

        The encoder is fitted anew on these rows. `validation` keeps its rows, which are now also training rows.
        """
        part = np.full(len(self.train.impressions), TEST, np.int8)
        part[self.train.which] = part[self.validation.which] = TRAIN
        train = fitted(self.train.impressions, _rows(part, TRAIN))
        return replace(
            self,
            train=train,
            validation=replace(self.validation, encoder=train.encoder),
            test=replace(self.test, encoder=train.encoder),
        )


@dataclass(frozen=True)
class RandomRows:
    """A random share of all rows for test, and of the rest for validation."""

    test: float = 0.1
    validation: float | str = 0.1

    family = "impressions"

    def __post_init__(self) -> None:
        check_shares(test=self.test)
        check_drawn(self.validation)

    def __call__(self, impressions: Impressions, seed: int) -> ImpressionSplit:
        drawn = _uniform(len(impressions), seed)
        part = np.full(len(drawn), TRAIN, np.int8)
        part[drawn < self.test] = TEST
        first, end = (self.test + (1 - self.test) * end for end in interval(self.validation))
        part[(drawn >= first) & (drawn < end)] = VALIDATION
        how = f"A random {percent(self.test)} of the rows for test, {percent(self.validation)} of the rest for "
        return assemble(impressions, part, f"{how}validation, seed {seed}")


@dataclass(frozen=True)
class LastRows:
    """The last share of all rows for test, and of the rest for validation; by time, or in the order of the data."""

    test: float = 0.1
    validation: float = 0.1

    family = "impressions"

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, impressions: Impressions, seed: int) -> ImpressionSplit:
        number = len(impressions)
        rest = number - round(self.test * number)
        train = rest - round(self.validation * rest)
        if impressions.time is None:
            place, order = np.arange(number), "in the order of the data"
        else:
            place, order = np.empty(number, np.int64), "by time"
            place[np.argsort(np.asarray(impressions.time), kind="stable")] = np.arange(number)
        part = (place >= train).astype(np.int8) + (place >= rest).astype(np.int8)
        how = f"The last {percent(self.test)} of the rows {order} for test, {percent(self.validation)} of the rest for "
        return assemble(impressions, part, f"{how}validation")


@dataclass(frozen=True)
class GivenRows:
    """The publisher's parts; without a validation part, a random share of the training part for validation."""

    validation: float | str = 0.1

    family = "impressions"

    def __post_init__(self) -> None:
        check_drawn(self.validation)

    def __call__(self, impressions: Impressions, seed: int) -> ImpressionSplit:
        if impressions.part is None or not (np.asarray(impressions.part) == TEST).any():
            raise DataError("These data have no test file of their own. Use split=random_rows or split=last_rows.")
        part = np.array(impressions.part)
        if (part == VALIDATION).any():
            if isinstance(self.validation, str):
                raise ConfigError(
                    f"These data have a validation file of their own: there is no split.validation={self.validation}."
                )
            return assemble(impressions, part, "The publisher's validation and test files")
        drawn, (first, end) = _uniform(len(part), seed), interval(self.validation)
        part[(part == TRAIN) & (drawn >= first) & (drawn < end)] = VALIDATION
        how = f"The publisher's test file for test, a random {percent(self.validation)} of the other rows for "
        return assemble(impressions, part, f"{how}validation, seed {seed}")


@dataclass(frozen=True)
class UsualRows:
    """`GivenRows` if the data have the publisher's parts, else `RandomRows`."""

    test: float = 0.1
    validation: float | str = 0.1

    family = "impressions"

    def __post_init__(self) -> None:
        check_shares(test=self.test)
        check_drawn(self.validation)

    def __call__(self, impressions: Impressions, seed: int) -> ImpressionSplit:
        if impressions.part is not None:
            return GivenRows(self.validation)(impressions, seed)
        return RandomRows(self.test, self.validation)(impressions, seed)


def assemble(impressions: Impressions, part: np.ndarray, how: str) -> ImpressionSplit:
    """Builds the split from the part (n,) of each row.

    Args:
        impressions: the data.
        part: (n,) TRAIN, VALIDATION or TEST.
        how: description of the split, to which the sizes are added.

    Raises:
        DataError: a part is empty.
    """
    which = [_rows(part, number) for number in (TRAIN, VALIDATION, TEST)]
    for name, rows in zip(("training", "validation", "test"), which, strict=True):
        if not len(rows):
            raise DataError(f"The {name} part is empty. Change the shares of the split, or use more data.")
    train = fitted(impressions, which[TRAIN])
    validation, test = (replace(train, which=rows) for rows in which[1:])
    sizes = ", ".join(
        f"{name} {len(rows):,}" for name, rows in zip(("train", "validation", "test"), which, strict=True)
    )
    return ImpressionSplit(train, validation, test, f"{how} ({sizes}).")


def fitted(impressions: Impressions, which: np.ndarray) -> Examples:
    """Returns rows as examples, with an encoder fitted on them."""
    return Examples(impressions, which, Encoder.fit(impressions, which, impressions.preprocessing))


@compiled
def _keep_latest(code, time, rows, last, latest):
    for place in range(len(rows)):
        if code[place] >= 0 and time[place] >= latest[code[place]]:
            last[code[place]], latest[code[place]] = rows[place], time[place]


def _rows(part: np.ndarray, number: int) -> np.ndarray:
    """Returns the row numbers of a part; int32 if they fit, to halve the memory."""
    rows = np.flatnonzero(part == number)
    return rows.astype(np.int32) if len(part) < 2**31 else rows


def _uniform(number: int, seed: int) -> np.ndarray:
    """Draws (n,) numbers in [0, 1), from another random stream than a simulator with the same seed."""
    return np.random.default_rng([seed, 1]).random(number, dtype=np.float32)

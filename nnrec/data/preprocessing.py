"""How columns become what a model takes: settings, and what numbers go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.core.errors import ConfigError

if TYPE_CHECKING:
    from nnrec.data.schema import Schema

# Of so many training values quantiles are computed, evenly spread over the rows.
SAMPLE = 2**20


@dataclass(frozen=True)
class Preprocessing:
    """How columns are to be encoded; the group `data.preprocessing`.

    Attributes:
        ignore: columns that the model does not see.
        min_count: a value that comes less often in training counts as unknown.
        hash: column -> number of ids. Instead of a vocabulary the column has so many ids, on which its values, those
            unseen in training too, are spread by a hash.
        numeric: what numeric columns go through (`NumericTransform`).
        transforms: column -> the same, where a column goes another way.
        buckets: how many quantiles the transform `buckets` makes.
        max_values: how many values of a row are kept of a multi-valued column; None = as many as a training row has.

    Raises:
        ConfigError: a number is out of range.
    """

    ignore: Sequence[str] = ()
    min_count: int = 1
    hash: Mapping[str, int] = field(default_factory=dict)
    numeric: Sequence[str] = ("standardise",)
    transforms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: int = 100
    max_values: int | None = None

    def __post_init__(self) -> None:
        least = {"min_count": (self.min_count, 1), "buckets": (self.buckets, 2), "max_values": (self.max_values, 1)}
        least |= {f"hash.{name}": (number, 1) for name, number in self.hash.items()}
        for name, (number, smallest) in least.items():
            if number is not None and (not isinstance(number, int) or number < smallest):
                raise ConfigError(
                    f"data.preprocessing.{name} must be a whole number from {smallest} on. Received: {number!r}"
                )

    def check(self, schema: Schema) -> None:
        """Makes sure that the columns it names are there.

        Raises:
            ConfigError: one is not.
        """
        for key, columns, kind in (
            ("ignore", schema.columns, ""),
            ("hash", (*schema.categorical, *schema.multi), "categorical or multi-valued "),
            ("transforms", schema.numeric, "numeric "),
        ):
            for name in getattr(self, key):
                if name not in columns:
                    raise ConfigError(
                        f"data.preprocessing.{key} names {name!r}, which is no {kind}column of these data. They have: "
                        f"{', '.join(columns) or 'none'}."
                    )


def log(values: np.ndarray) -> np.ndarray:
    """sign(x) ln(1 + |x|)."""
    return np.sign(values) * np.log1p(np.abs(values))


def log_square(values: np.ndarray) -> np.ndarray:
    """floor(ln(x)^2) where x > 2, else x: what the winners of Criteo's display advertising challenge did (2014)."""
    large = np.maximum(values, 2)
    return np.where(values > 2, np.floor(np.log(large) ** 2), values)


FIXED = {"log": log, "log_square": log_square}
FITTED = ("standardise", "categories", "buckets")


class NumericTransform:
    """Steps that a column of numbers goes through, fitted on training values alone.

        log           sign(x) ln(1 + |x|)
        log_square    floor(ln(x)^2) where x > 2, else x
        standardise   minus the mean, by the standard deviation
        categories    each distinct value becomes an id: the column becomes a categorical field
        buckets       the quantile it falls into, likewise

    Missing values count for nothing in the fit. A number that is missing becomes 0 (after `standardise`: the mean), a
    category that is missing or unseen the field's unknown id.

    Args:
        column: its name, for messages.
        steps: in this order; one of the last three may stand at the end.
        min_count: how often a training value must come to be a category.
        buckets: how many quantiles; equal ones are one.

    Raises:
        ConfigError: no such step; a step after one of the last three.
    """

    def __init__(self, column: str, steps: Sequence[str], min_count: int = 1, buckets: int = 100) -> None:
        self.column, self.steps, self.min_count, self.buckets = column, tuple(steps), min_count, buckets
        for place, step in enumerate(self.steps):
            if step not in FIXED and step not in FITTED:
                known = ", ".join((*FIXED, *FITTED))
                raise ConfigError(f"There is no transform {step!r} (column {column!r}). Known: {known}.")
            if step in FITTED and place < len(self.steps) - 1:
                raise ConfigError(f"{step} must be the last transform of a column. Received: {list(steps)} ({column})")
        self.last = self.steps[-1] if self.steps and self.steps[-1] in FITTED else None
        self.state = np.zeros(0)
        self._seen: Any = None
        self._centre: float | None = None  # of the first training values, so that large numbers keep their digits

    @property
    def categorical(self) -> bool:
        """Whether the outcome are ids."""
        return self.last in ("categories", "buckets")

    @property
    def size(self) -> int:
        """Ids of the outcome, the unknown one included."""
        return len(self.state) + (2 if self.last == "buckets" else 1)

    def observe(self, values: np.ndarray, share: float = 1.0) -> None:
        """Takes notice of training values.

        Args:
            values: (m,) numbers, NaN = missing.
            share: for quantiles this share of them is enough.
        """
        values = self._fixed(values[~np.isnan(values)].astype(np.float64))
        if self.last == "standardise":
            if self._centre is None and len(values):
                self._centre = float(values.mean())
            count, total, squares = self._seen if self._seen is not None else (0, 0.0, 0.0)
            around = values - (self._centre or 0.0)
            self._seen = (count + len(values), total + around.sum(), squares + (around**2).sum())
        elif self.last == "categories":
            found, counts = np.unique(values, return_counts=True)
            known, before = self._seen if self._seen is not None else (found[:0], counts[:0])
            merged, places = np.unique(np.concatenate([known, found]), return_inverse=True)
            self._seen = (merged, np.bincount(places, np.concatenate([before, counts]), len(merged)))
        elif self.last == "buckets":
            self._seen = [*(self._seen or []), values[:: max(1, round(1 / share))]]

    def finish(self) -> None:
        """Ends the fit."""
        if self.last == "standardise":
            count, total, squares = self._seen if self._seen is not None else (0, 0.0, 0.0)
            off = total / max(count, 1)
            spread = np.sqrt(max(squares / max(count, 1) - off**2, 0.0))
            self.state = np.array([off + (self._centre or 0.0), spread if spread > 0 else 1.0])
        elif self.last == "categories" and self._seen is not None:
            values, counts = self._seen
            self.state = values[counts >= self.min_count]
        elif self.last == "buckets" and self._seen is not None:
            values = np.concatenate(self._seen)
            cuts = np.arange(1, self.buckets) / self.buckets
            self.state = np.unique(np.quantile(values, cuts)) if len(values) else values
        self._seen = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(m,) float32 numbers, or int32 ids from 1 on, 0 = missing or unseen."""
        missing = np.isnan(values)
        values = self._fixed(np.where(missing, 0, values).astype(np.float64))
        if self.last == "categories":
            place = np.minimum(np.searchsorted(self.state, values), max(len(self.state) - 1, 0))
            known = self.state[place] == values if len(self.state) else np.zeros(len(values), bool)
            return np.where(known & ~missing, place + 1, 0).astype(np.int32)
        if self.last == "buckets":
            return np.where(missing, 0, 1 + np.searchsorted(self.state, values, side="right")).astype(np.int32)
        if self.last == "standardise":
            values = (values - self.state[0]) / self.state[1]
        return np.where(missing, 0, values).astype(np.float32)

    def _fixed(self, values: np.ndarray) -> np.ndarray:
        for step in self.steps:
            if step in FIXED:
                values = FIXED[step](values)
        return values

"""Preprocessing of impression columns: settings, and the transforms of numeric columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.core.errors import ConfigError

if TYPE_CHECKING:
    from nnrec.data.schema import Schema

# Quantiles are computed from about this many training values, evenly spread over the rows.
SAMPLE = 2**20


@dataclass(frozen=True)
class Preprocessing:
    """Settings of the encoding of columns; the group `data.preprocessing`.

    Attributes:
        ignore: columns that the model does not get.
        min_count: values that occur less often in training are treated as unknown.
        hash: column -> number of ids. Instead of a vocabulary, the column has this many ids, to which a hash maps its
            values, also those not seen in training.
        numeric: the transforms of numeric columns (`NumericTransform`).
        transforms: column -> its transforms instead of `numeric`.
        buckets: number of quantile buckets that the transform `buckets` makes.
        max_values: how many values per row a multi-valued column keeps; None = the maximum in a training row.

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
        """Checks that the named columns exist.

        Raises:
            ConfigError: one does not.
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
    """floor(ln(x)^2) where x > 2, else x; used by the winners of Criteo's display advertising challenge (2014)."""
    large = np.maximum(values, 2)
    return np.where(values > 2, np.floor(np.log(large) ** 2), values)


FIXED = {"log": log, "log_square": log_square}
FITTED = ("standardise", "categories", "buckets")


class NumericTransform:
    """The transforms of a numeric column, fitted on training values only.

        log           sign(x) ln(1 + |x|)
        log_square    floor(ln(x)^2) where x > 2, else x
        standardise   (x - mean) / standard deviation
        categories    each distinct value becomes an id: the column becomes a categorical field
        buckets       each quantile bucket becomes an id, likewise

    The fit ignores missing values. A missing number becomes 0 (after `standardise`: the mean), a missing or unseen
    category the field's unknown id.

    Args:
        column: its name, for error messages.
        steps: transforms in the order of application; each of the last three is allowed only at the end.
        min_count: minimum number of training occurrences of a value to become a category.
        buckets: number of quantile buckets; equal quantiles are merged.

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
        self._centre: float | None = None  # mean of the first training values; avoids cancellation with large numbers

    @property
    def categorical(self) -> bool:
        """Whether the results are ids."""
        return self.last in ("categories", "buckets")

    @property
    def size(self) -> int:
        """Number of ids, the unknown one included."""
        return len(self.state) + (2 if self.last == "buckets" else 1)

    def observe(self, values: np.ndarray, share: float = 1.0) -> None:
        """Adds training values to the fit.

        Args:
            values: (m,) numbers, NaN = missing.
            share: the share of the values to use for quantiles.
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
        """Returns (m,) float32 numbers, or int32 ids from 1 on, 0 = missing or unseen."""
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

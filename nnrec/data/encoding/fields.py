"""What an encoded row of impressions consists of: all that a model has to know about the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any


@dataclass(frozen=True)
class Fields:
    """The fields of an encoded row; categorical and multi-valued ones share one table of ids.

    The ids of a field are consecutive in the table, the fields one after the other: first the categorical ones, then
    the multi-valued ones. The first id of a field stands for what is missing or was not seen (often enough) in
    training.

    Attributes:
        categorical: names of the fields with one value a row.
        sizes: how many ids each of them has.
        multi: names of the fields with any number of values a row.
        multi_sizes: how many ids each of them has.
        multi_lengths: how many values of a row are kept of each of them.
        numeric: names of the fields whose values are numbers.
    """

    categorical: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    multi: tuple[str, ...] = ()
    multi_sizes: tuple[int, ...] = ()
    multi_lengths: tuple[int, ...] = ()
    numeric: tuple[str, ...] = ()

    @property
    def num_ids(self) -> int:
        """Rows of the shared table."""
        return sum(self.sizes) + sum(self.multi_sizes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first id of each categorical, then of each multi-valued field."""
        return tuple(accumulate((*self.sizes, *self.multi_sizes), initial=0))[:-1]

    @cached_property
    def multi_slices(self) -> tuple[slice, ...]:
        """Which columns of a batch's `multi` belong to each multi-valued field."""
        edges = tuple(accumulate(self.multi_lengths, initial=0))
        return tuple(map(slice, edges[:-1], edges[1:]))

    def to_dict(self) -> dict[str, list]:
        """Plain lists, for a configuration."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Fields:
        """What `to_dict` returned."""
        return cls(**{name: tuple(values) for name, values in plain.items()})

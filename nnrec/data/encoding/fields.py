"""The fields of encoded impressions: the description of the data that a model is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any


@dataclass(frozen=True)
class Fields:
    """The fields of an encoded row; categorical and multi-valued ones share one table of ids.

    The ids of a field are consecutive in the table; the categorical fields come first, then the multi-valued ones. The
    first id of a field is its unknown id: it stands for missing values and for values not seen (often enough) in
    training.

    Attributes:
        categorical: names of the fields with one value per row.
        sizes: number of ids of each of them.
        multi: names of the fields with any number of values per row.
        multi_sizes: number of ids of each of them.
        multi_lengths: number of values per row that each of them keeps.
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
        """Number of rows of the shared table."""
        return sum(self.sizes) + sum(self.multi_sizes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first id of each categorical field, then of each multi-valued field."""
        return tuple(accumulate((*self.sizes, *self.multi_sizes), initial=0))[:-1]

    @cached_property
    def multi_slices(self) -> tuple[slice, ...]:
        """The columns of a batch's `multi` that belong to each multi-valued field."""
        edges = tuple(accumulate(self.multi_lengths, initial=0))
        return tuple(map(slice, edges[:-1], edges[1:]))

    def to_dict(self) -> dict[str, list]:
        """Returns plain lists, for a configuration."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Fields:
        """Restores fields from the result of `to_dict`."""
        return cls(**{name: tuple(values) for name, values in plain.items()})

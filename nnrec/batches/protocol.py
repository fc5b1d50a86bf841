"""Interface of all batch sources: plain iterators over batches, which are dicts of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from nnrec.core.devices.collectives import in_parts

Batch = dict[str, np.ndarray]


class TrainingBatches(Protocol):
    """Training batches of a neural model; repeated calls for the same epoch yield the same batches.

    Attributes:
        num_examples: number of training examples (rows or events) per epoch.
        varying: names of the arrays whose length varies between batches; they are one-dimensional.
        axes: array name -> the axis that runs over the batch; see `nnrec.batches.device_parts.part_of`.
    """

    varying: frozenset[str]
    axes: Mapping[str, int]

    @property
    def num_examples(self) -> int: ...

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch."""

    def where(self, epoch: int, step: int) -> str:
        """Describes the content of a batch, for error messages."""


@runtime_checkable
class PooledBatches(TrainingBatches, Protocol):
    """Batches that come in pools, each of which can be made independently of the others.

    Attributes:
        num_pools: number of pools per epoch; 1 if the batches are not divided.
    """

    @property
    def num_pools(self) -> int: ...

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """Yields the batches of some pools, in ascending numbers; consume each pool before asking for the next."""


def rows_per_batch(batch_size: int | Literal["auto"], num_rows: int) -> int:
    """Returns the batch size; "auto" gives about 30 steps per epoch, of 16 to 512 rows, divisible among the devices."""
    return in_parts(int(np.clip(num_rows // 30, 16, 512))) if batch_size == "auto" else batch_size

"""What every source of batches offers: batches are dicts of NumPy arrays from plain iterators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from nnrec.core.devices.collectives import in_parts

Batch = dict[str, np.ndarray]


class TrainingBatches(Protocol):
    """What a neural model is trained on: the same batches whenever an epoch is asked for.

    Attributes:
        num_examples: rows, or events, that an epoch goes through.
        varying: the names of those arrays, flat ones, whose length is not the same in every batch.
        axes: of the arrays that run over the batch, along which axis; see `nnrec.batches.device_parts.part_of`.
    """

    varying: frozenset[str]
    axes: Mapping[str, int]

    @property
    def num_examples(self) -> int: ...

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch."""

    def where(self, epoch: int, step: int) -> str:
        """What is in a batch, in words for an error message."""


@runtime_checkable
class PooledBatches(TrainingBatches, Protocol):
    """Batches that come in pools, each of which can be made without the others.

    Attributes:
        num_pools: of an epoch; 1 where there is nothing to divide.
    """

    @property
    def num_pools(self) -> int: ...

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """The batches of some pools, whose numbers ascend; each is to be gone through before the next is asked for."""


def rows_per_batch(batch_size: int | Literal["auto"], num_rows: int) -> int:
    """The batch size; "auto" gives about 30 steps per epoch, with 16 to 512 rows each (in parts of one size)."""
    return in_parts(int(np.clip(num_rows // 30, 16, 512))) if batch_size == "auto" else batch_size

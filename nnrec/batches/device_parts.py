"""Batches cut into parts, one for each device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnrec.batches.padding import bucket, padded
from nnrec.batches.protocol import Batch


def part_of(batch: Batch, axes: Mapping[str, int], number: int, parts: int) -> Batch:
    """Returns one of several equal parts of a batch.

    Arrays named in `axes` are cut along their axis. If `row` is among them, the batch holds the entries of sparse
    rows: each entry goes to the part of its row, and the parts are padded anew. All other arrays concern the whole
    batch and stay whole.

    Args:
        batch: arrays by name, as described in the classes that make batches.
        axes: array name -> the axis that runs over the batch; 0 for the entries "row", "column", "value", "weight".
        number: number of the part, counted from 0.
        parts: number of parts; it divides the length of the axes.
    """
    if "row" in axes:
        return _rows_of(batch, axes, number, parts)
    return batch | {name: _cut(batch[name], axis, number, parts) for name, axis in axes.items() if name in batch}


ENTRIES = ("row", "column", "value", "weight")


def parts_for(batch: Batch, axes: Mapping[str, int], numbers: range, parts: int) -> list[Batch]:
    """Returns the parts with these numbers, or the whole batch if there is one part only, as on JAX."""
    return [part_of(batch, axes, number, parts) for number in numbers] if parts > 1 else [batch]


def _rows_of(batch: Batch, axes: Mapping[str, int], number: int, parts: int) -> Batch:
    per_row = {name: axis for name, axis in axes.items() if name not in ENTRIES}
    part = part_of(batch, per_row, number, parts)
    size = len(part["index"])
    start, stop = np.searchsorted(batch["row"], [number * size, (number + 1) * size])
    room = bucket(max(int(stop - start), 1))
    for name in ENTRIES:
        part[name] = padded(batch[name][start:stop], room)
    part["row"][: stop - start] -= number * size
    part["row"][stop - start :] = size - 1
    return part


def _cut(array: np.ndarray, axis: int, number: int, parts: int) -> np.ndarray:
    size = array.shape[axis] // parts
    return array[(slice(None),) * axis + (slice(number * size, (number + 1) * size),)]

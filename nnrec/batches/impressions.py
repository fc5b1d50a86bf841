"""Mini-batches of impressions, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nnrec.batches.padding import padded
from nnrec.batches.protocol import Batch
from nnrec.batches.rows import touch_chance
from nnrec.batches.shuffling import num_pools, one_ahead, shuffled
from nnrec.core.jit import compiled
from nnrec.core.keyed_random import row_keys
from nnrec.core.stored_arrays import Array, StoredArray
from nnrec.data.impressions import Rows
from nnrec.splits.impressions import Examples

# For rows stored in files: rows of a pool, which is held in memory, and rows of a block, read together.
BUFFER_ROWS = 2**20
BLOCK_ROWS = 2**13


class _Pool(NamedTuple):
    """Rows that are shuffled together.

    Attributes:
        row: (P,) row numbers, in the order of the epoch.
        place: (P,) the position of each row in `rows` and `label`.
        rows: function that returns the rows at given positions.
        label: labels by position.
    """

    row: np.ndarray
    place: np.ndarray
    rows: Callable[[np.ndarray], Rows]
    label: Array


class ImpressionBatches:
    """Batches of B impressions; all shapes but that of `unique_ids` are constant.

    With C categorical fields, N numeric fields, and L slots for the values of multi-valued fields, a batch holds
        `categorical`: (B, C) int32 ids in the table that all fields share.
        `multi`: (B, L) int32, likewise; unused slots of a field hold its unknown id.
        `multi_share`: (B, L) float32, 1 / number of the field's values in this row; 0 in unused slots.
        `numeric`: (B, N) float32.
        `label`: (B,) float32.
        `weight`: (B,) float32, 0 marks padding.
        `key`: (B,) uint32, the row's random key in this epoch.
    With `unique_ids=True` the ids are renumbered within the batch, which also holds
        `unique_ids`: (U,) int32, the distinct ids; `categorical` and `multi` are positions in it. Padding repeats the
          first. U is the same in nearly all batches.
        `unique_ids_scale`: (U,) float32, 1 / P(a batch contains this id); 0 marks padding.
          A penalty on the batch's rows of a table, multiplied by this, has the full table's penalty as expectation.

    Rows in memory are shuffled anew in every epoch. Rows in files are shuffled approximately: blocks of neighbouring
    rows come in a new random order, and `BUFFER_ROWS` rows at a time are shuffled together. Each row comes once per
    epoch. Repeated calls for the same epoch yield the same batches.

    Args:
        examples: the impressions to train on.
        batch_size: B; the last batch is padded up to it.
        seed: seed of the order and the keys.
        unique_ids: whether to renumber the ids (for row-sparse updates of large tables).
        buffer: rows that are shuffled together; None = all rows if they are in memory, `BUFFER_ROWS` if in files.
    """

    varying = frozenset(("unique_ids", "unique_ids_scale"))
    axes: Mapping[str, int] = dict.fromkeys(
        ("categorical", "multi", "multi_share", "numeric", "label", "weight", "key"), 0
    )

    def __init__(
        self, examples: Examples, batch_size: int, *, seed: int, unique_ids: bool = False, buffer: int | None = None
    ) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.stored = isinstance(examples.impressions.codes, StoredArray)
        self.buffer = buffer or (BUFFER_ROWS if self.stored else len(examples))
        self.scale: np.ndarray | None = None
        if unique_ids:
            chance = touch_chance(examples.counts, len(examples), batch_size)
            self.scale = np.divide(1, chance, out=np.zeros(len(chance)), where=chance > 0).astype(np.float32)
            # The expected number of ids in a batch, plus six standard deviations: enough for nearly all batches.
            expected, spread = chance.sum(), np.sqrt((chance * (1 - chance)).sum())
            fields = examples.fields
            columns = len(fields.categorical) + sum(fields.multi_lengths)  # also room for the unknown ids of padding
            self.room = roomy(min(int(expected + 6 * spread) + columns + 1, batch_size * columns, fields.num_ids))

    @property
    def num_examples(self) -> int:
        """Rows per epoch."""
        return len(self.examples)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.examples) // self.batch_size)

    def where(self, epoch: int, step: int) -> str:
        start = step * self.batch_size
        pool, within = divmod(start, self._pool_rows)
        at = self._shuffled(epoch, pool)[within : within + min(self.batch_size, 10)]
        rows = ", ".join(map(str, self.examples.which[at]))
        return f"rows of the data in the batch, counted from 0: {rows}, ..."

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch; the same in repeated calls."""
        for pool in self.pools(epoch, range(self.num_pools)):
            yield from pool

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """See `nnrec.batches.protocol.PooledBatches`; pools of rows in files are read one pool ahead."""
        seen = None if self.scale is None else np.full(len(self.scale), -1, np.int64)
        for number, pool in zip(numbers, one_ahead(lambda number: self._read(epoch, number), numbers), strict=True):
            yield self._made(epoch, number * self._pool_rows // self.batch_size, pool, seen)

    def _made(self, epoch: int, number: int, pool: _Pool, seen: np.ndarray | None) -> Iterator[Batch]:
        """Yields the batches of a pool; `number` is the number of the first in the epoch."""
        for start in range(0, len(pool.row), self.batch_size):
            some = slice(start, start + self.batch_size)
            batch = _padded(self.examples, pool.rows(pool.place[some]), self.batch_size)
            batch["label"] = padded(pool.label.take(pool.place[some]), self.batch_size)
            batch["key"] = padded(row_keys(self.seed, epoch, pool.row[some]), self.batch_size)
            if seen is not None:
                self._renumber(batch, seen, number + start // self.batch_size)
            yield batch

    def _read(self, epoch: int, number: int) -> _Pool:
        """Returns a pool; rows stored in files are read here."""
        at, data = self._shuffled(epoch, number), self.examples.impressions
        if not self.stored:
            row = self.examples.which[at]
            return _Pool(row, row, data.rows, data.label)
        order = np.argsort(at)
        place = np.empty(len(at), np.int64)
        place[order] = np.arange(len(at))
        ordered = at[order]
        blocks = np.split(self.examples.which[ordered], np.flatnonzero(np.diff(ordered) > 1) + 1)
        rows = Rows.joined([data.rows(block) for block in blocks])
        label = np.concatenate([data.label.take(block) for block in blocks])
        return _Pool(self.examples.which[at], place, rows.take, label)

    @property
    def _pool_rows(self) -> int:
        """Number of rows that are shuffled together: a multiple of the batch size."""
        return self.batch_size * -(-self.buffer // self.batch_size)

    @property
    def num_pools(self) -> int:
        """Number of pools per epoch, each shuffled separately."""
        return num_pools(len(self.examples), self._pool_rows)

    def _shuffled(self, epoch: int, pool: int) -> np.ndarray:
        """(P,) positions among the examples: the given pool of an epoch, in its order."""
        return shuffled(self.seed, epoch, pool, len(self.examples), self._pool_rows, BLOCK_ROWS)

    def _renumber(self, batch: Batch, seen: np.ndarray, number: int) -> None:
        assert self.scale is not None
        names = ("categorical", "multi")
        most = min(self.batch_size * sum(batch[name].shape[1] for name in names), len(seen))
        unique_ids, scale, count = np.empty(most, np.int32), np.empty(most, np.float32), 0
        for name in names:
            batch[name], count = _number(batch[name], number, seen, self.scale, unique_ids, scale, count)
        room = self.room if count <= self.room else roomy(count)
        batch["unique_ids"] = padded(unique_ids[:count], room, fill=unique_ids[0] if count else 0)
        batch["unique_ids_scale"] = padded(scale[:count], room)


def blocks(examples: Examples, rows: int) -> Iterator[Batch]:
    """Yields the examples in order, for scoring: batches as above with B = `rows`, without `label` and `key`."""
    for start in range(0, len(examples), rows):
        part = examples.impressions.rows(examples.which[start : start + rows])
        yield _padded(examples, part, rows)


def roomy(size: int) -> int:
    """Rounds a size up, by at most a sixteenth, to one of few distinct sizes."""
    step = 1 << max(size.bit_length() - 5, 0)
    return -(-size // step) * step


def _padded(examples: Examples, rows: Rows, size: int) -> Batch:
    """Encodes rows and pads them with rows of unknown ids."""
    batch, number = examples.encoder.encode(rows), len(rows.codes)
    if number < size:
        fields = examples.fields
        offsets, plain = np.array(fields.offsets, np.int32), len(fields.categorical)
        unknown = {"categorical": offsets[:plain], "multi": np.repeat(offsets[plain:], fields.multi_lengths)}
        for name, array in batch.items():
            whole = np.zeros((size, array.shape[1]), array.dtype)
            whole[:number], whole[number:] = array, unknown.get(name, 0)
            batch[name] = whole
    return batch | {"weight": padded(np.ones(number, np.float32), size)}


@compiled
def _number(ids, number, seen, every_scale, unique_ids, scale, count):
    # seen[id] packs the number of the last batch that held the id and its position there: no clearing between batches.
    result, base = np.empty(ids.shape, np.int32), number << 32
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            name = ids[row, column]
            if seen[name] < base:
                seen[name], unique_ids[count], scale[count] = base + count, name, every_scale[name]
                count += 1
            result[row, column] = seen[name] - base
    return result, count

"""Batches of impressions: NumPy in, NumPy out."""

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

# Of rows that lie in files so many are in memory, in blocks of so many neighbours.
BUFFER_ROWS = 2**20
BLOCK_ROWS = 2**13


class _Pool(NamedTuple):
    """Rows that are shuffled together.

    Attributes:
        row: (P,) row numbers, in the order in which they come.
        place: (P,) where they are among what `rows` and `label` hold.
        rows: takes some of them, by place.
        label: of them, by place.
    """

    row: np.ndarray
    place: np.ndarray
    rows: Callable[[np.ndarray], Rows]
    label: Array


class ImpressionBatches:
    """Batches of B impressions, of the same shapes always (but for `unique_ids`).

    With C categorical fields, N numeric ones, and L values kept of the multi-valued ones, a batch holds
        `categorical`: (B, C) int32 ids in the table that all fields share.
        `multi`: (B, L) int32, likewise; a field without (so many) values is filled up with its unknown id.
        `multi_share`: (B, L) float32, 1 / number of the field's values in this row; 0 where filled up.
        `numeric`: (B, N) float32.
        `label`: (B,) float32.
        `weight`: (B,) float32, 0 marks padding.
        `key`: (B,) uint32, the row's random key in this epoch.
    With `touched=True` the ids are renumbered within the batch, and it holds also
        `unique_ids`: (U,) int32, the distinct ids; `categorical` and `multi` are positions in it. Padding repeats the
          first. U is nearly always the same.
        `unique_ids_scale`: (U,) float32, 1 / P(a batch touches this id); 0 marks padding.
          A penalty on the touched rows of a table, times this, has the full table's as expectation.

    Rows in memory come in a new random order in every epoch. Of rows in files, blocks of neighbours come in a new
    order and are shuffled together, `BUFFER_ROWS` at a time. Each row comes once, and an epoch is the same every time
    it is asked for.

    Args:
        examples: what to go through.
        batch_size: B; the last batch is padded up to it.
        seed: for the order and the keys.
        touched: whether to renumber the ids (for row-sparse updates of large tables).
        buffer: how many rows are shuffled together; None = all of those in memory, `BUFFER_ROWS` of those in files.
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
            # The number of ids that a batch touches, and six standard deviations: nearly all batches find room.
            expected, spread = chance.sum(), np.sqrt((chance * (1 - chance)).sum())
            fields = examples.fields
            columns = len(fields.categorical) + sum(fields.multi_lengths)  # the unknown ids of padding among them
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
        """The batches of one epoch; the same every time it is asked for."""
        for pool in self.pools(epoch, range(self.num_pools)):
            yield from pool

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """See `nnrec.batches.protocol.PooledBatches`; of rows in files, the next of these pools is read meanwhile."""
        seen = None if self.scale is None else np.full(len(self.scale), -1, np.int64)
        for number, pool in zip(numbers, one_ahead(lambda number: self._read(epoch, number), numbers), strict=True):
            yield self._made(epoch, number * self._pool_rows // self.batch_size, pool, seen)

    def _made(self, epoch: int, number: int, pool: _Pool, seen: np.ndarray | None) -> Iterator[Batch]:
        """The batches of a pool, the first of which has this number."""
        for start in range(0, len(pool.row), self.batch_size):
            some = slice(start, start + self.batch_size)
            batch = _padded(self.examples, pool.rows(pool.place[some]), self.batch_size)
            batch["label"] = padded(pool.label.take(pool.place[some]), self.batch_size)
            batch["key"] = padded(row_keys(self.seed, epoch, pool.row[some]), self.batch_size)
            if seen is not None:
                self._renumber(batch, seen, number + start // self.batch_size)
            yield batch

    def _read(self, epoch: int, number: int) -> _Pool:
        """A pool; rows that lie in files are read now."""
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
        """How many rows are shuffled together: a multiple of the batch size."""
        return self.batch_size * -(-self.buffer // self.batch_size)

    @property
    def num_pools(self) -> int:
        """Parts of an epoch, each shuffled by itself."""
        return num_pools(len(self.examples), self._pool_rows)

    def _shuffled(self, epoch: int, pool: int) -> np.ndarray:
        """(P,) positions among the examples, the given part of an epoch in its order."""
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
    """Examples in their order, for scoring: batches as above, of so many rows, without `label` and `key`."""
    for start in range(0, len(examples), rows):
        part = examples.impressions.rows(examples.which[start : start + rows])
        yield _padded(examples, part, rows)


def roomy(size: int) -> int:
    """A size with a bit of room, of which there are few: at most a sixteenth larger."""
    step = 1 << max(size.bit_length() - 5, 0)
    return -(-size // step) * step


def _padded(examples: Examples, rows: Rows, size: int) -> Batch:
    """Encoded rows, padded with such as hold nothing known."""
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
    # Of an id, the last batch that held it and its place there share a number: nothing has to be cleared in between.
    result, base = np.empty(ids.shape, np.int32), number << 32
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            name = ids[row, column]
            if seen[name] < base:
                seen[name], unique_ids[count], scale[count] = base + count, name, every_scale[name]
                count += 1
            result[row, column] = seen[name] - base
    return result, count

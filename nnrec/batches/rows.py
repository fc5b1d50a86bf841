"""Mini-batches of sparse rows, as NumPy arrays. No batch holds a dense matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from nnrec.batches.padding import bucket, padded
from nnrec.batches.protocol import Batch
from nnrec.batches.shuffling import num_pools, one_ahead, shuffled
from nnrec.core.keyed_random import row_keys
from nnrec.data.rows import Rows

# For rows stored in files: entries of a pool, whose rows are shuffled together, and of a block of neighbouring rows.
POOL_ENTRIES = 2**22
BLOCK_ENTRIES = 2**14


def touch_chance(counts: np.ndarray, num_rows: int, batch_size: int) -> np.ndarray:
    """Returns P(a batch contains an id, in any of its rows), averaged over an epoch's batches.

    Args:
        counts: (n,) number of rows that contain each id.
        num_rows: number of all rows, which come in a random order.
        batch_size: rows of a batch; the last batch has the remaining ones.

    Returns:
        (n,) float64.
    """
    from scipy.special import gammaln

    def unique_ids(size: int) -> np.ndarray:
        # Hypergeometric: 1 - C(rows - count, size) / C(rows, size)
        rest = np.maximum(num_rows - counts, size)
        missed = gammaln(rest + 1) - gammaln(rest - size + 1) - gammaln(num_rows + 1) + gammaln(num_rows - size + 1)
        return np.where(num_rows - counts < size, 1.0, -np.expm1(missed))

    full, left = divmod(num_rows, batch_size)
    share = full * unique_ids(min(batch_size, num_rows)) + (unique_ids(left) if left else 0.0)
    return share / max(full + (left > 0), 1)


class RowBatches:
    """Batches of sparse rows, each a dict of flat arrays padded to few distinct sizes.

    A batch of B rows with E entries (padding included) holds
        `index`: (B,) int32, the row number in the matrix; -1 for padding.
        `key`: (B,) uint32, the row's random key in this epoch.
        `row`: (E,) int32, the position in the batch of each entry's row, ascending.
        `column`, `value`, `weight`: (E,) int32, float32, float32; weight 0 marks padding.
    With `unique_ids=True` the columns are renumbered within the batch, which also holds
        `unique_ids`: (U,) int32, the distinct columns; `column` holds positions in it. Padding repeats the first.
        `unique_ids_scale`: (U,) float32, 1 / P(a batch contains this column); 0 marks padding.
          A penalty on the batch's rows of a table, multiplied by this, has the full table's penalty as expectation.
    With `negatives=(N, power)` columns are drawn for each batch, which also holds
        `negative`: (N,) int32, the distinct columns drawn, as positions in `unique_ids`; padded.
        `negative_scale`: (N,) float32, times drawn / (N P(column)); 0 marks padding. A sum over the drawn
          columns, weighted by this, has the sum over all columns as expectation.

    Args:
        rows: the matrix. If its entries are stored in files, the rows are shuffled approximately
            (`nnrec.batches.shuffling`).
        batch_size: rows per batch; the last batch is padded up to it.
        which: (m,) the rows of an epoch; None = all.
        seed: seed of the order, new in every epoch, and of the row keys; None = rows in order, keys 0.
        ids: (num_rows,) ids of the rows in error messages; None = row numbers.
        unique_ids: whether to renumber the columns (for row-sparse updates of large tables).
        negatives: (N, power): draw N columns for each batch, with replacement, with probabilities proportional to
            max(number of entries of the column, 1) ** power; needs `unique_ids`.
    """

    varying = frozenset(
        ("row", "column", "value", "weight", "unique_ids", "unique_ids_scale", "negative", "negative_scale")
    )
    axes: Mapping[str, int] = dict.fromkeys(("index", "key", "row", "column", "value", "weight"), 0)

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        *,
        which: np.ndarray | None = None,
        seed: int | None = None,
        ids: np.ndarray | None = None,
        unique_ids: bool = False,
        negatives: tuple[int, float] | None = None,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.which = np.arange(len(rows)) if which is None else which
        self.seed = seed
        self.ids = np.arange(len(rows)) if ids is None else ids
        self.num_negatives = 0
        if negatives is not None:
            self.num_negatives, power = negatives
            odds = np.maximum(self._counts(), 1.0) ** power
            self.probability = odds / odds.sum()
            self._cumulative = np.cumsum(self.probability)
        self.scale = self._touched_scale() if unique_ids else None

    def _counts(self) -> np.ndarray:
        """(num_columns,) int64, number of rows that contain each column."""
        return self.rows.counts(self.which)

    def _touched_scale(self) -> np.ndarray:
        """(num_columns,) float32: 1 / P(a batch contains the column), averaged over an epoch's batches."""
        counts = self._counts()
        share = touch_chance(counts, len(self.which), self.batch_size)
        if self.num_negatives:
            share = 1 - (1 - share) * (1 - self.probability) ** self.num_negatives
        reached = (counts > 0) | (self.num_negatives > 0)
        return np.divide(1, share, out=np.zeros(len(counts)), where=reached).astype(np.float32)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.which) // self.batch_size)

    @property
    def num_examples(self) -> int:
        """Rows per epoch."""
        return len(self.which)

    def chosen(self, epoch: int, step: int) -> np.ndarray:
        """Returns the row numbers of one batch of an epoch."""
        return self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def where(self, epoch: int, step: int) -> str:
        rows = self.ids[self.chosen(epoch, step)]
        return f"rows in the batch: {', '.join(map(str, rows[:10]))}" + (", ..." if len(rows) > 10 else "")

    def order(self, epoch: int) -> np.ndarray:
        """(m,) the row numbers in the order of this epoch."""
        if self.seed is None:
            return self.which
        return np.concatenate([self._pool(epoch, number) for number in range(self.num_pools)])

    @property
    def _pool_rows(self) -> int:
        """Number of rows that are shuffled together: all if they are in memory, else a multiple of the batch size."""
        if self.seed is None or not self.rows.stored:
            return max(len(self.which), 1)
        return self.batch_size * max(int(POOL_ENTRIES / self._mean_length) // self.batch_size, 1)

    @property
    def _mean_length(self) -> float:
        return max(self.rows.offsets[-1] / max(len(self.which), 1), 1.0)

    @property
    def num_pools(self) -> int:
        """Number of pools per epoch, each shuffled separately."""
        return max(num_pools(len(self.which), self._pool_rows), 1)

    def _pool(self, epoch: int, number: int) -> np.ndarray:
        """Returns the row numbers of a pool in the order of this epoch."""
        assert self.seed is not None
        block = max(int(BLOCK_ENTRIES / self._mean_length), 1)
        return self.which[shuffled(self.seed, epoch, number, len(self.which), self._pool_rows, block)]

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch; the same in repeated calls."""
        for pool in self.pools(epoch, range(self.num_pools)):
            yield from pool

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """See `PooledBatches`; pools of rows in files are read one pool ahead."""
        read = one_ahead(lambda number: self._read(epoch, number), numbers)
        for number, (order, take) in zip(numbers, read, strict=True):
            yield self._made(epoch, number * self._pool_rows, order, take)

    def _made(self, epoch: int, done: int, order: np.ndarray, take: Callable[[slice], Rows]) -> Iterator[Batch]:
        """Yields the batches of a pool.

        Args:
            done: number of the epoch's rows before the pool.
            order, take: see `_read`.
        """
        for start in range(0, len(order), self.batch_size):
            some = slice(start, start + self.batch_size)
            chosen = order[some]
            keys = np.zeros(len(chosen), np.uint32) if self.seed is None else row_keys(self.seed, epoch, chosen)
            drawn = self._drawn(epoch, done + start) if self.num_negatives else None
            yield self._batch(take(some), chosen, keys, drawn)

    def _read(self, epoch: int, number: int) -> tuple[np.ndarray, Callable[[slice], Rows]]:
        """Returns a pool's row numbers in order and a function that slices its rows; rows in files are read here."""
        if self.seed is None or not self.rows.stored:
            order = self.order(epoch)
            return order, lambda some: self.rows.take(order[some])
        order = self._pool(epoch, number)
        ascending = np.argsort(order)
        place = np.empty(len(order), np.int64)
        place[ascending] = np.arange(len(order))
        in_files = order[ascending]
        blocks = np.split(in_files, np.flatnonzero(np.diff(in_files) > 1) + 1)
        held = Rows.joined([self.rows.take(block) for block in blocks])
        return order, lambda some: held.take(place[some])

    def _drawn(self, epoch: int, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct columns drawn for the batch that starts at this row of the epoch, and their counts."""
        rng = np.random.default_rng([self.seed or 0, epoch, start])
        wanted = np.sort(rng.random(self.num_negatives)) * self._cumulative[-1]  # sorted, for cache locality
        places = np.searchsorted(self._cumulative, wanted, side="right")
        columns, times = np.unique(np.minimum(places, len(self._cumulative) - 1), return_counts=True)
        return columns.astype(np.int32), times

    def _batch(
        self, part: Rows, chosen: np.ndarray, keys: np.ndarray, drawn: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Batch:
        size = bucket(max(len(part.ids), 1))
        weights = np.ones(len(part.ids), np.float32) if part.weights is None else part.weights
        batch = {
            "index": padded(chosen.astype(np.int32), self.batch_size, fill=-1),
            "key": padded(keys, self.batch_size),
            "row": padded(np.repeat(np.arange(len(chosen), dtype=np.int32), part.lengths), size, self.batch_size - 1),
            "column": padded(part.ids, size),
            "value": padded(part.values, size),
            "weight": padded(weights, size),
        }
        if self.scale is not None:
            ids = part.ids if drawn is None else np.concatenate([part.ids, drawn[0]])
            codes, unique_ids = pd.factorize(ids)
            room = bucket(max(len(unique_ids), 1))
            batch["column"] = padded(codes[: len(part.ids)].astype(np.int32), size)
            batch["unique_ids"] = padded(
                unique_ids.astype(np.int32), room, fill=unique_ids[0] if len(unique_ids) else 0
            )
            batch["unique_ids_scale"] = padded(self.scale[unique_ids], room)
            if drawn is not None:
                columns, times = drawn
                scale = (times / (self.num_negatives * self.probability[columns])).astype(np.float32)
                positions = codes[len(part.ids) :].astype(np.int32)
                batch["negative"] = padded(positions, self.num_negatives, fill=positions[0])
                batch["negative_scale"] = padded(scale, self.num_negatives)
        return batch

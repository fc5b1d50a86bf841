"""Mini-batches for skip-gram and CBOW: items, the items around them in their sessions, and negatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import pandas as pd

from nnrec.batches.padding import padded
from nnrec.batches.protocol import Batch
from nnrec.batches.session_pools import pools
from nnrec.core.errors import DataError
from nnrec.data.sessions import Sessions

# Events whose examples are made and shuffled together.
CHUNK_EVENTS = 2**16


class WindowBatches:
    """Batches of examples: C input items, one target and N negatives each.

    The context of an event are the events of other items in its session, at most `window` before and after it.
    Skip-gram makes one example per context event: from the event's item to the context item (C = 1). CBOW makes one
    example per event: from the context items to the event's item.

    With B examples a batch holds, in shapes that are always the same,
        `input`: (B, C) int32, positions in `unique_ids`.
        `share`: (B, C) float32, 1 / number of the example's inputs; 0 for padding.
        `output`: (B, 1 + N) int32, the target and the negatives, positions in `scored`.
        `weight`: (B,) float32, 0 marks padding.
        `unique_ids`, `scored`: (U,), (V,) int32, the distinct items of inputs and of outputs; padding repeats the
        first. `unique_ids_scale`, `scored_scale`: (U,), (V,) float32, 0 marks padding.

    Sessions come in a new random order in every epoch; for sessions in files it is approximate
    (`nnrec.batches.shuffling`). The examples of about `CHUNK_EVENTS` events at a time are shuffled together.

    Args:
        train: training sessions.
        batch_size: B.
        seed: seed of subsampling, order and negatives.
        cbow: whether to use CBOW instead of skip-gram.
        window: see above; None = the whole session.
        negatives: N, drawn with replacement.
        power: negatives are drawn with probabilities proportional to an item's number of events to this power.
        subsample: an event whose item makes up the share f of all events is dropped with probability
            1 - sqrt(subsample / f), once for the whole training; None = no event is dropped.

    Raises:
        DataError: no session has two different items.
    """

    varying: frozenset[str] = frozenset()
    axes: Mapping[str, int] = dict.fromkeys(("input", "share", "output", "weight"), 0)

    def __init__(
        self,
        train: Sessions,
        batch_size: int,
        *,
        seed: int,
        cbow: bool,
        window: int | None,
        negatives: int,
        power: float,
        subsample: float | None,
    ) -> None:
        self.batch_size, self.seed, self.cbow, self.negatives = batch_size, seed, cbow, negatives
        self.ids = train.items.ids
        odds = np.where(train.support > 0, train.support.astype(np.float64) ** power, 0)
        self._cumulative = np.cumsum(odds)
        if subsample is not None:
            share = train.support / max(len(train), 1)
            rng = np.random.default_rng(seed)
            name = f"subsampled_{seed}_{subsample:g}"
            train = train.chosen(name, lambda item: rng.random(len(item)) ** 2 * share[item] < subsample)
        self.train = train
        longest = int(train.lengths.max(initial=1)) - 1
        self.window = longest if window is None else min(window, longest)
        self.num_examples = sum(len(target) for _, target in self._chunks())
        if not self.num_examples:
            raise DataError(
                "No training session has two different items within model.window of each other (after "
                "model.subsample), so there is nothing to learn from."
            )
        self.width = 2 * self.window if cbow else 1
        self.room = tuple(min(train.num_items, batch_size * width) for width in (self.width, 1 + negatives))

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.num_examples // self.batch_size)

    def where(self, epoch: int, step: int) -> str:
        batch = next(islice(self.epoch(epoch), step, None))
        targets = self.ids[batch["scored"][batch["output"][:10, 0]]]
        return f"target items in the batch: {', '.join(map(str, targets))}, ..."

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch; the same in repeated calls."""
        rng = np.random.default_rng([self.seed, epoch, 1])
        inputs, targets = np.empty((0, self.width), np.int32), np.empty(0, np.int32)
        for more_inputs, more_targets in self._chunks((self.seed, epoch)):
            order = rng.permutation(len(more_targets))
            inputs = np.concatenate([inputs, more_inputs[order]])
            targets = np.concatenate([targets, more_targets[order]])
            whole = len(targets) - len(targets) % self.batch_size
            for start in range(0, whole, self.batch_size):
                stop = start + self.batch_size
                yield self._batch(inputs[start:stop], targets[start:stop], rng)
            inputs, targets = inputs[whole:], targets[whole:]
        if len(targets):
            yield self._batch(inputs, targets, rng)

    def _chunks(self, shuffle: tuple[int, int] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the examples of all sessions chunk by chunk: (P, C) inputs, -1 for padding, and (P,) targets.

        Args:
            shuffle: see `nnrec.batches.session_pools.pools`.
        """
        for session, item in self._clicks(shuffle):
            around = neighbours(session, item, self.window)
            if self.cbow:
                some = (around >= 0).any(axis=1)
                yield around[some], item[some]
            else:
                event, place = np.nonzero(around >= 0)
                yield item[event][:, None], around[event, place]

    def _clicks(self, shuffle: tuple[int, int] | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields session numbers and items of whole sessions, about `CHUNK_EVENTS` events at a time."""
        for pool in pools(self.train, shuffle):
            lengths = self.train.offsets[pool.which + 1] - self.train.offsets[pool.which]
            edges = np.flatnonzero(np.diff(np.cumsum(lengths) // CHUNK_EVENTS)) + 1
            for start, length in zip(np.split(pool.start, edges), np.split(lengths, edges), strict=True):
                session = np.repeat(np.arange(len(length)), length)
                yield session, pool.item[np.arange(len(session)) + (start - np.cumsum(length) + length)[session]]

    def _batch(self, inputs: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> Batch:
        missing = self.batch_size - len(targets)
        inputs = np.pad(inputs, ((0, missing), (0, 0)), constant_values=-1)
        draws = rng.random((self.batch_size, self.negatives)) * self._cumulative[-1]
        drawn = np.searchsorted(self._cumulative, draws, side="right").astype(np.int32)
        outputs = np.concatenate([padded(targets, self.batch_size, fill=targets[0])[:, None], drawn], axis=1)
        share = (inputs >= 0) / np.maximum((inputs >= 0).sum(axis=1, keepdims=True), 1)
        inputs = np.where(inputs >= 0, inputs, inputs.max())
        batch = {
            "share": share.astype(np.float32),
            "weight": padded(np.ones(len(targets), np.float32), self.batch_size),
        }
        for name, rows, items, room in zip(
            ("input", "output"), ("unique_ids", "scored"), (inputs, outputs), self.room, strict=True
        ):
            codes, distinct = pd.factorize(items.ravel())
            batch[name] = codes.astype(np.int32).reshape(items.shape)
            batch[rows] = padded(distinct.astype(np.int32), room, fill=distinct[0])
            batch[f"{rows}_scale"] = padded(np.ones(len(distinct), np.float32), room)
        return batch


def neighbours(session: np.ndarray, item: np.ndarray, window: int) -> np.ndarray:
    """Returns the items around each event.

    Args:
        session: (n,) the session of each event.
        item: (n,) the item of each event.
        window: how many events before and after each to look at.

    Returns:
        (n, 2 window) int32: the items before each event and after it, nearest first; -1 for none or the same item.
    """
    around = np.full((len(item), 2 * window), -1, np.int32)
    for distance in range(1, window + 1):
        here = np.flatnonzero((session[:-distance] == session[distance:]) & (item[:-distance] != item[distance:]))
        around[here + distance, distance - 1] = item[here]
        around[here, window + distance - 1] = item[here + distance]
    return around

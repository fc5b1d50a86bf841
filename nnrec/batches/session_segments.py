"""Mini-batches of segments of sessions: the clicks, and after each click the item to predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from nnrec.batches.padding import bucket, padded
from nnrec.batches.protocol import Batch
from nnrec.core.devices.collectives import in_parts
from nnrec.core.errors import ConfigError, DataError
from nnrec.core.keyed_random import row_keys
from nnrec.data.sessions import Sessions

LONGEST = 32  # clicks of a segment


class SegmentBatches:
    """Batches of segments: S consecutive clicks of a session, with the L - 1 clicks before them.

    Each of the S clicks is an example, whose input is the click and those before it. So every prefix of a session is
    trained on, and computations that examples share are done once. S is chosen for the lengths of the sessions.

    With N segments of S examples and D = L - 1 + S clicks, a batch holds, in shapes that are always the same,
        `input`: (N, D) int32, positions in `unique_ids`.
        `present`: (N, D) float32, 0 where there is no click: before a session's first and after its last.
        `target`: (N, S) int32, positions in `unique_ids`.
        `weight`: (N, S) float32, 0 where there is nothing to predict.
        `key`: (N, S) uint32, the click's random key in this epoch.
        `unique_ids`: (U,) int32, the distinct items, targets and negatives first; padding repeats the first.
        `unique_ids_scale`: (U,) float32, 0 marks padding.
        `scored`: (U,) float32, 1 for targets and negatives.
        `touched_key`: (U,) uint32, the item's random key in this batch.
        `aimed`, `drawn`, `support`: (U,) float32, how often the item is a target, how often it is drawn as a
          negative, and its number of training events.

    Segments come in a new random order in every epoch.

    Args:
        train: training sessions.
        batch_size: maximum number of examples, N S.
        seed: seed of the order, negatives and keys.
        clicks: L.
        n_sample: negatives drawn for each batch, with replacement.
        sample_alpha: negatives are drawn with probabilities proportional to support ** sample_alpha.
        event: the kind of event to predict: the target of a click is the item of the session's next event of this
            kind; None = the next event of any kind.
        prefixes: whether every click is an example; otherwise only the last click of each session that has a target.

    Raises:
        DataError: no click has a target.
        ConfigError: the data have no such kind of event.
    """

    varying: frozenset[str] = frozenset()
    axes: Mapping[str, int] = dict.fromkeys(("input", "present", "target", "weight", "key"), 0)

    def __init__(
        self,
        train: Sessions,
        batch_size: int,
        *,
        seed: int,
        clicks: int,
        n_sample: int,
        sample_alpha: float,
        event: str | None = None,
        prefixes: bool = True,
    ) -> None:
        self.train, self.seed, self.clicks = train, seed, clicks
        self.aim = aims(train, event)
        last = np.maximum.reduceat(np.where(self.aim >= 0, np.arange(len(train)), -1), train.offsets[:-1])
        some = np.flatnonzero(last >= 0)
        if not len(some):
            what = "has two events" if event is None else f"has an event of the kind {event!r} after another event"
            raise DataError(f"No training session {what}, so there is nothing to learn from.")
        if not prefixes:
            only = np.zeros(len(train), bool)
            only[last[some]] = True
            self.aim = np.where(only, self.aim, -1)
        self.num_examples = int((self.aim >= 0).sum())
        begin = train.offsets[some] if prefixes else last[some]
        length = last[some] - begin + 1
        self.size = segment_size(length, clicks)
        parts = -(-length // self.size)
        part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        self.session = np.repeat(some, parts)
        self.start = np.repeat(begin, parts) + part * self.size
        self.stop = np.minimum(self.start + self.size, np.repeat(begin + length, parts))
        self.rows = in_parts(min(max(batch_size // self.size, 1), len(self.start)))
        odds = np.where(train.support > 0, np.maximum(train.support, 1.0) ** sample_alpha, 0.0)
        self._cumulative, self.n_sample = np.cumsum(odds / odds.sum()), n_sample
        # The expected number of distinct negatives, plus six standard deviations.
        expected = float(-np.expm1(n_sample * np.log1p(-np.minimum(odds / odds.sum(), 1 - 1e-12))).sum())
        self.most_drawn = min(n_sample, int(expected + 6 * expected**0.5) + 1)
        ahead = 1 if event is None else self.size
        self.room = in_parts(min(self.most_drawn + self.rows * (clicks - 1 + self.size + ahead), train.num_items))

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.start) // self.rows)

    def _chosen(self, epoch: int, step: int) -> np.ndarray:
        """Returns the numbers of the segments in a batch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.start))
        return order[step * self.rows : (step + 1) * self.rows]

    def where(self, epoch: int, step: int) -> str:
        """Names the sessions of a batch, for error messages."""
        ids = self.train.ids.ids[np.unique(self.session[self._chosen(epoch, step)])]
        return f"sessions in the batch: {', '.join(map(str, ids[:10]))}" + (", ..." if len(ids) > 10 else "")

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch; the same in repeated calls."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.start))
        for step in range(len(self)):
            yield self._batch(order[step * self.rows : (step + 1) * self.rows], epoch, step)

    def _batch(self, chosen: np.ndarray, epoch: int, step: int) -> Batch:
        items = self.train.item
        start, stop = (padded(array[chosen], self.rows) for array in (self.start, self.stop))
        place = start[:, None] + np.arange(1 - self.clicks, self.size)
        first = padded(self.train.offsets[self.session[chosen]], self.rows)
        present = (place >= first[:, None]) & (place < stop[:, None])
        place = np.where(present, place, 0)
        aim = np.where(present, self.aim[place], -1)[:, self.clicks - 1 :]
        real = aim >= 0
        negatives = self._negatives(epoch, step)
        targets, inputs = items[aim[real]], items[place[present]]
        codes, unique_ids = pd.factorize(np.concatenate([targets, negatives, inputs]))
        codes = codes.astype(np.int32)
        target, input_ = np.zeros(aim.shape, np.int32), np.zeros(place.shape, np.int32)
        target[real], input_[present] = codes[: len(targets)], codes[len(codes) - len(inputs) :]
        drawn = codes[len(targets) : len(targets) + len(negatives)]
        scored = codes[: len(targets) + len(negatives)].max() + 1
        counts = [np.bincount(part, minlength=self.room) for part in (codes[: len(targets)], drawn)]
        filled = padded(unique_ids.astype(np.int32), self.room, fill=unique_ids[0])
        number = row_keys(self.seed, epoch, np.array([step]))[0]
        return {
            "input": input_,
            "present": present.astype(np.float32),
            "target": target,
            "weight": real.astype(np.float32),
            "key": row_keys(self.seed, epoch, place[:, self.clicks - 1 :]),
            "unique_ids": filled,
            "unique_ids_scale": padded(np.ones(len(unique_ids), np.float32), self.room),
            "scored": (np.arange(self.room) < scored).astype(np.float32),
            "touched_key": row_keys(int(number), epoch, filled),
            "aimed": counts[0].astype(np.float32),
            "drawn": counts[1].astype(np.float32),
            "support": self.train.support[filled].astype(np.float32),
        }

    def _negatives(self, epoch: int, step: int) -> np.ndarray:
        """Draws the negatives of a batch; distinct items beyond `most_drawn` are dropped."""
        uniform = np.random.default_rng([self.seed, epoch, step]).random(self.n_sample) * self._cumulative[-1]
        drawn = np.searchsorted(self._cumulative, uniform, side="right")
        codes, _ = pd.factorize(drawn)
        return drawn[codes < self.most_drawn].astype(np.int32)


def aims(sessions: Sessions, event: str | None = None) -> np.ndarray:
    """(n,) int64, the event to predict after each event: the session's next, or the next of a kind; -1 = none.

    Raises:
        ConfigError: the data have no such kind of event.
    """
    places = np.flatnonzero(of_kind(sessions, event))
    following = np.searchsorted(places, np.arange(len(sessions)), side="right")
    aim = np.append(places, len(sessions))[following]
    return np.where(aim < sessions.offsets[1:][sessions.session], aim, -1)


def of_kind(sessions: Sessions, event: str | None) -> np.ndarray:
    """(n,) boolean, whether each event is of a kind; None = all are.

    Raises:
        ConfigError: the data have no such kind of event.
    """
    if event is None:
        return np.ones(len(sessions), bool)
    if sessions.event is None or event not in sessions.event_names:
        there = ", ".join(sessions.event_names) or "no kinds of events"
        raise ConfigError(f"evaluation.event: the data have no events of the kind {event!r}. There: {there}.")
    return sessions.event == sessions.event_names.index(event)


def segment_size(lengths: np.ndarray, clicks: int) -> int:
    """Returns the S that minimises the total size of all segments, padding and context included."""
    sizes = sorted({bucket(size) for size in range(1, LONGEST + 1)})
    return min(sizes, key=lambda size: int((-(-lengths // size)).sum()) * (size + clicks - 1))

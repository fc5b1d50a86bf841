"""Session-parallel mini-batches: a schedule of which event is in which slot at which step, one host call at a time.

A batch has B slots. Each slot reads one session, one event per step: the input is the event's item, the target is the
next event's item. When a session ends, its slot takes the next session from the queue in the following step, with the
state reset to zero; if several slots are free, the first slot takes first. When the queue is empty, slots without a
session are masked until the last session ends. Every pair of consecutive events is thus trained on once per epoch
(Hidasi, Karatzoglou, Baltrunas, Tikk, ICLR 2016, section 3.1.1). A session of n events takes n - 1 steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.batches.session_parallel_loops import count_time_steps, draw, fill, number_items
from nnrec.batches.session_pools import orders
from nnrec.core.errors import DataError
from nnrec.core.keyed_random import row_keys
from nnrec.data.sessions import Sessions

CALL_EVENTS = 16_384  # approximate events per host call
POOL_EVENTS = 2**20  # events that are read together, at most (unless one host call has more)


class Slots:
    """B slots and the queue of sessions that they read.

    Args:
        slots: B.
        offsets: (num_sessions + 1,) position of each session's first event among all events.
    """

    def __init__(self, slots: int, offsets: np.ndarray) -> None:
        self.offsets = offsets
        # For each slot: its next event, and how many events it has still to read.
        self._place, self._left = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        # The same for the sessions in the queue, in order.
        self._queue = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def add(self, which: np.ndarray) -> None:
        """Appends sessions to the queue."""
        first = self.offsets[which]
        pairs = self.offsets[which + 1] - first - 1
        some = pairs > 0
        starts, left = self._queue
        self._queue = (np.concatenate([starts, first[some]]), np.concatenate([left, pairs[some]]))

    def read(self, events: np.ndarray, reset: np.ndarray, row: int, last: bool) -> int:
        """Fills in time steps until the arrays are full or sessions run out; returns the first step not filled.

        Args:
            events: (time steps, B) int64, initially -1; receives positions of events.
            reset: (time steps, B) float32, initially 0; set to 1 at the first event of a session.
            row: the first time step to fill.
            last: whether the queue holds the last sessions. If not, filling stops before the first step in which a
                slot would find no session.
        """
        row, taken = fill(events, reset, row, last, self._place, self._left, *self._queue)
        self._queue = (self._queue[0][taken:], self._queue[1][taken:])
        return row


class Call(NamedTuple):
    """The schedule of one host call.

    Attributes:
        time_steps: how many of the K L time steps are filled.
        events, reset: (K L, B), see `Slots.read`.
    """

    time_steps: int
    events: np.ndarray
    reset: np.ndarray


class SessionParallelBatches:
    """Session-parallel batches; each batch holds the training steps of one host call.

    With K steps per call, L time steps per step (1, or more for truncated back-propagation through time), B slots and
    room for U distinct items, a call holds

        `steps`: () int32, how many of the K steps to run: fewer in the last call.
        `input`, `target`: (K, L, B) int32, positions in `unique_ids` (inputs: in `looked_up`, if present).
        `reset`: (K, L, B) float32, 1 where the slot's state is zeroed before this event.
        `weight`: (K, L, B) float32, 0 where a slot has no session.
        `key`: (K, L, B) uint32, the event's random key in this epoch.
        `unique_ids`: (K, U) int32, the distinct items of the step; padding repeats the first.
        `unique_ids_scale`: (K, U) float32, 0 marks padding.
        `scored`: (K, U) float32, 1 for targets and negatives of the step, which come first in `unique_ids`; 0 for
          items that are inputs only.
        `aimed`: (K, L, U) float32, how often an item is a target at this time step.
        `drawn`: (K, U) float32, how often it is drawn as a negative; negatives are shared by all slots of the step.
        `support`: (K, U) float32, its number of training events.
    With `separate_inputs` the input items are listed separately, in
        `looked_up`, `looked_up_scale`: (K, L * B), like `unique_ids` and `unique_ids_scale`.

    Shapes are the same in every call. Negatives are drawn with replacement, with probabilities proportional to
    support ** sample_alpha over the items that occur in training. As in the authors' code, targets are not removed
    from the negatives.

    Args:
        train: training sessions; they are read in their order in the data, by start time, unless `random_order`.
        batch_size: B.
        seed: seed of negatives, keys and the random order.
        n_sample: negatives per step.
        sample_alpha: see above.
        time_steps: L.
        random_order: read the sessions in a new random order in every epoch; for sessions in files it is approximate
            (`nnrec.batches.shuffling`).
        separate_inputs: see above.
        steps_per_call: K; None = as many as hold about `CALL_EVENTS` events, at least 16.

    Raises:
        DataError: no session has two events.
    """

    varying: frozenset[str] = frozenset()
    axes: Mapping[str, int] = dict.fromkeys(("input", "target", "reset", "weight", "key"), 2)

    def __init__(
        self,
        train: Sessions,
        batch_size: int,
        *,
        seed: int = 0,
        n_sample: int = 0,
        sample_alpha: float = 0.0,
        time_steps: int = 1,
        random_order: bool = False,
        separate_inputs: bool = False,
        steps_per_call: int | None = None,
    ) -> None:
        self.train, self.batch_size, self.seed, self.time_steps = train, batch_size, seed, time_steps
        self.n_sample, self.random_order, self.separate_inputs = n_sample, random_order, separate_inputs
        pairs = train.lengths - 1
        self.num_examples = int(pairs.sum())
        if not self.num_examples:
            raise DataError("No training session has two events, so there is no next event to learn from.")
        self.support = train.support.astype(np.float32)
        odds = np.where(train.support > 0, np.maximum(train.support, 1.0) ** sample_alpha, 0.0)
        self.probability = odds / odds.sum()
        # The search for a drawn item starts at its guide cell; on average a cell holds one item.
        self._cumulative = np.cumsum(self.probability)
        self._cumulative[np.flatnonzero(odds)[-1] :] = 1.0
        self._guide = np.searchsorted(self._cumulative, np.arange(train.num_items) / train.num_items, side="right")
        if random_order:
            # An upper bound for every order: all slots are busy until the queue is empty.
            self.steps = (self.num_examples // batch_size + int(pairs.max()) + time_steps) // time_steps
        else:
            self.steps = -(-count_time_steps(pairs, batch_size) // time_steps)
        ideal = max(-(-CALL_EVENTS // (batch_size * time_steps)), 16)
        self.steps_per_call = min(steps_per_call or ideal, self.steps)
        self.room = self._room()

    def _room(self) -> int:
        """Returns U: the room for a step's distinct inputs, targets and negatives.

        For negatives it is the expected number of distinct ones plus six standard deviations. If a step draws more,
        the last ones are dropped.
        """
        expected = float(-np.expm1(self.n_sample * np.log1p(-np.minimum(self.probability, 1 - 1e-12))).sum())
        drawn = min(self.n_sample, int(expected + 6 * expected**0.5) + 1)
        read = self.time_steps * self.batch_size
        return min(drawn + read * (1 if self.separate_inputs else 2), self.train.num_items)

    def __len__(self) -> int:
        """Host calls per epoch."""
        return -(-self.steps // self.steps_per_call)

    def plan(self, epoch: int) -> Iterator[Call]:
        """Yields the schedule of each host call of an epoch."""
        slots = Slots(self.batch_size, self.train.offsets)
        waiting = orders(self.train, (self.seed, epoch) if self.random_order else None)
        following: np.ndarray | None = next(waiting)
        shape = (self.steps_per_call * self.time_steps, self.batch_size)
        for _ in range(len(self)):
            events, reset = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
            row = slots.read(events, reset, 0, following is None)
            while row < len(events) and following is not None:
                slots.add(following)
                following = next(waiting, None)
                row = slots.read(events, reset, row, following is None)
            yield Call(row, events, reset)

    def where(self, epoch: int, call: int) -> str:
        """Names the sessions of a host call, for error messages."""
        events = next(islice(self.plan(epoch), call, None)).events
        sessions = np.unique(np.searchsorted(self.train.offsets, events[events >= 0], side="right")) - 1
        ids = self.train.ids.take(sessions[:10]).ids
        return f"sessions in the batch: {', '.join(map(str, ids))}" + (", ..." if len(sessions) > 10 else "")

    def negatives(self, epoch: int, step: int) -> np.ndarray:
        """(n_sample,) int32, the items drawn for a step."""
        uniform = np.random.default_rng([self.seed, epoch, step]).random(self.n_sample)
        return draw(uniform, self._cumulative, self._guide)

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yields the host calls of one epoch; the same in repeated calls."""
        for pool in self.pools(epoch, range(self.num_pools)):
            yield from pool

    @property
    def num_pools(self) -> int:
        """Number of pools per epoch; the events of a pool are read together."""
        return -(-len(self) // self._calls_per_pool)

    @property
    def _calls_per_pool(self) -> int:
        return max(POOL_EVENTS // (self.steps_per_call * self.time_steps * self.batch_size), 1)

    def pools(self, epoch: int, numbers: Sequence[int]) -> Iterator[Iterator[Batch]]:
        """See `nnrec.batches.protocol.PooledBatches`; the whole epoch is scheduled whatever the numbers are."""
        plan = self.plan(epoch)
        for number in range(self.num_pools):
            calls = list(islice(plan, self._calls_per_pool))
            if number in numbers:
                yield self._made(epoch, number * self._calls_per_pool, calls)

    def _made(self, epoch: int, first: int, calls: list[Call]) -> Iterator[Batch]:
        """Yields the batches of some calls; `first` is the number of the first."""
        shape = (self.steps_per_call, self.time_steps, self.batch_size)
        every = self._items(np.stack([call.events for call in calls]))
        for number, (time_steps, events, reset) in enumerate(calls):
            steps, start = -(-time_steps // self.time_steps), (first + number) * self.steps_per_call
            drawn = [self.negatives(epoch, step) for step in range(start, start + steps)]
            negatives = np.stack(drawn) if drawn else np.zeros((0, self.n_sample), np.int32)
            inputs, targets = every[:, number].reshape(2, *shape)
            numbered = number_items(inputs, targets, negatives, self.train.num_items, self.room, self.separate_inputs)
            yield numbered | {
                "steps": np.array(steps, np.int32),
                "reset": reset.reshape(shape),
                "weight": (events >= 0).astype(np.float32).reshape(shape),
                "key": row_keys(self.seed, epoch, np.maximum(events, 0)).reshape(shape),
                "support": self.support[numbered["unique_ids"]],
            }

    def _items(self, events: np.ndarray) -> np.ndarray:
        """(2, ...) int32, the items of some events and of the events after them; -1 where there is no event."""
        real = events >= 0
        items = np.full((2, *events.shape), -1, np.int32)
        for ahead in (0, 1):
            items[ahead][real] = self.train.item.take(events[real] + ahead)
        return items

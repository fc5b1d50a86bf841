"""Session-parallel mini-batches, planned as arrays: which event sits in which slot at which step.

A batch has B slots, each reading one session, an event per step: the event's item goes in, the next event's item is the
target. A slot whose session is over takes the next session of the queue in the following step, its state zeroed before
it; of several, the first slot takes first. When the queue is empty, slots without a session stay masked until the last
session is over: every pair of neighbouring events is learnt from once per epoch (Hidasi, Karatzoglou, Baltrunas,
Tikk, ICLR 2016, section 3.1.1).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

import numpy as np

from nnrec.batches import Batch
from nnrec.data.sessions import Sessions
from nnrec.errors import DataError
from nnrec.randomness import row_keys

CALL_EVENTS = 16_384  # events per host call, about


def schedule(offsets: np.ndarray, slots: int, order: np.ndarray | None = None) -> np.ndarray:
    """Which event is read in which slot at which step.

    Args:
        offsets: (num_sessions + 1,) where each session starts among the events.
        slots: B.
        order: the sessions in the order of the queue; None = as they are.

    Returns:
        (steps, B) int32 events, -1 where the slot has none. The target of event e is event e + 1; a session of n events
        takes n - 1 steps, one of a single event none.
    """
    order = np.arange(len(offsets) - 1) if order is None else order
    pairs = np.diff(offsets)[order] - 1
    order, pairs = order[pairs > 0], pairs[pairs > 0]
    free = list(range(slots))  # step * slots + slot, a heap: which slot is free next, and when
    starts = np.empty(len(order), np.int64)
    for number, length in enumerate((pairs * slots).tolist()):
        starts[number] = place = free[0]
        heapq.heapreplace(free, place + length)
    steps = -(-int((starts + pairs * slots - starts % slots).max(initial=0)) // slots)
    table = np.full(steps * slots, -1, np.int32)
    total = int(pairs.sum())
    nth = np.arange(total) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    table[np.repeat(starts, pairs) + nth * slots] = np.repeat(offsets[order], pairs) + nth
    return table.reshape(steps, slots)


class SessionParallelBatches:
    """The planned steps of an epoch, many of them in each host call.

    With K steps per call, L moments per step (1, or more for truncated back-propagation through time), B slots and U
    rows a call holds

        `steps`: () int32, how many of the K steps are to be made: fewer in the last call.
        `input`, `target`: (K, L, B) int32, positions in `touched` (inputs: in `looked_up`, where that is there).
        `begins`: (K, L, B) float32, 1 where the slot's state is zeroed before this event.
        `weight`: (K, L, B) float32, 0 where a slot has run out of sessions.
        `key`: (K, L, B) uint32, the event's random key in this epoch.
        `touched`: (K, U) int32, the distinct items of the step; padding repeats the first.
        `touched_scale`: (K, U) float32, 0 marks padding.
        `scored`: (K, U) float32, 1 for items that are targets or negatives of the step, which are the first in
          `touched`: not for those that are only read.
        `aimed`: (K, L, U) float32, how often an item is a target at this moment.
        `drawn`: (K, U) float32, how often it was drawn as a negative for all slots of this step.
        `support`: (K, U) float32, its number of training events.
    and with `separate_inputs` the items that are read stand apart, in
        `looked_up`, `looked_up_scale`: (K, L * B), like `touched`.

    Shapes are the same in every call. Negatives are drawn with replacement, with probabilities proportional to
    support ** sample_alpha over the items that occur; neither the targets nor anything else is taken out, as the
    authors have it.

    Args:
        train: what to learn from; sessions are read in this order, which is that of their start.
        batch_size: B.
        seed: for negatives, keys and the random order.
        n_sample: negatives per step.
        sample_alpha: see above.
        moments: L.
        random_order: read the sessions in an order of its own in every epoch.
        separate_inputs: see above.
        steps_per_call: K; None = as many as make a call worth while.

    Raises:
        DataError: no session has two events.
    """

    varying: frozenset[str] = frozenset()
    axes: Mapping[str, int] = dict.fromkeys(("input", "target", "begins", "weight", "key"), 2)

    def __init__(
        self,
        train: Sessions,
        batch_size: int,
        *,
        seed: int = 0,
        n_sample: int = 0,
        sample_alpha: float = 0.0,
        moments: int = 1,
        random_order: bool = False,
        separate_inputs: bool = False,
        steps_per_call: int | None = None,
    ) -> None:
        self.train, self.batch_size, self.seed, self.moments = train, batch_size, seed, moments
        self.n_sample, self.random_order, self.separate_inputs = n_sample, random_order, separate_inputs
        pairs = train.lengths - 1
        self.num_examples = int(pairs.sum())
        if not self.num_examples:
            raise DataError("No training session has two events, so there is no next event to learn from.")
        self.begins = np.zeros(len(train), np.float32)
        self.begins[train.offsets[:-1]] = 1
        self.support = train.support.astype(np.float32)
        odds = np.where(train.support > 0, np.maximum(train.support, 1.0) ** sample_alpha, 0.0)
        self.probability = odds / odds.sum()
        # Draws start their search here: on average there is one item to a cell.
        self._cumulative = np.cumsum(self.probability)
        self._cumulative[np.flatnonzero(odds)[-1] :] = 1.0
        self._guide = np.searchsorted(self._cumulative, np.arange(train.num_items) / train.num_items, side="right")
        self._fixed = None if random_order else self._padded(schedule(train.offsets, batch_size))
        # No schedule takes more steps than this: all slots are busy until the queue is empty.
        steps = self.num_examples // batch_size + int(pairs.max()) + moments
        self.steps = steps // moments if self._fixed is None else len(self._fixed)
        ideal = max(-(-CALL_EVENTS // (batch_size * moments)), 16)
        self.steps_per_call = min(steps_per_call or ideal, self.steps)
        self.room = self._room()

    def _padded(self, events: np.ndarray) -> np.ndarray:
        """(steps, L, B) from (moments, B)."""
        missing = -len(events) % self.moments
        filled = np.pad(events, ((0, missing), (0, 0)), constant_values=-1)
        return filled.reshape(-1, self.moments, self.batch_size)

    def _room(self) -> int:
        """Distinct items that a step has room for: those it reads, its targets, and negatives.

        For negatives there is room for as many as are distinct on average, and six standard deviations more. Should a
        step ever draw more, it does without the last ones.
        """
        expected = float(-np.expm1(self.n_sample * np.log1p(-np.minimum(self.probability, 1 - 1e-12))).sum())
        drawn = min(self.n_sample, int(expected + 6 * expected**0.5) + 1)
        read = self.moments * self.batch_size
        return min(drawn + read * (1 if self.separate_inputs else 2), self.train.num_items)

    def __len__(self) -> int:
        """Host calls per epoch."""
        return -(-self.steps // self.steps_per_call)

    def events(self, epoch: int) -> np.ndarray:
        """(steps, L, B) int32, the schedule of an epoch."""
        if self._fixed is not None:
            return self._fixed
        order = np.random.default_rng([self.seed, epoch]).permutation(self.train.num_sessions)
        return self._padded(schedule(self.train.offsets, self.batch_size, order))

    def where(self, epoch: int, call: int) -> str:
        """Which sessions a host call reads, for messages."""
        events = self.events(epoch)[call * self.steps_per_call : (call + 1) * self.steps_per_call]
        sessions = np.unique(self.train.session[events[events >= 0]])
        shown = ", ".join(map(str, self.train.ids.ids[sessions[:10]])) + (", ..." if len(sessions) > 10 else "")
        return f"sessions in the batch: {shown}"

    def negatives(self, epoch: int, step: int) -> np.ndarray:
        """(n_sample,) int32, the items drawn for a step."""
        from nnrec.session_steps import draw

        uniform = np.random.default_rng([self.seed, epoch, step]).random(self.n_sample)
        return draw(uniform, self._cumulative, self._guide)

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """The host calls of one epoch; the same every time it is asked for."""
        schedule, size = self.events(epoch), self.steps_per_call
        for start in range(0, len(self) * size, size):
            yield self._call(schedule[start : start + size], epoch, start)

    def _call(self, events: np.ndarray, epoch: int, start: int) -> Batch:
        from nnrec.session_steps import number_items

        steps = len(events)
        events = np.pad(events, ((0, self.steps_per_call - steps), (0, 0), (0, 0)), constant_values=-1)
        real, known = events >= 0, np.maximum(events, 0)
        items = self.train.item
        drawn = [self.negatives(epoch, step) for step in range(start, start + steps)]
        negatives = np.stack(drawn) if drawn else np.zeros((0, self.n_sample), np.int32)
        inputs, targets = (np.where(real, items[known + ahead], -1) for ahead in (0, 1))
        numbered = number_items(inputs, targets, negatives, self.train.num_items, self.room, self.separate_inputs)
        touched = numbered["touched"]
        return numbered | {
            "steps": np.array(steps, np.int32),
            "begins": self.begins[known] * real,
            "weight": real.astype(np.float32),
            "key": row_keys(self.seed, epoch, known),
            "support": self.support[touched],
        }

"""Compiled loops of the session-parallel schedule; see `nnrec.batches.session_parallel`."""

from __future__ import annotations

import numpy as np

from nnrec.core.jit import compiled


def count_time_steps(pairs: np.ndarray, slots: int) -> int:
    """Returns the number of time steps until all sessions are read; `pairs` (n,) are their event counts minus 1."""
    return _count(pairs[pairs > 0], slots)


@compiled
def _count(pairs, slots):
    left = np.zeros(slots, np.int64)
    time_steps, following, busy = 0, 0, 1
    while busy:
        busy = 0
        for slot in range(slots):
            if left[slot] == 0 and following < len(pairs):
                left[slot] = pairs[following]
                following += 1
            if left[slot]:
                left[slot] -= 1
                busy += 1
        time_steps += busy > 0
    return time_steps


@compiled
def fill(events, reset, row, last, place, left, starts, pairs):
    """The loop of `nnrec.batches.session_parallel.Slots.read`.

    Returns:
        The first time step not filled, and the number of sessions taken from the queue.
    """
    slots, following = len(left), 0
    while row < len(events):
        free = 0
        for slot in range(slots):
            free += left[slot] == 0
        waiting = len(starts) - following
        if (free > waiting and not last) or (free == slots and waiting == 0):
            break
        for slot in range(slots):
            if left[slot] == 0:
                if following == len(starts):
                    continue
                place[slot], left[slot] = starts[following], pairs[following]
                reset[row, slot] = 1
                following += 1
            events[row, slot] = place[slot]
            place[slot] += 1
            left[slot] -= 1
        row += 1
    return row, following


def draw(uniform: np.ndarray, cumulative: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Draws indices with given probabilities.

    Args:
        uniform: (N,) random numbers in [0, 1).
        cumulative: (n,) cumulative probabilities; 1 from the last index with positive probability on.
        guide: (n,) the first index whose cumulative probability exceeds each of 0, 1/n, 2/n ...

    Returns:
        (N,) int32, for each u the first index whose cumulative probability exceeds u.
    """
    return _draw(uniform, cumulative, guide)


@compiled
def _draw(uniform, cumulative, guide):
    result = np.empty(len(uniform), np.int32)
    for number, u in enumerate(uniform):
        index = guide[int(u * len(guide))]
        while cumulative[index] <= u:
            index += 1
        result[number] = index
    return result


def number_items(
    inputs: np.ndarray, targets: np.ndarray, negatives: np.ndarray, num_items: int, room: int, separate: bool
) -> dict[str, np.ndarray]:
    """Lists the distinct items of each step and replaces items by positions in that list.

    Args:
        inputs, targets: (K, L, B) items, -1 for none.
        negatives: (steps, N) negatives of the first `steps` of the K steps.
        num_items: number of items in the vocabulary.
        room: U, the maximum number of distinct items of a step; negatives beyond it are dropped.
        separate: whether inputs get a separate list.

    Returns:
        `input`, `target`, `unique_ids`, `unique_ids_scale`, `scored`, `aimed`, `drawn` and, if separate, `looked_up`
        and `looked_up_scale`; see `SessionParallelBatches`.
    """
    numbered = _number(inputs, targets, negatives, num_items, room, separate)
    places, unique_ids, aimed, drawn, counts, scored, looked_up, looks = numbered
    result = {"input": places[0], "target": places[1], "aimed": aimed, "drawn": drawn}
    result["scored"] = (np.arange(room) < scored[:, None]).astype(np.float32)
    for name, items, used in (("unique_ids", unique_ids, counts), ("looked_up", looked_up, looks))[: 1 + separate]:
        real = np.arange(items.shape[1]) < used[:, None]
        result |= {name: np.where(real, items, items[:, :1]), f"{name}_scale": real.astype(np.float32)}
    return result


@compiled
def _number(inputs, targets, negatives, num_items, room, separate):
    steps, time_steps, slots = inputs.shape
    places = np.zeros((2, steps, time_steps, slots), np.int32)
    unique_ids, looked_up = np.zeros((steps, room), np.int32), np.zeros((steps, time_steps * slots), np.int32)
    aimed, drawn = np.zeros((steps, time_steps, room), np.float32), np.zeros((steps, room), np.float32)
    counts, scored, looks = np.zeros(steps, np.int64), np.zeros(steps, np.int64), np.zeros(steps, np.int64)
    reserved = 0 if separate else time_steps * slots
    place, seen = np.zeros(num_items, np.int32), np.full(num_items, -1, np.int64)
    for step in range(steps):
        count = 0
        for time_step in range(time_steps):
            for slot in range(slots):
                item = targets[step, time_step, slot]
                if item >= 0:
                    if seen[item] != 2 * step:
                        seen[item], place[item], unique_ids[step, count] = 2 * step, count, item
                        count += 1
                    places[1, step, time_step, slot] = place[item]
                    aimed[step, time_step, place[item]] += 1
        if step < len(negatives):
            for item in negatives[step]:
                if seen[item] != 2 * step:
                    if count >= room - reserved and room < num_items:
                        continue
                    seen[item], place[item], unique_ids[step, count] = 2 * step, count, item
                    count += 1
                drawn[step, place[item]] += 1
        scored[step] = counts[step] = count
        into, mark = unique_ids[step], 2 * step
        if separate:
            into, mark, count = looked_up[step], 2 * step + 1, 0
        for time_step in range(time_steps):
            for slot in range(slots):
                item = inputs[step, time_step, slot]
                if item >= 0:
                    if seen[item] != mark:
                        seen[item], place[item], into[count] = mark, count, item
                        count += 1
                    places[0, step, time_step, slot] = place[item]
        if separate:
            looks[step] = count
        else:
            counts[step] = count
    return places, unique_ids, aimed, drawn, counts, scored, looked_up, looks

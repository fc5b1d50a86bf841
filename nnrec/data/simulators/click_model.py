"""A process that clicks come from, whose next click can be predicted as well as anybody could."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CUTOFFS = (1, 5, 10, 20)
FIGURES = (*(f"recall@{k}" for k in CUTOFFS), f"mrr@{CUTOFFS[-1]}")


@dataclass(frozen=True, eq=False)
class ClickModel:
    """The process that clicks come from: Z intents, C categories, N items, S likely successors of each item.

        P(next = n | last = i, intent = z) = share * w_i(n) + (1 - share) * b(n) / (1 - b(i))

    for n != i (nobody clicks the same item twice running), with b = browse[z, category[i]], and w_i(n) = weights[r]
    where n is the r-th successor of i, else 0. Intents are equally likely, and a session's never changes: all its
    clicks tell about it, so that the last item alone does not predict the next one as well as can be.

    Attributes:
        start: (Z, N) P(first = n | z).
        browse: (Z, C, N) where people go next from a category, when they do not follow a successor; rows add up to 1.
        category: (N,) the category of each item.
        successors: (N, S) distinct items, never the item itself.
        weights: (S,) adding up to 1.
        share: how often people follow one of the successors, 0 to 1.
    """

    start: np.ndarray
    browse: np.ndarray
    category: np.ndarray
    successors: np.ndarray
    weights: np.ndarray
    share: float

    def draw(self, lengths: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sessions of the given lengths, one after the other: the items (sum of lengths,), and (num_sessions,) intents.

        All sessions take a step at a time.
        """
        num_intents, num_categories, num_items = self.browse.shape
        intent = rng.integers(num_intents, size=len(lengths))
        cumulated = np.cumsum(self.browse.reshape(-1, num_items), axis=1)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        item = np.empty(offsets[-1], np.int32)
        last = _draw_from(np.cumsum(self.start, axis=1), intent, rng.random(len(lengths)))
        item[offsets[:-1]] = last
        running = np.arange(len(lengths))
        for step in range(1, lengths.max(initial=0)):
            going = lengths[running] > step
            running, last = running[going], last[going]
            row = intent[running] * num_categories + self.category[last]
            above = cumulated[row, last]
            here = self.browse.reshape(-1, num_items)[row, last]
            # A uniform number over everything but the place that the last item takes up.
            place = rng.random(len(running)) * (1 - here)
            browsed = _draw_from(cumulated, row, np.where(place < above - here, place, place + here))
            rank = np.minimum(np.searchsorted(np.cumsum(self.weights), rng.random(len(running))), len(self.weights) - 1)
            follows = rng.random(len(running)) < self.share
            last = np.where(follows, self.successors[last, rank], browsed)
            item[offsets[running] + step] = last
        return item, intent

    def begin(self, first: np.ndarray) -> np.ndarray:
        """(m, Z) P(intent | first item) for m sessions."""
        belief = self.start[:, first].T
        return belief / belief.sum(axis=1, keepdims=True)

    def following(self, belief: np.ndarray, last: np.ndarray) -> np.ndarray:
        """(m, N) P(next = n | everything clicked so far), given (m, Z) beliefs and (m,) last items."""
        category, rows = self.category[last], np.arange(len(last))
        scaled = (1 - self.share) * belief / (1 - self.browse[:, category, last].T)
        chance = np.empty((len(last), self.browse.shape[2]))
        for number in np.unique(category):
            here = category == number
            chance[here] = scaled[here] @ self.browse[:, number]
        chance[rows, last] = 0
        chance[rows[:, None], self.successors[last]] += self.share * self.weights
        return chance

    def update(self, belief: np.ndarray, last: np.ndarray, item: np.ndarray) -> np.ndarray:
        """(m, Z) P(intent | everything clicked so far and `item`), by Bayes' rule."""
        category = self.category[last]
        followed = self.share * ((self.successors[last] == item[:, None]) @ self.weights)
        browsed = self.browse[:, category, item] / (1 - self.browse[:, category, last])
        belief = belief * (followed + (1 - self.share) * browsed).T
        return belief / belief.sum(axis=1, keepdims=True)

    def expect(self, item: np.ndarray, lengths: np.ndarray, rows: int = 2_000) -> np.ndarray:
        """What the best predictor, which knows this model and the clicks before, expects of each event.

        With p_1 >= p_2 >= ... the probabilities of the next item given the session so far, recall@k is p_1 + ... + p_k
        and mrr@20 is p_1 / 1 + ... + p_20 / 20.

        Args:
            item: events of sessions, one session after the other.
            lengths: events of each session.
            rows: how many sessions to look at together; bounds the memory.

        Returns:
            (len(item), 5) float32: recall@1, @5, @10, @20, mrr@20; NaN for the first event of a session.
        """
        expected = np.full((len(item), len(FIGURES)), np.nan, np.float32)
        starts = np.cumsum(lengths) - lengths
        for block in range(0, len(lengths), rows):
            place, left = starts[block : block + rows], lengths[block : block + rows] - 1
            belief = self.begin(item[place])
            while (more := left > 0).any():
                place, left, belief = place[more], left[more] - 1, belief[more]
                expected[place + 1] = best_figures(self.following(belief, item[place]))
                belief = self.update(belief, item[place], item[place + 1])
                place = place + 1
        return expected


def best_figures(chance: np.ndarray) -> np.ndarray:
    """(m, 5): what ranking by the true probabilities (m, N) gives on average, figures as in `FIGURES`."""
    depth = min(CUTOFFS[-1], chance.shape[1])
    top = -np.sort(np.partition(-chance, depth - 1, axis=1)[:, :depth], axis=1)
    recall = np.cumsum(top, axis=1)[:, [min(k, depth) - 1 for k in CUTOFFS]]
    return np.column_stack([recall, top @ (1 / np.arange(1, depth + 1))])


def _draw_from(cumulated: np.ndarray, row: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """(m,) for each number the first column whose cumulated probability in the given row exceeds it."""
    num_rows, width = cumulated.shape
    flat = (cumulated / cumulated[:, -1:] + np.arange(num_rows)[:, None]).ravel()
    found = np.searchsorted(flat, np.minimum(uniform, 1 - 1e-9) + row, side="right")
    return found - row * width

"""A generative model of clicks for which the best possible predictor of the next click is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CUTOFFS = (1, 5, 10, 20)
FIGURES = (*(f"recall@{k}" for k in CUTOFFS), f"mrr@{CUTOFFS[-1]}")


@dataclass(frozen=True, eq=False)
class ClickModel:
    """A generative model of clicks with Z hidden intents, C categories, N items, S likely successors of each item.

        P(next = n | last = i, intent = z) = share * w_i(n) + (1 - share) * b(n) / (1 - b(i))

    for n != i (an item never follows itself), with b = browse[z, category[i]], and w_i(n) = weights[r] where n is the
    r-th successor of i, else 0. Intents are equally likely, and the intent of a session never changes: all its clicks
    are evidence of it, so that the last item alone is not the best possible predictor of the next one.

    Attributes:
        start: (Z, N) P(first = n | z).
        browse: (Z, C, N) probabilities of the next item after an item of a category, if it is not a successor; rows
            sum to 1.
        category: (N,) the category of each item.
        successors: (N, S) distinct items, never the item itself.
        weights: (S,) probabilities of the successors, summing to 1.
        share: probability that the next click follows a successor, 0 to 1.
    """

    start: np.ndarray
    browse: np.ndarray
    category: np.ndarray
    successors: np.ndarray
    weights: np.ndarray
    share: float

    def draw(self, lengths: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws sessions of the given lengths: the concatenated items (sum of lengths,), and (num_sessions,) intents.

        The loop runs over steps; each step draws the next click of all sessions.
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
            # A uniform number outside the interval of the last item in the cumulative distribution.
            place = rng.random(len(running)) * (1 - here)
            browsed = _draw_from(cumulated, row, np.where(place < above - here, place, place + here))
            rank = np.minimum(np.searchsorted(np.cumsum(self.weights), rng.random(len(running))), len(self.weights) - 1)
            follows = rng.random(len(running)) < self.share
            last = np.where(follows, self.successors[last, rank], browsed)
            item[offsets[running] + step] = last
        return item, intent

    def begin(self, first: np.ndarray) -> np.ndarray:
        """Returns (m, Z) P(intent | first item) for m sessions."""
        belief = self.start[:, first].T
        return belief / belief.sum(axis=1, keepdims=True)

    def following(self, belief: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Returns (m, N) P(next = n | all clicks so far), given (m, Z) P(intent | clicks) and (m,) last items."""
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
        """Returns (m, Z) P(intent | all clicks so far and `item`), by Bayes' rule."""
        category = self.category[last]
        followed = self.share * ((self.successors[last] == item[:, None]) @ self.weights)
        browsed = self.browse[:, category, item] / (1 - self.browse[:, category, last])
        belief = belief * (followed + (1 - self.share) * browsed).T
        return belief / belief.sum(axis=1, keepdims=True)

    def expect(self, item: np.ndarray, lengths: np.ndarray, rows: int = 2_000) -> np.ndarray:
        """Returns the expected metrics, at each event, of the best predictor: this model given all clicks before.

        With p_1 >= p_2 >= ... the probabilities of the next item given the session so far, recall@k is p_1 + ... + p_k
        and mrr@20 is p_1 / 1 + ... + p_20 / 20.

        Args:
            item: items of the events, concatenated session by session.
            lengths: events of each session.
            rows: number of sessions processed together; bounds the memory.

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
    """Returns (m, 5) the expected metrics of ranking by the true probabilities (m, N), in the order of `FIGURES`."""
    depth = min(CUTOFFS[-1], chance.shape[1])
    top = -np.sort(np.partition(-chance, depth - 1, axis=1)[:, :depth], axis=1)
    recall = np.cumsum(top, axis=1)[:, [min(k, depth) - 1 for k in CUTOFFS]]
    return np.column_stack([recall, top @ (1 / np.arange(1, depth + 1))])


def _draw_from(cumulated: np.ndarray, row: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns (m,) for each number the first column whose cumulative probability in the given row exceeds it."""
    num_rows, width = cumulated.shape
    flat = (cumulated / cumulated[:, -1:] + np.arange(num_rows)[:, None]).ravel()
    found = np.searchsorted(flat, np.minimum(uniform, 1 - 1e-9) + row, side="right")
    return found - row * width

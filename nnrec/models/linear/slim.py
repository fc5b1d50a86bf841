"""SLIM: a sparse linear item-to-item model with non-negative weights."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError
from nnrec.core.jit import compiled
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline, histories, liked, matrix
from nnrec.models.linear.gram import gram, gram_memory

# Items solved in one call.
BLOCK = 32
# The solution of an item is complete when no weight changes by more than this in a sweep over all weights.
TOLERANCE = 1e-4
MAX_SWEEPS = 100


class SLIM(Baseline):
    """Scores an item by a weighted sum over the other items of the history, with sparse, non-negative weights.

    Source: Ning, Karypis: SLIM: Sparse Linear Methods for Top-N Recommender Systems, 2011, equations
    2 to 4. For each item j

        w_j minimises 1/2 |x_j - X w_j|^2 + l2 / 2 |w_j|^2 + l1 |w_j|_1 with w_j >= 0, w_jj = 0

    by cyclic coordinate descent (Friedman, Hastie, Tibshirani, 2010) on X'X.

    In: a history, x = 1 for every liked item. Out: (B, num_items) float32, x W.

    Differs: items k with x_k'x_j <= l1 are left out in advance: their weight is 0, because X and w have
    no negative entries. An entry of X is the square root of the rating's weight (1 without weights), as
    in `EASE`. Entries of a history are 1.

    Args:
        num_users, num_items: sizes of the data.
        l1: the penalty on the weights, which makes them sparse; not negative.
        l2: the penalty on the squared weights, above 0.
        relevant: ratings of at least this value count; None = all.
        memory_limit: as in `Baseline`.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})
    learnt = ("item_weights",)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        l1: float = 3.0,
        l2: float = 200.0,
        relevant: float | None = None,
        memory_limit: float | None = None,
        name: str = "slim",
    ) -> None:
        if not (l1 >= 0 and l2 > 0):
            raise ConfigError(f"model.l1 must not be negative and model.l2 must be positive. Received: {l1} and {l2}")
        super().__init__(num_users, num_items, memory_limit=memory_limit, name=name)
        self.l1, self.l2, self.relevant = l1, l2, relevant

    def memory_needed(self, train: Ratings) -> int:
        return gram_memory(self.num_items, len(train))

    def fit(self, train: Ratings) -> None:
        """Sets `item_weights`, W: (num_items, num_items) float32, sparse.

        Raises:
            DataError: no rating is relevant.
        """
        together = gram(matrix(train, self.relevant, weighted=True).sqrt())

        def block(start: int) -> sparse.csr_array:
            weights = np.zeros((min(BLOCK, self.num_items - start), self.num_items), np.float32)
            _solve(together, start, np.float32(self.l1), np.float32(self.l2), TOLERANCE, MAX_SWEEPS, weights)
            return sparse.csr_array(weights)

        blocks = []
        with ProgressBar("fitting", self.num_items) as bar, ThreadPoolExecutor(os.cpu_count()) as threads:
            for solved in threads.map(block, range(0, self.num_items, BLOCK)):
                blocks.append(solved)
                bar.advance(solved.shape[0])
                bar.report("items")
        self.item_weights = sparse.vstack(blocks, format="csr").T.tocsr()

    def encode(self, batch: Batch) -> sparse.csr_array:
        """(B, num_items) sparse, 1 for every liked item."""
        return liked(histories(batch, self.num_items, self.relevant))

    def score(self, queries: sparse.csr_array, items: np.ndarray | None = None) -> np.ndarray:
        return (queries @ (self.item_weights if items is None else self.item_weights[:, items])).toarray()

    def linear(self) -> sparse.csr_array:
        return self.item_weights


@compiled
def _solve(
    together: np.ndarray, first: int, l1: float, l2: float, tolerance: float, max_sweeps: int, weights: np.ndarray
) -> None:
    """Sets weights[i] to the solution w of item `first` + i.

    Args:
        together: (num_items, num_items) float32, X'X.
        first: the first item.
        l1, l2: penalties.
        tolerance, max_sweeps: stopping criteria, see `TOLERANCE`.
        weights: (m, num_items) float32, initially 0.
    """
    for row in range(len(weights)):
        item, weight = first + row, weights[row]
        # x_k'(x_j - X w) for every k
        left = together[item].copy()
        candidates = np.flatnonzero(left > l1)
        for _ in range(max_sweeps):
            largest = 0.0
            for k in candidates:
                if k == item:
                    continue
                square = together[k, k]
                best = max((left[k] + square * weight[k] - l1) / (square + l2), np.float32(0))
                step = best - weight[k]
                if step != 0:
                    weight[k] = best
                    left -= step * together[k]
                    largest = max(largest, abs(step))
            if largest <= tolerance:
                break

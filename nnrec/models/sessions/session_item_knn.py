"""Item-kNN on sessions: items that co-occur in sessions with the last item."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse

from nnrec.core.console import ProgressBar
from nnrec.data.sessions import Sessions
from nnrec.models.base.session_baseline import SessionBaseline, check_at_least, put_rows, sets_of

# Maximum number of co-occurrences counted at a time (more if a single item has more).
BLOCK_PAIRS = 2**24


class SessionItemKNN(SessionBaseline):
    """Scores an item by its similarity to the session's last item.

    Source: Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural Networks, 2016,
    section 4, and the authors' code. With n_ij the number of sessions that contain both items and n_i the number that
    contain i,

        similarity of j to the last item i = n_ij / ((n_i + lmbd)^alpha (n_j + lmbd)^(1 - alpha))

    In: sessions. Out: (M, num_items) float32 similarities; all other items follow by popularity, with negative scores.

    Differs: n counts sessions, as in the paper; the authors' code counts events.

    Args:
        num_items: size of the data.
        n_sims: number of most similar items stored for each item.
        lmbd: regularisation, which lowers the similarity of rare items.
        alpha: 0.5 is the cosine, 1 the confidence of an association rule, values between them a compromise.
        memory_limit: as in `SessionBaseline`.
    """

    learnt = ("backoff", "similar")

    def __init__(
        self,
        num_items: int,
        *,
        n_sims: int = 100,
        lmbd: float = 20.0,
        alpha: float = 0.5,
        memory_limit: float | None = None,
        name: str = "session_item_knn",
    ) -> None:
        super().__init__(num_items, memory_limit=memory_limit, name=name)
        check_at_least(n_sims=(n_sims, 1), lmbd=(lmbd, 0), alpha=(alpha, 0))
        self.n_sims, self.lmbd, self.alpha = n_sims, lmbd, alpha

    def memory_needed(self, train: Sessions) -> int:
        # A column and a value per stored pair, in blocks and concatenated; and sorting orders of a block.
        pairs = int((train.lengths.astype(np.float64) ** 2).sum())
        return 2 * 8 * min(pairs, self.n_sims * self.num_items) + 40 * min(pairs, BLOCK_PAIRS)

    def fit(self, train: Sessions) -> None:
        """Sets `similar`: (num_items, num_items) sparse, in each row the most similar items."""
        self.fit_backoff(train)
        sets = sets_of(train)
        holders = sets.T.tocsr()
        support = np.diff(holders.indptr) + self.lmbd
        pairs = np.cumsum(holders @ np.diff(sets.indptr))
        edges = np.searchsorted(pairs, np.arange(0, pairs[-1], BLOCK_PAIRS), side="right")
        edges = np.unique([0, *edges[1:], self.num_items])
        parts = []
        with ProgressBar("comparing items", self.num_items, transient=True) as bar:
            for start, stop in pairwise(edges):
                block = (holders[start:stop] @ sets).tocoo()
                item, other = block.row + start, block.col
                norm = support[item] ** self.alpha * support[other] ** (1 - self.alpha)
                block.data = np.where(other == item, 0, block.data / norm).astype(np.float32)
                parts.append(largest(block, self.n_sims))
                bar.advance(stop - start)
        self.similar = sparse.vstack(parts, format="csr")

    def add(self, queries: np.ndarray, scores: np.ndarray) -> None:
        put_rows(self.similar, queries[:, 0], scores)


def largest(matrix: sparse.coo_array, count: int) -> sparse.csr_array:
    """Returns the `count` largest entries above 0 of each row; of equal ones, those with the lower column index."""
    some = matrix.data > 0
    row, column, values = matrix.row[some], matrix.col[some], matrix.data[some]
    order = np.lexsort((column, -values, row))
    row, column, values = row[order], column[order], values[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < count
    return sparse.csr_array((values[kept], (row[kept], column[kept])), shape=matrix.shape)

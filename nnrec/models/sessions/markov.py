"""Markov: Markov chains and sequential rules, which score the usual followers of the last item."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from nnrec.data.sessions import Sessions
from nnrec.models.base.session_baseline import Decay, SessionBaseline, check_at_least, check_one_of, decays, put_rows


class Markov(SessionBaseline):
    """Scores an item by how often it followed the session's last item in training.

    Source: Ludewig, Jannach: Evaluation of Session-based Recommendation Algorithms, 2018, section 2.1. steps=1 is their
    simple Markov chain (MC): an item's score is its share of the transitions from the last item. More steps give
    sequential rules (SR): an item x events after another in a session adds a weight that depends on x, 1 / x by
    default.

    In: sessions. Out: (M, num_items) float32: shares, which sum to 1 over the followers of the last item; all other
    items follow by popularity, with negative scores.

    Differs: SR's scores are divided by the sum of all weights from the last item, which does not change lists.

    Args:
        num_items: size of the data.
        steps: maximum number of events between an item and its follower.
        weighting: weight of a follower x steps ahead, see `nnrec.models.base.session_baseline.decays`.
    """

    learnt = ("backoff", "shares")

    def __init__(self, num_items: int, *, steps: int = 1, weighting: Decay = "div", name: str = "markov") -> None:
        super().__init__(num_items, name=name)
        check_at_least(steps=(steps, 1))
        check_one_of("weighting", weighting, Decay)
        self.steps, self.weighting = steps, weighting

    def fit(self, train: Sessions) -> None:
        """Sets `shares`: (num_items, num_items) sparse, in each row the shares of the item's followers."""
        self.fit_backoff(train)
        shape = (self.num_items, self.num_items)
        counts = sparse.csr_array(shape, dtype=np.float64)
        for step, weight in enumerate(decays(self.weighting, self.steps), start=1):
            here = np.flatnonzero(train.session[:-step] == train.session[step:])
            if weight == 0 or not len(here):
                break
            pairs = train.item[here], train.item[here + step]
            counts = counts + sparse.csr_array((np.full(len(here), weight), pairs), shape=shape)
        sums = np.repeat(counts.sum(axis=1), np.diff(counts.indptr))
        counts.data /= sums
        self.shares = counts.astype(np.float32)

    def add(self, queries: np.ndarray, scores: np.ndarray) -> None:
        put_rows(self.shares, queries[:, 0], scores)

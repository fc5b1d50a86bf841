"""Popularity of items within the session, or over all sessions."""

from __future__ import annotations

import numpy as np

from nnrec.data.sessions import Sessions
from nnrec.models.base.session_baseline import SessionBaseline


class SessionPopularity(SessionBaseline):
    """Scores an item by how often it occurred in the session so far.

    Source: Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural Networks, 2016,
    section 4: S-POP, with ties broken by global popularity; with in_session=false POP.

    In: sessions. Out: (M, num_items) float32. S-POP: the number of the item's events in the session plus its negative
    popularity score of -1 to 0 (`SessionBaseline.backoff`). POP: the item's number of training events.

    Differs: nothing.

    Args:
        num_items: size of the data.
        in_session: true = S-POP; false = POP, the same list for all sessions.
    """

    window = None

    def __init__(self, num_items: int, *, in_session: bool = True, name: str = "session_popularity") -> None:
        super().__init__(num_items, name=name)
        self.in_session = self.personal = in_session
        if not in_session:
            self.window = 1

    def fit(self, train: Sessions) -> None:
        self.fit_backoff(train)
        if not self.in_session:
            self.backoff = train.support.astype(np.float32)

    def add(self, queries: np.ndarray, scores: np.ndarray) -> None:
        if self.in_session:
            row, place = np.nonzero(queries >= 0)
            np.add.at(scores, (row, queries[row, place]), 1)

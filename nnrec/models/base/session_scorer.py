"""The interface of session models: from a session's events to a score for each item as the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.models.base.scorer import Family, Scorer


class SessionScorer(Scorer):
    """Scores items as the next event of a session.

    A model is trained (baselines by `fit`, neural models by gradient steps), then

        queries = model.encode(batch)                # (B, T, ...): one query after every event
        scores = model.score(queries[0, :3])         # (3, num_items): after the first three events

    and, event by event,

        state = None
        state, query = model.advance(state, item)    # query: (1, ...)

    A batch of sessions (`nnrec.batches.whole_sessions.blocks`) holds `item`, (B, T) int32, with the events of each
    session from the left and -1 behind them; if the data have times, also `time`, (B, T) float64.
    """

    family: Family = "sessions"

    def encode(self, batch: Batch) -> Any:
        """Computes a query after each event: (B, T, ...) array or tensor, arbitrary at positions without an event.

        A query depends on the event itself and those before it in the session, never on a later one.
        """
        raise NotImplementedError

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """Scores items as the next event.

        Args:
            queries: (M, ...), a selection of the queries that `encode` returned.
            items: (m,) item indices; None = all.

        Returns:
            (M, m) or (M, num_items) array or tensor, higher is better.
        """
        raise NotImplementedError

    def advance(self, state: Any, item: int) -> tuple[Any, Any]:
        """Processes one more event of one session.

        Args:
            state: the state that the previous call returned; None before the first event.
            item: index of the event's item.

        Returns:
            The new state, and the query (1, ...) after the event.
        """
        events = np.array([item], np.int32) if state is None else np.append(state, np.int32(item))
        return events, self.encode({"item": events[None]})[:, -1]

"""What every model of sessions offers: events go in, a score per item for the next one comes out."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.data.families import SESSIONS
from nnrec.models.base.scorer import Scorer


class SessionScorer(Scorer):
    """Scores items as the next event of a session.

    A model is trained (`fit` of baselines, gradient steps of neural ones), then

        queries = model.encode(batch)                # (B, T, ...): one query after every event
        scores = model.score(queries[0, :3])         # (3, num_items): after the first three events

    and, event by event,

        state = None
        state, query = model.advance(state, item)    # query: (1, ...)

    A batch of sessions (`nnrec.batches.whole_sessions.blocks`) holds `item`, (B, T) int32, each session's events from
    the left, -1 behind them; where the data have times `time`, (B, T) float64.
    """

    family = SESSIONS

    def encode(self, batch: Batch) -> Any:
        """What is known after each event: (B, T, ...) array or tensor; anything where there is no event.

        A query holds the event itself and those before it in the session, never a later one.
        """
        raise NotImplementedError

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """How well each item fits as the next event.

        Args:
            queries: (M, ...) some of those that `encode` returned.
            items: (m,) item indices; None = all.

        Returns:
            (M, m) or (M, num_items) array or tensor, higher is better.
        """
        raise NotImplementedError

    def advance(self, state: Any, item: int) -> tuple[Any, Any]:
        """One more event of one session.

        Args:
            state: what the last call returned; None before the first event.
            item: index of the event's item.

        Returns:
            The new state, and the query (1, ...) after the event.
        """
        events = np.array([item], np.int32) if state is None else np.append(state, np.int32(item))
        return events, self.encode({"item": events[None]})[:, -1]

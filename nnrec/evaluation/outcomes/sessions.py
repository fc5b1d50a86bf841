"""The outcome of an evaluation of next items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import nnrec.evaluation.metrics as metrics
from nnrec.evaluation.outcomes.ratings import Outcome, Tables

if TYPE_CHECKING:
    from nnrec.data.sessions import Sessions
    from nnrec.splits.sessions import SessionSplit


@dataclass
class SessionOutcome(Outcome):
    """`Outcome`, where `users` are sessions and `users_per_second` sessions.

    Figures of next items are means over events. `per_user` has each session's sum of them, divided by the mean number
    of events to a session, so that its mean over the sessions is the figure; `lists` and `scores` are those before the
    last event of each session that was to be predicted.

    Attributes:
        sessions: what was predicted.
        predicted: (n,) boolean, which events were to be predicted.
        places: (2, n) int64, the place of each event's item, ties in its favour (first row) and against it (second),
            0 where it was not to be predicted.
        over_events: the figures that are means over events -> (m,), over how many of each session.
    """

    sessions: Sessions = None  # type: ignore[assignment]
    places: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.int64))
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    over_events: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, sessions: Sessions, predicted: np.ndarray) -> SessionOutcome:
        """Nothing measured yet."""
        places = np.zeros((2, len(sessions)), np.int64)
        return cls(np.arange(sessions.num_sessions), sessions=sessions, places=places, predicted=predicted)

    def add_events(self, by_event: dict[str, np.ndarray], events: np.ndarray | None = None) -> None:
        """Takes up values of events, and their means as figures.

        Args:
            by_event: name -> a value for each of these events.
            events: (n,) boolean, which they are; None = all that were predicted.
        """
        session = self.sessions.session[self.predicted if events is None else events]
        counts = np.bincount(session, minlength=self.sessions.num_sessions)
        for name, values in by_event.items():
            sums = np.bincount(session, weights=values, minlength=self.sessions.num_sessions)
            self.per_user[name] = sums * self.sessions.num_sessions / len(values)
            self.figures[name] = float(values.mean())
            self.over_events[name] = counts.astype(np.float64)

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """95% confidence intervals by bootstrap over the sessions; of means over events as ratios of sums."""
        rest = {name: values for name, values in self.per_user.items() if name not in self.over_events}
        bounds = {name: list(pair) for name, pair in metrics.bootstrap_intervals(rest, seed=seed).items()}
        events = np.stack(list(self.over_events.values()), axis=1)
        sums = np.stack([self.per_user[name] for name in self.over_events], axis=1) * events.mean(axis=0)
        low, high = metrics.bootstrap_interval(sums, events, seed=seed)
        bounds |= {name: [float(low[i]), float(high[i])] for i, name in enumerate(self.over_events)}
        return {name: bounds[name] for name in self.figures if name in bounds}

    def tables(self, split: SessionSplit | Any) -> Tables:
        """What a run folder keeps of it: test_lists.npz, test_users.parquet and test_sessions.parquet."""
        sessions = self.sessions
        events = {"user": sessions.session, "session_id": sessions.ids.ids[sessions.session], "item": sessions.item}
        return {
            "test_lists.npz": {"users": self.users, "items": self.lists, "scores": self.scores},
            "test_sessions.parquet": pd.DataFrame(events | {"place": self.places[0]}),
            "test_users.parquet": pd.DataFrame({"user": self.users, **self.per_user}),
        }

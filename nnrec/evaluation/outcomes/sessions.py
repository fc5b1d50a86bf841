"""The evaluation outcome of a session model."""

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
    """`Outcome` in which `users` are sessions and `users_per_second` counts sessions.

    Next-item metrics are means over events. `per_user` holds each session's sum over its events, divided by the mean
    number of events per session, so that its mean over the sessions is the metric. `lists` and `scores` are those
    before the last predicted event of each session.

    Attributes:
        sessions: the evaluated sessions.
        predicted: (n,) boolean, which events were predicted.
        places: (2, n) int64, the rank of each event's item, with ties in its favour (first row) and against it (second
            row); 0 for events that were not predicted.
        over_events: metrics that are means over events: name -> (m,) number of these events in each session.
    """

    sessions: Sessions = None  # type: ignore[assignment]
    places: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.int64))
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    over_events: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, sessions: Sessions, predicted: np.ndarray) -> SessionOutcome:
        """Returns an outcome without metrics for these sessions; `predicted` is as in the class."""
        places = np.zeros((2, len(sessions)), np.int64)
        return cls(np.arange(sessions.num_sessions), sessions=sessions, places=places, predicted=predicted)

    def add_events(self, by_event: dict[str, np.ndarray], events: np.ndarray | None = None) -> None:
        """Adds metric values per event, and their means as metrics.

        Args:
            by_event: name -> a value for each of the events.
            events: (n,) boolean, the events that have a value; None = all predicted events.
        """
        session = self.sessions.session[self.predicted if events is None else events]
        counts = np.bincount(session, minlength=self.sessions.num_sessions)
        for name, values in by_event.items():
            sums = np.bincount(session, weights=values, minlength=self.sessions.num_sessions)
            self.per_user[name] = sums * self.sessions.num_sessions / len(values)
            self.figures[name] = float(values.mean())
            self.over_events[name] = counts.astype(np.float64)

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """Returns 95% confidence intervals by bootstrap over the sessions; means over events are ratios of sums."""
        rest = {name: values for name, values in self.per_user.items() if name not in self.over_events}
        bounds = {name: list(pair) for name, pair in metrics.bootstrap_intervals(rest, seed=seed).items()}
        events = np.stack(list(self.over_events.values()), axis=1)
        sums = np.stack([self.per_user[name] for name in self.over_events], axis=1) * events.mean(axis=0)
        low, high = metrics.bootstrap_interval(sums, events, seed=seed)
        bounds |= {name: [float(low[i]), float(high[i])] for i, name in enumerate(self.over_events)}
        return {name: bounds[name] for name in self.figures if name in bounds}

    def tables(self, split: SessionSplit | Any) -> Tables:
        """Returns the tables that a run folder stores: test_lists.npz, test_users.parquet and test_sessions.parquet."""
        sessions = self.sessions
        events = {"user": sessions.session, "session_id": sessions.ids.ids[sessions.session], "item": sessions.item}
        return {
            "test_lists.npz": {"users": self.users, "items": self.lists, "scores": self.scores},
            "test_sessions.parquet": pd.DataFrame(events | {"place": self.places[0]}),
            "test_users.parquet": pd.DataFrame({"user": self.users, **self.per_user}),
        }

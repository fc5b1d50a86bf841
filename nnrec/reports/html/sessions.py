"""Sections on sessions: example sessions with their lists, and accuracy by position in the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError
from nnrec.reports.comparison import Comparison, Entry
from nnrec.reports.html import plots
from nnrec.reports.html.page import Listed, People, Person, Plot, Section
from nnrec.reports.html.plots import lines_of

# Number of sessions shown, and of items of each list.
SESSIONS, ITEMS = 6, 10
# Positions in a session that have a figure of their own.
STEPS = 10


def sessions_section(comparison: Comparison, wanted: Sequence[Any] | None = None) -> Section | None:
    """The lists for the last event of a few test sessions, with the events before it.

    Args:
        comparison: what to show.
        wanted: raw ids of sessions; None = a fixed choice, from short to long.

    Raises:
        ConfigError: no run was tested on one of these sessions.
    """
    entries = [e for e in comparison.entries if e.first.lists is not None and e.first.sessions is not None]
    if not entries:
        return None
    events = entries[0].first.sessions
    assert events is not None
    same = [entry for entry in entries if _alike(entry.first.sessions, events)]
    numbers = _chosen(events) if wanted is None else _asked_for(events, wanted)
    people = [_shown(same, events[events["user"] == number]) for number in numbers]
    how = "" if wanted is not None else " They were taken from short to long, not for how their lists look."
    text = f"What came in some test sessions before the last event to be predicted, and what is recommended then.{how}"
    return Section("sessions", "What sessions get", [text], [People(people, "Session")])


def places_section(comparison: Comparison) -> Section | None:
    """How often the next item is found, by the position in the session."""
    cutoff = comparison.best.first.cutoffs[0]

    def points(entry: Entry) -> dict[float, float] | None:
        events = entry.first.sessions
        if events is None:
            return None
        step = np.minimum(events.groupby("user").cumcount(), STEPS)
        told = events["place"] > 0
        found = (events["place"] <= cutoff)[told].groupby(step[told]).mean()
        return {float(number): float(share) for number, share in found.items()}  # type: ignore[arg-type]

    lines = lines_of(comparison.entries, points)
    if not lines:
        return None
    what = f"recall@{cutoff}"
    svg = plots.draw("by-step", lambda axes: plots.by_value(axes, lines, "events before it", what))
    told = "; ".join(f"{label}: " + ", ".join(f"{v:g}: {r:.3f}" for v, r in data.items()) for _, label, data in lines)
    caption = f"{what} by the number of events before the one that is predicted ({STEPS} = {STEPS} or more)."
    return Section("steps", "As a session goes on", [], [Plot(svg, f"{caption} {told}", caption)])


def _alike(one: pd.DataFrame | None, other: pd.DataFrame) -> bool:
    return one is not None and one[["session_id", "item"]].equals(other[["session_id", "item"]])


def _chosen(events: pd.DataFrame) -> np.ndarray:
    """Sessions, evenly spaced by length."""
    lengths = events.groupby("user").size()
    ordered = lengths.sort_values(kind="stable").index.to_numpy()
    places = np.linspace(0, len(ordered) - 1, SESSIONS + 2).round().astype(int)[1:-1]
    return ordered[np.unique(places)]


def _asked_for(events: pd.DataFrame, wanted: Sequence[Any]) -> list[int]:
    numbers = []
    for raw in wanted:
        found = events.loc[events["session_id"].astype(str) == str(raw), "user"]
        if not len(found):
            known = ", ".join(map(str, events["session_id"].unique()[:5]))
            raise ConfigError(f"people: {raw} is not among the test sessions. These are, for example: {known}.")
        numbers.append(int(found.iloc[0]))
    return numbers


def _shown(entries: Sequence[Entry], events: pd.DataFrame) -> Person:
    first = entries[0].first
    items = events["item"].to_numpy()[: 1 + np.flatnonzero(events["place"])[-1]]
    before = [Listed(first.titles[item]) for item in items[:-1][-ITEMS:]]
    columns: list[tuple[str, str, list[Listed]]] = [
        ("So far", "the last events", before),
        ("What came", "", [Listed(first.titles[items[-1]])]),
    ]
    for entry in entries:
        lists = entry.first.lists
        assert lists is not None
        place = int(np.searchsorted(lists.users, events["user"].iloc[0]))
        listed = [Listed(first.titles[i], "", bool(i == items[-1])) for i in lists.items[place][:ITEMS] if i >= 0]
        columns.append((entry.label, "", listed))
    return Person(str(events["session_id"].iloc[0]), f"Events: {len(items)}.", columns)

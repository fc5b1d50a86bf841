"""Sections with examples: the lists of single users, and the ratings with the worst predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnrec.core.errors import ConfigError
from nnrec.data.rows import Rows
from nnrec.reports.comparison import Comparison, Entry
from nnrec.reports.html.page import Cell, Listed, People, Person, Section, Table
from nnrec.runs.result import Result

# Number of users shown, and of items for each; number of bad predictions of a single model, and of each of several.
PEOPLE, ITEMS = 6, 10
WORST, WORST_OF_EACH = 10, 5


def people_section(comparison: Comparison, wanted: Sequence[Any] | None = None) -> Section | None:
    """Lists of a few test users next to the items that they had liked, with hits marked.

    Args:
        comparison: what to show; entries whose first run keeps no lists are left out.
        wanted: raw user ids; None = a fixed choice, from short to long histories.

    Raises:
        ConfigError: no run has test results of one of these users.
    """
    entries = [
        entry for entry in comparison.entries if entry.first.lists is not None and entry.first.ratings is not None
    ]
    if not entries:
        return None
    first = entries[0].first
    shared = [entry for entry in entries if entry.first.repeat == first.repeat]
    users = _chosen(shared) if wanted is None else _asked_for(shared, wanted)
    if not len(users):
        return None
    people = [_person(shared, user) for user in users]
    how = "" if wanted is not None else " They were taken from little to much history, not for how their lists look."
    text = [f"What some test users had rated before, what was held out, and what is recommended.{how}"]
    left_out = [entry.label for entry in comparison.entries if entry not in shared]
    if left_out:
        text.append(f"Without lists of the same test users: {', '.join(left_out)}.")
    return Section("people", "What people get", text, [People(people)])


def worst_section(comparison: Comparison) -> Section | None:
    """The held-out ratings with the largest prediction errors."""
    tables = []
    number = WORST if len(comparison.entries) == 1 else WORST_OF_EACH
    for entry in comparison.entries:
        result, ratings, counts = entry.first, entry.first.ratings, entry.first.item_counts
        if ratings is None or "prediction" not in ratings:
            continue
        error = (ratings["prediction"] - ratings["value"]).abs()
        worst = ratings.assign(error=error).sort_values(["error", "user", "item"], ascending=[False, True, True])
        rows = [
            [
                Cell(result.titles[row["item"]]),
                Cell(str(result.user_ids[row["user"]])),
                Cell(f"{row['value']:g}", row["value"]),
                Cell(f"{row['prediction']:.2f}", row["prediction"]),
                Cell(f"{counts[row['item']]:,}", float(counts[row["item"]])),
            ]
            for row in worst.head(number).to_dict("records")
        ]
        columns = ["item", "user", "rating", "predicted", "ratings of the item"]
        tables.append(Table(f"{entry.label}: the {len(rows)} predictions furthest off", columns, rows))
    return Section("worst", "Worst rating predictions", [], list(tables)) if tables else None


def _relevant(result: Result, user: int, seen: Rows | None) -> dict[int, float]:
    """The user's relevant held-out items and their ratings, highest first, without items in the model's input."""
    assert result.ratings is not None
    mine = result.ratings[result.ratings["user"] == user]
    if result.relevant is not None:
        mine = mine[mine["value"] >= result.relevant]
    if seen is not None:
        mine = mine[~mine["item"].isin(seen.ids)]
    mine = mine.sort_values(["value", "item"], ascending=[False, True])
    return {int(item): float(value) for item, value in zip(mine["item"], mine["value"], strict=True)}


def _chosen(entries: Sequence[Entry]) -> np.ndarray:
    """Users with a list from every entry and a relevant held-out item, evenly spaced by length of history."""
    first = entries[0].first
    assert first.ratings is not None
    relevant = first.ratings if first.relevant is None else first.ratings[first.ratings["value"] >= first.relevant]
    users = np.unique(relevant["user"])
    for entry in entries:
        assert entry.first.lists is not None
        users = np.intersect1d(users, entry.first.lists.users)
    seen = first.seen(users)
    if seen is None or not len(users):
        return users[:PEOPLE]
    ordered = users[np.argsort(seen.lengths, kind="stable")]
    places = np.linspace(0, len(ordered) - 1, PEOPLE + 2).round().astype(int)[1:-1]
    return ordered[np.unique(places)]


def _asked_for(entries: Sequence[Entry], wanted: Sequence[Any]) -> np.ndarray:
    first = entries[0].first
    users = first.users_of(list(wanted))
    assert first.lists is not None
    for raw, user in zip(wanted, users, strict=True):
        if user not in first.lists.users:
            known = ", ".join(map(str, first.user_ids[first.lists.users[:5]]))
            raise ConfigError(f"people: {raw} is not among the test users. These are, for example: {known}.")
    return users


def _person(entries: Sequence[Entry], user: int) -> Person:
    first = entries[0].first
    seen = first.seen(np.array([user]))
    relevant = _relevant(first, user, seen)
    columns: list[tuple[str, str, list[Listed]]] = []
    about = []
    if seen is not None:
        best = np.lexsort((seen.ids, -seen.values))[:ITEMS]
        liked = zip(seen.ids[best], seen.values[best], strict=True)
        listed = [Listed(first.titles[item], f"{value:g}") for item, value in liked]
        about.append(f"Ratings in the history: {len(seen.ids):,}.")
        columns.append(("Liked before", "the highest ratings of the history", listed))
    if relevant:
        held_out = [Listed(first.titles[item], f"{value:g}") for item, value in list(relevant.items())[:ITEMS]]
        about.append(f"Relevant held-out items: {len(relevant)}.")
        columns.append(("Held out", "what a good list would hold", held_out))
    for entry in entries:
        lists = entry.first.lists
        assert lists is not None
        place = int(np.searchsorted(lists.users, user))
        items = [int(item) for item in lists.items[place] if item >= 0][:ITEMS]
        kind = "predicted rating" if entry.first.predicts_ratings else ""
        hits = f"{sum(item in relevant for item in items)} of {len(items)} hit" if relevant else ""
        listed = [
            Listed(
                first.titles[item],
                f"{score:.2f}" if kind else "",
                item in relevant,
            )
            for item, score in zip(items, lists.scores[place], strict=False)
        ]
        columns.append((entry.label, "; ".join(filter(None, [hits, kind])), listed))
    return Person(str(first.user_ids[user]), " ".join(about), columns)

"""The sections of the page; sections without data in the runs are left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS, Family
from nnrec.evaluation.metrics.change import churn
from nnrec.evaluation.metrics.legend import formatted, legend
from nnrec.evaluation.metrics.lists import ranks_by_popularity, times_listed
from nnrec.reports.comparison import Comparison, Entry
from nnrec.reports.html import plots
from nnrec.reports.html.data import ratings_section, session_data_section, settings_section
from nnrec.reports.html.examples import people_section, worst_section
from nnrec.reports.html.figures import figures_section, table_section, tiles
from nnrec.reports.html.impressions import calibration_section, impressions_section
from nnrec.reports.html.page import Cell, Meanings, Plot, Section, Table, render
from nnrec.reports.html.plots import lines_of
from nnrec.reports.html.sessions import places_section, sessions_section
from nnrec.reports.html.user_groups import groups_section
from nnrec.reports.table import TIMES

# What is told of the data of the runs: of impressions their columns, of others the long tail.
DATA_SECTIONS: dict[Family, Callable[[Comparison], Section]] = {
    RATINGS: ratings_section,
    SESSIONS: session_data_section,
    IMPRESSIONS: impressions_section,
}


def report(comparison: Comparison, people: Sequence[Any] | None = None, beside: Path | None = None) -> str:
    """The page on one entry or several, as HTML.

    Args:
        comparison: what to show.
        people: raw ids of users whose lists are shown; None = a few.
        beside: the folder of the page; None = that of the run.
    """
    several = len(comparison.entries) > 1 or len(comparison.best.results) > 1
    data = comparison.best.first.config["data"]["name"]
    sections = [
        table_section(comparison, beside) if several or comparison.failures else figures_section(comparison),
        _trade_off_section(comparison),
        _curves_section(comparison),
        calibration_section(comparison),
        _popularity_section(comparison),
        _churn_section(comparison),
        people_section(comparison, people),
        sessions_section(comparison, people),
        places_section(comparison),
        _by_rating_section(comparison),
        worst_section(comparison),
        groups_section(comparison),
        DATA_SECTIONS[comparison.best.first.family](comparison),
        settings_section(comparison),
        Section("legend", "What the figures mean", [], [Meanings(legend([*comparison.metrics, *TIMES]))]),
    ]
    title = f"Comparison on {data}" if several else f"{comparison.best.label} on {data}"
    subtitle = comparison.best.first.figures["data"]["split"]
    return render(title, subtitle, tiles(comparison, several), [section for section in sections if section])


def _trade_off_section(comparison: Comparison) -> Section | None:
    cutoff, figures = comparison.best.first.cutoffs[0], []
    for number, (name, words) in enumerate(
        {
            f"novelty@{cutoff}": "Novelty: how rare the recommended items are",
            f"diversity@{cutoff}": "Diversity: how different the items of a list are",
            f"catalogue_coverage@{cutoff}": "Coverage: share of the catalogue that is recommended to anybody",
        }.items()
    ):

        def pair(entry: Entry, name: str = name) -> tuple[float, float] | None:
            found = entry.figure(name), entry.figure(comparison.sort_by)
            return None if any(map(math.isnan, found)) else found

        points = lines_of(comparison.entries, pair)
        if len(points) < 2:
            continue
        told = ", ".join(f"{p.label} {formatted(p.data[0])} and {formatted(p.data[1])}" for p in points)
        svg = plots.draw(
            f"trade{number}",
            lambda axes, points=points, name=name: plots.scatter(axes, points, name, comparison.sort_by),  # type: ignore[misc]
            width=4.3,
            height=3.1,
        )
        figures.append(
            Plot(svg, f"{name} against {comparison.sort_by}: {told}", f"{words}, against {comparison.sort_by}.")
        )
    if not figures:
        return None
    text = "Accuracy is not all: a list of what everybody knows is accurate, and useless to many."
    return Section("trade-off", "Accuracy against novelty, diversity and coverage", [text], list(figures))


def _curves_section(comparison: Comparison) -> Section | None:
    figures = []
    monitors = [entry.first.config["trainer"].get("monitor") for entry in comparison.entries if entry.first.neural]
    for column in dict.fromkeys(["loss", *filter(None, monitors)]):

        def curve(entry: Entry, column: str = column) -> Any:
            history = entry.first.history
            return None if history is None or column not in history else (history["epoch"] + 1, history[column])

        lines = lines_of(comparison.entries, curve)
        if not lines:
            continue
        name = "training loss" if column == "loss" else f"{column.removeprefix('val_')} on validation data"
        svg = plots.draw(
            f"curve-{column.replace('@', '-')}",
            lambda axes, lines=lines, name=name: plots.curves(axes, lines, "epoch", name),  # type: ignore[misc]
        )
        ends = ", ".join(f"{label} {formatted(float(y.iloc[-1]))} after {len(y)} epochs" for _, label, (_, y) in lines)
        figures.append(Plot(svg, f"{name} by epoch: {ends}", f"{name[:1].upper()}{name[1:]} by epoch."))
    return Section("curves", "Learning curves", [], list(figures)) if figures else None


def _popularity_section(comparison: Comparison) -> Section | None:
    first, cutoff = comparison.best.first, comparison.best.first.cutoffs[0]
    counts = first.item_counts
    order = np.argsort(ranks_by_popularity(counts))

    def times(entry: Entry) -> np.ndarray | None:
        lists = entry.first.lists
        return None if lists is None else times_listed(lists.items[:, :cutoff], len(counts))[order]

    lines = lines_of(comparison.entries, times)
    if not lines:
        return None
    head = math.ceil(len(counts) / 20)
    told = "; ".join(f"{label} {data[:head].sum() / max(data.sum(), 1):.0%}" for _, label, data in lines)
    svg = plots.draw("concentration", lambda axes: plots.concentration(axes, lines, counts[order]))
    caption = (
        f"Share of all places in the lists (first {cutoff}) that goes to the most popular part of the catalogue. A "
        "line above the dashed one recommends the popular even more than people choose it."
    )
    blocks: list[Any] = [Plot(svg, f"Share of recommendations that goes to the top 5% of items: {told}", caption)]
    top = [
        [Cell(first.titles[item]), Cell(f"{counts[item]:,}", float(counts[item]))]
        + [Cell(f"{data[place]:,}", float(data[place])) for _, _, data in lines]
        for place, item in enumerate(order[:10])
    ]
    columns = ["item", first.family.entries, *(line.label for line in lines)]
    blocks.append(Table("How often the ten most popular items are recommended", columns, top))
    return Section("popularity", "Popularity of what is recommended", [], blocks)


def _churn_section(comparison: Comparison) -> Section | None:
    cutoff = comparison.best.first.cutoffs[0]
    kept = [(entry.label, entry.first.lists) for entry in comparison.entries]
    lists = [(label, found.users, found.items[:, :cutoff]) for label, found in kept if found is not None]
    if len(lists) < 2:
        return None
    rows = []
    for label, users, items in lists:
        shares = [
            float(np.nanmean(churn(*_of_common_users((users, items), (others, their_items)))))
            for _, others, their_items in lists
        ]
        rows.append([Cell(label), *(Cell(f"{share:.0%}", share) for share in shares)])
    text = f"Share of a list of {cutoff} that changes, on average, when one model takes the place of another (churn)."
    table = Table(
        "Churn from the model of the row to that of the column", ["model", *(name for name, *_ in lists)], rows
    )
    return Section("churn", "How much the lists differ", [text], [table])


def _of_common_users(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The lists of the users who have one in both, cut to equal length."""
    _, mine, theirs = np.intersect1d(one[0], other[0], return_indices=True)
    width = min(one[1].shape[1], other[1].shape[1])
    return one[1][mine, :width], other[1][theirs, :width]


def _by_rating_section(comparison: Comparison) -> Section | None:
    cutoff = comparison.best.first.cutoffs[0]

    def points(entry: Entry) -> dict[float, float] | None:
        found = entry.first.figures.get("test_by_rating", {}).get("true")
        if found:
            return {float(value): rate for value, (rate, _) in found.items()}
        lists, ratings = entry.first.lists, entry.first.ratings
        if lists is None or ratings is None or not 1 < ratings["value"].nunique() <= 12:
            return None
        size = entry.first.num_items
        listed = lists.items[:, :cutoff]
        listed_pairs = (lists.users[:, None].astype(np.int64) * size + listed)[listed >= 0]
        hit = np.isin(ratings["user"].to_numpy(np.int64) * size + ratings["item"], listed_pairs)
        rates = ratings.assign(hit=hit).groupby("value")["hit"].mean()
        return dict(zip(rates.index.astype(float), rates.astype(float), strict=True))

    lines = lines_of(comparison.entries, points)
    if not lines:
        return None
    svg = plots.draw(
        "by-rating", lambda axes: plots.by_value(axes, lines, "what the user rated it", f"found in the first {cutoff}")
    )
    told = "; ".join(f"{label}: " + ", ".join(f"{v:g}: {r:.3f}" for v, r in data.items()) for _, label, data in lines)
    caption = f"Share of the held-out items that the list of {cutoff} holds, by the rating they had been given."
    text = "A good recommender finds what people liked more often than what they did not."
    return Section("by-rating", "Hits by rating", [text], [Plot(svg, f"Hit rate by rating value. {told}", caption)])

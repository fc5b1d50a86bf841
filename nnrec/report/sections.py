"""The sections of the page: each is built from what the runs kept, and left out where they kept nothing of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrec.comparison import Comparison, Entry
from nnrec.metrics.legend import formatted, legend, stem
from nnrec.metrics.lists import ranks_by_popularity, times_listed
from nnrec.report import plots
from nnrec.report.page import Cell, Facts, Meanings, Notes, Plot, Section, Table, Text, render
from nnrec.report.people import people_section, worst_section
from nnrec.report.plots import Line
from nnrec.report.users import groups_section
from nnrec.scoreboard import TIMES, p_text, remarks, shown_metrics

NAMES = {"seconds": "training (s)", "users_per_second": "users/s"}


def report(comparison: Comparison, people: Sequence[Any] | None = None, beside: Path | None = None) -> str:
    """The page about one entry or several, as HTML.

    Args:
        comparison: what to show.
        people: raw ids of users whose lists are shown; None = a few.
        beside: the folder the page will lie in; None = that of the run.
    """
    several = len(comparison.entries) > 1 or len(comparison.best.results) > 1
    data = comparison.best.first.config["data"]["name"]
    sections = [
        _table_section(comparison, beside) if several or comparison.failures else _figures_section(comparison),
        _trade_off_section(comparison),
        _curves_section(comparison),
        _popularity_section(comparison),
        people_section(comparison, people),
        _by_rating_section(comparison),
        worst_section(comparison),
        groups_section(comparison),
        _data_section(comparison),
        _settings_section(comparison),
        Section("legend", "What the figures mean", [], [Meanings(legend([*comparison.metrics, *TIMES]))]),
    ]
    title = f"Comparison on {data}" if several else f"{comparison.best.label} on {data}"
    subtitle = comparison.best.first.figures["data"]["split"]
    return render(title, subtitle, _tiles(comparison, several), [section for section in sections if section])


def lines_of(comparison: Comparison, data: Any) -> list[Line]:
    """A line for each entry that `data` returns something for."""
    found = ((number, entry, data(entry)) for number, entry in enumerate(comparison.entries))
    return [Line(number, entry.label, what) for number, entry, what in found if what is not None]


def _tiles(comparison: Comparison, several: bool) -> list[tuple[str, str, str]]:
    best = comparison.best
    if several:
        value = formatted(best.figure(comparison.sort_by))
        tiles = [(f"best {comparison.sort_by}", value, best.label)]
        return [*tiles, ("compared", str(len(comparison.entries)), "models or settings")]
    names = [name for name in shown_metrics(comparison) if stem(name) not in ("recall", "recall_min")][:5]
    tiles = []
    for name in names:
        interval = best.interval(name)
        remark = f"{formatted(interval[0])} to {formatted(interval[1])}" if interval else ""
        tiles.append((name.replace("_", " "), formatted(best.figure(name)), remark))
    return [*tiles, ("training", _seconds(best.figure("seconds")), "")]


def _table_section(comparison: Comparison, beside: Path | None) -> Section:
    names = shown_metrics(comparison)
    p_values = any(entry.p_value is not None for entry in comparison.entries)
    columns = ["model", names[0], *(["p"] if p_values else []), "ranked by", *names[1:], *(NAMES[name] for name in TIMES)]
    leaders = {name: comparison.leaders(name) for name in (*comparison.metrics, *TIMES)}
    rows, every = [], []
    for number, entry in enumerate(comparison.entries):
        figures = [_cell(entry, name, entry in leaders[name]) for name in (*names, *TIMES)]
        p_value = entry.p_value
        middle = [Cell("" if p_value is None else p_text(p_value), math.nan if p_value is None else p_value)]
        rows.append(
            [
                Cell(entry.label, link=_link(entry, beside), series=number % len(plots.SERIES) + 1),
                figures[0],
                *(middle if p_values else []),
                Cell("predicted rating" if entry.first.predicts_ratings else "score"),
                *figures[1:],
            ]
        )
    for name in comparison.metrics:
        every.append([Cell(name), *(_cell(entry, name, entry in leaders[name]) for entry in comparison.entries)])
    blocks: list[Any] = [
        Table(f"Test data, sorted by {comparison.sort_by}; the best of each column in bold", columns, rows),
        Notes(remarks(comparison)),
    ]

    def dot(entry: Entry) -> Any:
        value, spread = entry.figure(comparison.sort_by), entry.spread(comparison.sort_by)
        pair = (value - spread, value + spread) if spread is not None else entry.interval(comparison.sort_by)
        return None if math.isnan(value) else (value, pair)

    dots = lines_of(comparison, dot)
    blocks.append(
        Plot(
            plots.draw(
                "intervals", lambda axes: plots.intervals(axes, dots, comparison.sort_by), height=1 + 0.32 * len(dots)
            ),
            f"{comparison.sort_by} of each model: "
            + ", ".join(f"{dot.label} {formatted(dot.data[0])}" for dot in dots),
            f"{comparison.sort_by}, with 95% confidence intervals, or one standard deviation over several runs.",
        )
    )
    blocks.append(Table("Every figure on test data", ["metric", *(entry.label for entry in comparison.entries)], every))
    return Section("figures", "The models", [], blocks)


def _figures_section(comparison: Comparison) -> Section:
    result = comparison.best.first
    floor = result.figures["data"].get("best_reachable_rmse")
    validation = result.figures.get("validation", {})
    columns = ["metric", "validation", "test", "95% interval"] + ([] if floor is None else ["best reachable"])
    rows = []
    for name in dict.fromkeys([*result.test, *validation]):
        interval = comparison.best.interval(name)
        cells = [
            Cell(name),
            *(Cell(formatted(part[name]), part[name]) if name in part else Cell("") for part in (validation, result.test)),
            Cell(f"{formatted(interval[0])} to {formatted(interval[1])}" if interval else ""),
        ]
        if floor is not None:
            cells.append(Cell(formatted(floor), floor) if name == "rmse" else Cell(""))
        rows.append(cells)
    training = result.training
    facts = [("training", _seconds(training["seconds"]))]
    facts += [("epochs", f"{training['epochs']}, best {training['best_epoch']}")] if "epochs" in training else []
    facts.append(("scoring and ranking", f"{training['users_per_second']:,.0f} users/s"))
    return Section(
        "figures",
        "Figures",
        [],
        [
            Table("Figures on validation and test data", columns, rows),
            Facts(facts),
            Notes([line for line in remarks(comparison) if not line.startswith("[")]),
        ],
    )


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

        points = lines_of(comparison, pair)
        if len(points) < 2:
            continue
        told = ", ".join(f"{p.label} {formatted(p.data[0])} and {formatted(p.data[1])}" for p in points)
        svg = plots.draw(
            f"trade{number}",
            lambda axes, points=points, name=name: plots.scatter(axes, points, name, comparison.sort_by),  # type: ignore[misc]
        )
        figures.append(Plot(svg, f"{name} against {comparison.sort_by}: {told}", f"{words}, against {comparison.sort_by}."))
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
            return None if history is None or column not in history else (history["epoch"], history[column])

        lines = lines_of(comparison, curve)
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

    lines = lines_of(comparison, times)
    if not lines:
        return None
    head = math.ceil(len(counts) / 20)
    told = "; ".join(f"{label} {data[:head].sum() / max(data.sum(), 1):.0%}" for _, label, data in lines)
    svg = plots.draw("concentration", lambda axes: plots.concentration(axes, lines, counts[order]))
    caption = (
        f"Share of all places in the lists (first {cutoff}) that goes to the most popular part of the catalogue. A line "
        "above the dashed one recommends the popular even more than people choose it."
    )
    blocks: list[Any] = [Plot(svg, f"Share of recommendations that goes to the top 5% of items: {told}", caption)]
    top = [
        [Cell(first.titles[item]), Cell(f"{counts[item]:,}", float(counts[item]))]
        + [Cell(f"{data[place]:,}", float(data[place])) for _, _, data in lines]
        for place, item in enumerate(order[:10])
    ]
    columns = ["item", "ratings", *(line.label for line in lines)]
    blocks.append(Table("How often the ten most popular items are recommended", columns, top))
    return Section("popularity", "Popularity of what is recommended", [], blocks)


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
        return {float(value): rate for value, rate in ratings.assign(hit=hit).groupby("value")["hit"].mean().items()}

    lines = lines_of(comparison, points)
    if not lines:
        return None
    svg = plots.draw(
        "by-rating", lambda axes: plots.by_value(axes, lines, "what the user rated it", f"found in the first {cutoff}")
    )
    told = "; ".join(f"{label}: " + ", ".join(f"{v:g}: {r:.3f}" for v, r in data.items()) for _, label, data in lines)
    caption = f"Share of the held-out items that the list of {cutoff} holds, by the rating they had been given."
    text = "A good recommender finds what people liked more often than what they did not."
    return Section("by-rating", "Hits by rating", [text], [Plot(svg, f"Hit rate by rating value. {told}", caption)])


def _data_section(comparison: Comparison) -> Section:
    result = comparison.best.first
    data, counts = result.data, result.item_counts
    tail = data["long_tail"]
    facts = [
        ("users", f"{data['users']:,}"),
        ("items", f"{data['items']:,}"),
        ("ratings", f"{data['ratings']:,} ({data['density']:.3%} of all pairs)"),
        *((f"ratings per {who}", _spread(data[f"ratings_per_{who}"])) for who in ("user", "item")),
        ("long tail", ", ".join(f"{share:.0%} of ratings on the {name.replace('_', ' ')} of items"
                                for name, share in tail.items() if name != "gini") + f"; Gini {tail['gini']:.2f}"),
    ]  # fmt: skip
    if data.get("time") and data["time"].get("kind") == "timestamp":
        facts.append(("time", f"{data['time']['first'][:10]} to {data['time']['last'][:10]}"))
    splits = dict.fromkeys(r.figures["data"]["split"] for entry in comparison.entries for r in entry.results)
    facts += [("split", split) for split in splits]
    facts += [("note", note) for note in data.get("notes", [])]
    histogram = data["values"]["histogram"]
    labels = [f"{b['low']:g}" if b["low"] == b["high"] else f"{b['low']:.3g}–{b['high']:.3g}" for b in histogram]
    bars = [bar["count"] for bar in histogram]
    blocks = [
        Facts(facts),
        Plot(
            plots.draw("tail", lambda axes: plots.long_tail(axes, counts)),
            "Number of training ratings of each item, most popular first: "
            f"from {counts.max():,} down to {counts.min():,}",
            "The long tail: training ratings per item, most popular first.",
        ),
    ]
    if len(bars) > 1:
        told = ", ".join(f"{label}: {count:,}" for label, count in zip(labels, bars, strict=True))
        svg = plots.draw("values", lambda axes: plots.bars(axes, labels, bars, "rating", "ratings"))
        blocks.append(Plot(svg, f"Ratings by value. {told}", "Ratings by value."))
    return Section("data", "The data", [], blocks)


def _settings_section(comparison: Comparison) -> Section:
    blocks: list[Any] = []
    if len(comparison.entries) > 1:
        differing = comparison.differing()
        rows = [
            [Cell(e.label), Cell(differing[e.label]), Cell(", ".join(str(r.folder.path) for r in e.results))]
            for e in comparison.entries
        ]
        blocks.append(Table("Settings in which the models differ", ["model", "settings", "run folders"], rows))
    for entry in comparison.entries:
        text = entry.first.folder["config.yaml"].read_text(encoding="utf-8")
        blocks.append(Text(f"All settings of {entry.label}", text))
    return Section("settings", "Settings", [], blocks)


def _cell(entry: Entry, name: str, best: bool) -> Cell:
    value, spread, interval = entry.figure(name), entry.spread(name), entry.interval(name)
    if name in TIMES:
        return Cell("–" if math.isnan(value) else f"{value:,.1f}" if value < 100 else f"{value:,.0f}", value, best)
    note = f"± {formatted(spread)}" if spread is not None and not math.isnan(spread) else ""
    if interval:
        note = f"{formatted(interval[0])} to {formatted(interval[1])}"
    return Cell(formatted(value), value, best, note)


def _link(entry: Entry, beside: Path | None) -> str:
    """The run's own page, if it has one, as seen from this one."""
    page = entry.first.folder["report.html"]
    if beside is None or not page.is_file():
        return ""
    return Path(os.path.relpath(page.resolve(), beside.resolve())).as_posix()


def _spread(spread: dict[str, float]) -> str:
    return f"{spread['min']:,g} to {spread['max']:,g}, median {spread['median']:,g}, mean {spread['mean']:,.4g}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"

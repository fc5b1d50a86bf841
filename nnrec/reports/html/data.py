"""Sections on the data and the settings of the runs."""

from __future__ import annotations

from typing import Any, NamedTuple

from nnrec.reports.comparison import Comparison
from nnrec.reports.html import plots
from nnrec.reports.html.page import Cell, Facts, Plot, Section, Table, Text


class Bars(NamedTuple):
    """A histogram, what its two axes count, and what the counts are grouped by."""

    histogram: list[dict[str, Any]]
    what: str
    counted: str
    by: str


def ratings_section(comparison: Comparison) -> Section:
    """The ratings for training and evaluation, their long tail and their values."""
    histogram = comparison.best.first.data["values"]["histogram"]
    return _section(comparison, Bars(histogram, "rating", "ratings", "value"))


def session_data_section(comparison: Comparison) -> Section:
    """The sessions for training and evaluation, their long tail and their lengths."""
    lengths = comparison.best.first.data["lengths"]
    return _section(comparison, Bars(lengths, "events in the session", "sessions", "length"))


def _section(comparison: Comparison, shown: Bars) -> Section:
    result = comparison.best.first
    data, counts = result.data, result.item_counts
    tail = data["long_tail"]
    unit, who = result.family.entries, result.family.owner
    density = f" ({data['density']:.3%} of all pairs)" if "density" in data else ""
    facts = [
        (f"{who}s", f"{data[f'{who}s']:,}"),
        ("items", f"{data['items']:,}"),
        (unit, f"{data[unit]:,}{density}"),
        *((f"{unit} per {what}", _spread(data[f"{unit}_per_{what}"])) for what in (who, "item")),
        ("long tail", ", ".join(f"{share:.0%} of {unit} on the {name.replace('_', ' ')} of items"
                                for name, share in tail.items() if name != "gini") + f"; Gini {tail['gini']:.2f}"),
    ]  # fmt: skip
    if data.get("time") and data["time"].get("kind") == "timestamp":
        facts.append(("time", f"{data['time']['first'][:10]} to {data['time']['last'][:10]}"))
    splits = dict.fromkeys(r.figures["data"]["split"] for entry in comparison.entries for r in entry.results)
    facts += [("split", split) for split in splits]
    facts += [("note", note) for note in data.get("notes", [])]
    histogram = shown.histogram
    labels = [f"{b['low']:g}" if b["low"] == b["high"] else f"{b['low']:.3g}–{b['high']:.3g}" for b in histogram]
    bars = [bar["count"] for bar in histogram]
    blocks = [
        Facts(facts),
        Plot(
            plots.draw("tail", lambda axes: plots.long_tail(axes, counts)),
            f"Number of training {unit} of each item, most popular first: "
            f"from {counts.max():,} down to {counts.min():,}",
            f"The long tail: training {unit} per item, most popular first.",
        ),
    ]
    if len(bars) > 1:
        told = ", ".join(f"{label}: {count:,}" for label, count in zip(labels, bars, strict=True))
        svg = plots.draw("values", lambda axes: plots.bars(axes, labels, bars, shown.what, shown.counted))
        caption = f"{shown.counted.capitalize()} by {shown.by}."
        blocks.append(Plot(svg, f"{caption} {told}", caption))
    return Section("data", "The data", [], blocks)


def settings_section(comparison: Comparison) -> Section:
    """The settings in which entries differ, and all settings of each entry."""
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


def _spread(spread: dict[str, float]) -> str:
    return f"{spread['min']:,g} to {spread['max']:,g}, median {spread['median']:,g}, mean {spread['mean']:,.4g}"

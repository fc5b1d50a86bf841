"""Sections of figures: the table of a comparison, or all figures of a single run."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from nnrec.evaluation.metrics.legend import formatted, stem
from nnrec.reports.comparison import Comparison, Entry
from nnrec.reports.html import plots
from nnrec.reports.html.page import Cell, Facts, Notes, Plot, Section, Table
from nnrec.reports.html.plots import lines_of
from nnrec.reports.table import TIMES, heading, p_text, remarks, shown_metrics


def tiles(comparison: Comparison, several: bool) -> list[tuple[str, str, str]]:
    """The main figures, for the head of the page: name, figure, remark."""
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


def table_section(comparison: Comparison, beside: Path | None) -> Section:
    """The entries in order: the table of the screen, a plot of intervals, and a folded table of all figures."""
    names = shown_metrics(comparison)
    p_values = any(entry.p_value is not None for entry in comparison.entries)
    columns = [
        "model",
        names[0],
        *(["p"] if p_values else []),
        *map(heading, names[1:]),
        "ranked by",
        *map(heading, TIMES),
    ]
    leaders = {name: comparison.leaders(name) for name in (*comparison.metrics, *TIMES)}
    rows, every, sure = [], [], (comparison.sort_by, "rmse")
    for number, entry in enumerate(comparison.entries):
        figures = [_cell(entry, name, entry in leaders[name], name in sure) for name in (*names, *TIMES)]
        p_value = entry.p_value
        middle = [Cell("" if p_value is None else p_text(p_value), math.nan if p_value is None else p_value)]
        rows.append(
            [
                Cell(entry.label, link=_link(entry, beside), series=number % len(plots.SERIES) + 1),
                figures[0],
                *(middle if p_values else []),
                *figures[1 : len(names)],
                Cell("rating" if entry.first.predicts_ratings else "score"),
                *figures[len(names) :],
            ]
        )
    for name in comparison.metrics:
        every.append([Cell(name), *(_cell(entry, name, entry in leaders[name]) for entry in comparison.entries)])
    blocks: list[Any] = [
        Table(f"Test data, sorted by {comparison.sort_by}; the best of each column in bold", columns, rows),
    ]

    def dot(entry: Entry) -> Any:
        value, spread = entry.figure(comparison.sort_by), entry.spread(comparison.sort_by)
        pair = (value - spread, value + spread) if spread is not None else entry.interval(comparison.sort_by)
        return None if math.isnan(value) else (value, pair)

    dots = lines_of(comparison.entries, dot)
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
    blocks.append(Notes(remarks(comparison)))
    labels = [entry.label for entry in comparison.entries]
    blocks.append(Table("Every figure on test data", ["metric", *labels], every, folded=True))
    return Section("figures", "The models", [], blocks)


def figures_section(comparison: Comparison) -> Section:
    """All figures of a single run, on validation and test data."""
    result = comparison.best.first
    best = result.figures["data"].get("best_reachable", {})
    validation = result.figures.get("validation", {})
    columns = ["metric", "validation", "test", "95% interval"] + (["best reachable"] if best else [])
    rows = []
    for name in dict.fromkeys([*result.test, *validation]):
        interval = comparison.best.interval(name)
        cells = [
            Cell(name),
            *(
                Cell(formatted(part[name]), part[name]) if name in part else Cell("")
                for part in (validation, result.test)
            ),
            Cell(f"{formatted(interval[0])} to {formatted(interval[1])}" if interval else ""),
        ]
        if best:
            cells.append(Cell(formatted(best[name]), best[name]) if name in best else Cell(""))
        rows.append(cells)
    training = result.training
    facts = [("training", _seconds(training["seconds"]))]
    facts += [("epochs", f"{training['epochs']}, best {training['best_epoch']}")] if "epochs" in training else []
    facts.append(("scoring and ranking", f"{training['users_per_second']:,.0f} {result.ranked}/s"))
    return Section(
        "figures",
        "Figures",
        [],
        [
            Table("Figures on validation and test data", columns, rows),
            Facts(facts),
            Notes([line for line in remarks(comparison) if not line.startswith("Intervals")]),
        ],
    )


def _cell(entry: Entry, name: str, best: bool, sure: bool = True) -> Cell:
    value, spread, interval = entry.figure(name), entry.spread(name), entry.interval(name) if sure else None
    if name in TIMES:
        return Cell("–" if math.isnan(value) else f"{value:,.1f}" if value < 100 else f"{value:,.0f}", value, best)
    note = f"± {formatted(spread)}" if spread is not None and not math.isnan(spread) else ""
    if interval:
        note = f"{formatted(interval[0])} to {formatted(interval[1])}"
    return Cell(formatted(value), value, best, note)


def _link(entry: Entry, beside: Path | None) -> str:
    """The relative link to the run's own page, if it has one."""
    page = entry.first.folder["report.html"]
    if beside is None or not page.is_file():
        return ""
    return Path(os.path.relpath(page.resolve(), beside.resolve())).as_posix()


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"

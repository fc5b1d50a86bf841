"""Prints a comparison as a table."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from nnrec.core.console import console
from nnrec.evaluation.metrics.legend import formatted, legend
from nnrec.reports.comparison import Comparison, Entry

# Columns shown after the sorting metric, if the runs have them (metrics with a cutoff at the first one). On a narrow
# terminal the last ones are dropped first.
SHOWN = (
    "rmse", "ndcg", "recall", "recall_min", "catalogue_coverage", "diversity", "novelty", "hit_rate", "mrr",
    "auc", "log_loss", "gauc", "calibration_error",
)  # fmt: skip
TIMES = ("seconds", "users_per_second")
# Short headings.
SHORT = {
    "catalogue_coverage": "coverage",
    "calibration_error": "calibration",
    "seconds": "train s",
    "users_per_second": "ranked/s",
}
SURE = 0.05


def show(comparison: Comparison, to: Console = console) -> None:
    """Prints the table, remarks on it, and the meaning of the metrics."""
    names = shown_metrics(comparison)
    table = _table(comparison, names)
    while to.is_terminal and len(names) > 1 and _width(table) > to.width:
        names = names[:-1]
        table = _table(comparison, names)
    # All columns are written if the output is not a terminal.
    wide = to if to.is_terminal else Console(file=to.file, width=_width(table), highlight=False, quiet=to.quiet)
    to.print()
    wide.print(table)
    for line in remarks(comparison):
        to.print(line, markup=False, soft_wrap=True)
    to.print()
    meanings = legend([*names, *TIMES])
    margin = max(map(len, meanings))
    for name, meaning in meanings.items():
        direction = {"higher": " (higher is better)", "lower": " (lower is better)", "": ""}[meaning.better]
        to.print(f"{name:{margin}}  {meaning.text}{direction}", markup=False, style="dim", soft_wrap=True)
    to.print()


def shown_metrics(comparison: Comparison) -> list[str]:
    """The metrics to show, the sorting metric first."""
    cutoff = comparison.best.first.cutoffs[0]
    chosen = [name for stem in SHOWN for name in (f"{stem}@{cutoff}", stem) if name in comparison.metrics]
    return [comparison.sort_by, *(name for name in chosen if name != comparison.sort_by)]


def remarks(comparison: Comparison) -> list[str]:
    """Remarks for the reader, one line each: significance of the order, notes, failures."""
    lines, sample = [], comparison.best.first.sampled
    tested = [entry for entry in comparison.entries if entry.p_value is not None]
    if tested:
        lines.append(
            f"p: chance of a difference to {comparison.best.label} in {comparison.sort_by} as large as this if both "
            f"were equally good (paired randomisation test over {sample}, Holm-adjusted)."
        )
        unsure = [entry.label for entry in tested if (entry.p_value or 0) >= SURE]
        if unsure:
            lines.append(f"Not told apart from {comparison.best.label} at p < {SURE:g}: {', '.join(unsure)}.")
    if any(len(entry.results) > 1 for entry in comparison.entries):
        lines.append("±: standard deviation over runs that differ in seed or fold alone.")
    if any(entry.interval(comparison.sort_by) for entry in comparison.entries):
        lines.append(f"Intervals: 95% confidence, bootstrap over {sample}.")
    kinds = {entry.first.predicts_ratings for entry in comparison.entries}
    if True in kinds:
        who = "All are" if kinds == {True} else "Those with ranked by = rating are"
        lines.append(
            f"{who} rating models: their lists are sorted by the predicted rating, not by what people are likely to "
            "choose."
        )
    return [*lines, *comparison.notes, *(f"Failed: {f.label}: {f.reason}" for f in comparison.failures)]


def _table(comparison: Comparison, names: list[str]) -> Table:
    first = comparison.best.first
    title = f"{first.config['data']['name']}, test: sorted by {comparison.sort_by}"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("model", no_wrap=True)
    for name in names:
        table.add_column(heading(name), justify="right", no_wrap=True)
    p_values = any(entry.p_value is not None for entry in comparison.entries)
    if p_values:
        table.add_column("p", justify="right", no_wrap=True)
    table.add_column("ranked by", no_wrap=True)
    for name in TIMES:
        table.add_column(heading(name), justify="right", no_wrap=True)
    leaders = {name: comparison.leaders(name) for name in (*names, *TIMES)}
    for entry in comparison.entries:
        cells = [_bold(cell(entry, name, name == comparison.sort_by), entry in leaders[name]) for name in names]
        if p_values:
            cells.append("" if entry.p_value is None else p_text(entry.p_value))
        cells.append("rating" if entry.first.predicts_ratings else "score")
        cells += [_bold(_time(entry.figure(name)), entry in leaders[name]) for name in TIMES]
        table.add_row(escape(entry.label), *cells)
    return table


def _width(table: Table) -> int:
    endless = Console(width=10_000)
    return Measurement.get(endless, endless.options, table).maximum


def heading(name: str) -> str:
    """The column heading of a metric: its short form if it has one."""
    stem, at, cutoff = name.partition("@")
    return SHORT.get(stem, stem) + at + cutoff


def cell(entry: Entry, name: str, sure: bool) -> str:
    """A figure as text, with its standard deviation or (if `sure`) its confidence interval."""
    value = entry.figure(name)
    if math.isnan(value):
        return "–"
    text, spread, interval = formatted(value), entry.spread(name), entry.interval(name)
    if spread is not None:
        return f"{text} ± {formatted(spread)}"
    return f"{text} [{formatted(interval[0])}, {formatted(interval[1])}]" if sure and interval else text


def p_text(p_value: float) -> str:
    """A p-value in few digits."""
    return "<.001" if p_value < 0.001 else f"{p_value:.3f}"


def _time(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def _bold(text: str, bold: bool) -> str:
    return f"[bold]{escape(text)}[/bold]" if bold else escape(text)

"""A section on groups of users: for which groups the models work well, and for which less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nnrec.evaluation.metrics.legend import formatted
from nnrec.evaluation.metrics.statistics import bootstrap_interval
from nnrec.reports.comparison import Comparison
from nnrec.reports.html import plots
from nnrec.reports.html.page import Cell, Plot, Section, Table
from nnrec.runs.result import Result

# An attribute with more values than this is cut into bins if it is numeric, and skipped if it is not.
MAX_VALUES = 25
MAX_NUMBERS, BINS = 12, 5
# Number of (largest) groups shown; minimum number of users of a group; number of (best) entries in a plot.
MAX_GROUPS, MIN_USERS, MAX_LINES = 12, 5, 6


def groups_section(comparison: Comparison) -> Section | None:
    """The sorting metric per group of users, for each attribute of the data."""
    metric, first = comparison.sort_by, comparison.best.first
    entries = [(n, e) for n, e in enumerate(comparison.entries) if e.first.by_user(metric) is not None]
    if first.user_table is None or not entries:
        return None
    figures: list[Any] = []
    tables: list[Any] = []
    for attribute, group in attributes(first.user_table).items():
        measured = group.loc[group.index.intersection(entries[0][1].first.by_user(metric).index)].dropna()  # type: ignore[union-attr]
        sizes = measured.value_counts()
        sizes = sizes[sizes >= MIN_USERS].head(MAX_GROUPS)
        if len(sizes) < 2:
            continue
        names = [name for name in _ordered(measured) if name in sizes.index]
        rows = {entry.label: [_figure(entry.first, metric, measured.index[measured == name]) for name in names]
                for _, entry in entries}  # fmt: skip
        lines = [plots.Line(n, entry.label, rows[entry.label]) for n, entry in entries[:MAX_LINES]]
        labels = [f"{name} ({sizes[name]:,})" for name in names]
        svg = plots.draw(
            f"group-{len(figures)}",
            lambda axes, labels=labels, lines=lines: plots.groups(axes, labels, lines, metric),  # type: ignore[misc]
            width=4.4,
            height=0.9 + len(names) * (0.18 + 0.1 * len(lines)),
        )
        told = "; ".join(
            f"{label}: " + ", ".join(f"{n} {formatted(p[0])}" for n, p in zip(names, points, strict=True))
            for _, label, points in lines
        )
        figures.append(
            Plot(svg, f"{metric} by {attribute}. {told}", f"{metric} by {attribute}; in brackets the number of users.")
        )
        cells = [
            [Cell(name), Cell(f"{sizes[name]:,}", float(sizes[name])), *(_cell(rows[e.label][i]) for _, e in entries)]
            for i, name in enumerate(names)
        ]
        tables.append(
            Table(f"{metric} by {attribute}", [attribute, "users", *(e.label for _, e in entries)], cells, True)
        )
    if not figures:
        return None
    text = (
        f"{metric} with its 95% interval (bootstrap over users), for groups of at least {MIN_USERS} test users. Of an "
        f"attribute with many values the {MAX_GROUPS} largest groups are shown."
    )
    return Section("groups", "Groups of users", [text], [*figures, *tables])


def attributes(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns that define groups, as text per user: few different values, or numbers cut into bins.

    A number with a column of groups (`age` and `age_group`) is left out in favour of that column.
    """
    found: dict[str, pd.Series] = {}
    for column in map(str, table.columns):
        values = table[column]
        if f"{column}_group" in table.columns or values.nunique() < 2:
            continue
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > MAX_NUMBERS:
            found[column] = _binned(values)
        elif values.nunique() <= MAX_VALUES:
            found[column] = values.map(_in_short, na_action="ignore")
    return found


def _in_short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _binned(values: pd.Series) -> pd.Series:
    """Numbers as ranges with about equally many users."""
    bins = pd.qcut(values, BINS, duplicates="drop")
    ranges = values.groupby(bins, observed=True).agg(["min", "max"])
    return bins.map(lambda one: f"{ranges.loc[one, 'min']:g}–{ranges.loc[one, 'max']:g}").astype(object)


def _ordered(groups: pd.Series) -> list[str]:
    """Names of groups, sorted by their leading numbers, or else alphabetically."""

    def key(name: str) -> tuple[float, str]:
        head = name.split("–")[0].split("-")[0].rstrip("+")
        try:
            return float(head), name
        except ValueError:
            return (-1.0 if name.lower().startswith("under") else np.inf), name

    return sorted(groups.unique(), key=key)


def _figure(result: Result, metric: str, users: pd.Index) -> tuple[float, float, float]:
    """The metric over some users, and its interval."""
    values = result.by_user(metric)
    assert values is not None and result.per_user is not None
    mine = values.reindex(users).to_numpy(float)
    weight = None
    if metric in ("rmse", "mae"):
        weight = result.per_user["weight"].reindex(users).to_numpy(float)
    counted = mine[~np.isnan(mine)]
    if not len(counted):
        return np.nan, np.nan, np.nan
    low, high = bootstrap_interval(mine, weight)
    value = counted.mean() if weight is None else counted.sum() / np.nansum(weight)
    found = np.array([value, low, high])
    value, low, high = np.sqrt(found) if metric == "rmse" else found
    return float(value), float(low), float(high)


def _cell(found: tuple[float, float, float]) -> Cell:
    value, low, high = found
    return Cell(formatted(value), value, note=f"{formatted(low)} to {formatted(high)}")

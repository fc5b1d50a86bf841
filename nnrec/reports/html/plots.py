"""Plots as SVG elements of a page: text stays text, and colours are those of the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nnrec.reports.comparison import Entry

# Colours to draw with, and the CSS variables of the page that replace them.
INK, MUTED, GRID, SURFACE = "#0a0001", "#0a0002", "#0a0003", "#0a0004"
SERIES = tuple(f"#0b00{i:02x}" for i in range(1, 9))
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface"} | {
    color: f"series-{i}" for i, color in enumerate(SERIES, start=1)
}
MARKERS = "oDs^vPX*"
# Inches at 72 points: plots are drawn about as large as they are shown, so that text keeps its size.
WIDTH, HEIGHT = 5.4, 3.5
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "patch.linewidth": 0,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    # Text of a page is not parsed as a formula.
    "text.parse_math": False,
}


class Line(NamedTuple):
    """The line of one entry: its position among the entries (which sets its colour), its label, and its data."""

    number: int
    label: str
    data: Any


def lines_of(entries: Sequence[Entry], data: Callable[[Entry], Any]) -> list[Line]:
    """A line for each entry that `data` returns something for."""
    found = ((number, entry.label, data(entry)) for number, entry in enumerate(entries))
    return [Line(*line) for line in found if line[2] is not None]


def color(number: int) -> str:
    """The colour of the entry with this position."""
    return SERIES[number % len(SERIES)]


def marker(number: int) -> str:
    """The marker of the entry with this position; with more entries than colours the markers still differ."""
    return MARKERS[(number + number // len(SERIES)) % len(MARKERS)]


def draw(name: str, paint: Callable[[Axes], None], width: float = WIDTH, height: float = HEIGHT) -> str:
    """Draws a plot as an SVG element.

    Args:
        name: a word that is unique on the page; the prefix of the element's ids.
        paint: draws on the given axes.
        width, height: in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots())
        target = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(target, format="svg", transparent=True, metadata=nothing)
    return _for_page(target.getvalue(), name)


def _for_page(svg: str, name: str) -> str:
    """Removes prologue, size and styles; makes ids unique; uses the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"font-family: [^;\"]*(; )?", "", svg)
    for drawn, variable in _VARIABLES.items():
        svg = svg.replace(drawn, f"var(--{variable})")
    return svg


def intervals(axes: Axes, dots: Sequence[Line], name: str) -> None:
    """A dot per entry, the first on top, with a line from bound to bound; data: (value, (low, high) or None)."""
    places = np.arange(len(dots))[::-1]
    for place, (number, _, (value, pair)) in zip(places, dots, strict=True):
        if pair is not None:
            axes.plot(pair, [place, place], color=color(number), linewidth=2.5, solid_capstyle="round")
        axes.plot(value, place, marker(number), color=color(number), markersize=7)
    axes.set_yticks(places, [dot.label for dot in dots])
    axes.set_ylim(-0.6, len(dots) - 0.4)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(name)


def scatter(axes: Axes, points: Sequence[Line], x_name: str, y_name: str) -> None:
    """A point per entry with its name next to it, on the side that has room; data: (x, y)."""
    x, y = (np.array(values, float) for values in zip(*(point.data for point in points), strict=True))
    left = x > (x.min() + x.max()) / 2
    gap, reach = 0.07 * (np.ptp(y) or 1.0), 0.35 * (np.ptp(x) or 1.0)
    heights = np.full(len(points), np.inf)
    for place in np.argsort(y, kind="stable"):
        # Overlapping names are moved upwards.
        near = heights[(np.abs(x - x[place]) < reach) & (left == left[place]) & np.isfinite(heights)]
        heights[place] = max(y[place], near.max() + gap) if len(near) else y[place]
    for (number, label, (right, up)), height, leftwards in zip(points, heights, left, strict=True):
        axes.plot(right, up, marker(number), color=color(number), markersize=8)
        side, offset = ("right", (-8, 0)) if leftwards else ("left", (8, 0))
        axes.annotate(label, (right, height), offset, textcoords="offset points", ha=side, va="center", fontsize=9.5)
    axes.margins(0.12, 0.14)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def curves(axes: Axes, lines: Sequence[Line], x_name: str, y_name: str) -> None:
    """A line per entry; data: (x, y)."""
    for number, label, (x, y) in lines:
        axes.plot(x, y, color=color(number), label=label, marker="o" if len(x) < 2 else None)
    axes.locator_params(axis="x", integer=True)
    if len(lines) > 1:
        axes.legend(fontsize=9.5)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def concentration(axes: Axes, lines: Sequence[Line], ratings: np.ndarray) -> None:
    """Concentration on popular items: items in order of popularity against their cumulative share.

    Args:
        lines: data: (num_items,) times recommended, most popular item first.
        ratings: (num_items,) ratings, in the same order.
    """
    percent = 100 * np.arange(1, len(ratings) + 1) / len(ratings)
    places = np.unique(np.geomspace(1, len(ratings), 200).round().astype(int)) - 1

    def share(times: np.ndarray) -> np.ndarray:
        return (100 * np.cumsum(times) / max(times.sum(), 1))[places]

    axes.plot(percent[places], share(ratings), color=MUTED, dashes=(4, 2), label="training data")
    for number, label, times in lines:
        axes.plot(percent[places], share(times), color=color(number), label=label)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.01, 0.1, 1, 5, 20, 100) if tick >= percent[0]]
    axes.set_xticks(ticks, [f"{tick:g}%" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(0, 101, 25), [f"{tick}%" for tick in range(0, 101, 25)])
    axes.set_xlabel("most popular part of the catalogue")
    axes.set_ylabel("share it takes")
    axes.legend(fontsize=9.5)


def bars(axes: Axes, labels: Sequence[str], counts: Sequence[float], x_name: str, y_name: str) -> None:
    """A bar per label."""
    axes.bar(range(len(labels)), counts, color=SERIES[0], width=0.7)
    axes.set_xticks(range(len(labels)), labels, rotation=0 if max(map(len, labels)) < 6 else 40)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def long_tail(axes: Axes, counts: np.ndarray) -> None:
    """Ratings per item, most popular first, with the items that take the first half of all ratings marked."""
    ordered = np.sort(counts)[::-1]
    place = np.arange(1, len(ordered) + 1)
    half = int(np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)) + 1
    axes.fill_between(place[:half], ordered[:half], color=SERIES[1], alpha=0.55)
    axes.fill_between(place[half - 1 :], ordered[half - 1 :], color=SERIES[0], alpha=0.55)
    axes.set_xlim(1, len(ordered))
    axes.set_ylim(0)
    axes.axvline(half, color=MUTED, linewidth=1)
    axes.annotate(
        f"half of all ratings go to {half:,} items ({half / len(ordered):.0%});\n"
        f"the other half to {len(ordered) - half:,}",
        (half, ordered[0] * 0.8), (8, 0), textcoords="offset points", va="center", fontsize=10,
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("items, most popular first")
    axes.set_ylabel("ratings")


def by_value(axes: Axes, lines: Sequence[Line], x_name: str, y_name: str) -> None:
    """A line with points per entry, over rating values; data: value -> figure."""
    for number, label, points in lines:
        axes.plot(list(points), list(points.values()), color=color(number), marker=marker(number), label=label)
    values = sorted({value for line in lines for value in line.data})
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_ylim(0)
    if len(lines) > 1:
        axes.legend(fontsize=9.5)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def groups(axes: Axes, names: Sequence[str], lines: Sequence[Line], x_name: str) -> None:
    """For each group, the first on top, a point with its interval per entry.

    Args:
        names: of the groups.
        lines: data: (value, low, high) per group, NaN if missing.
    """
    step = 0.8 / (len(lines) + 1)
    for shift, (number, label, points) in enumerate(lines):
        place = np.arange(len(names)) + (shift - (len(lines) - 1) / 2) * step
        value, low, high = np.array(points).T
        axes.hlines(place, low, high, color=color(number), linewidth=1.6)
        axes.plot(value, place, marker(number), color=color(number), markersize=4.5, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    for place in np.arange(len(names) - 1) + 0.5:
        axes.axhline(place, color=GRID, linewidth=0.7)
    axes.set_xlabel(x_name)
    if len(lines) > 1:
        axes.figure.legend(loc="outside upper left", ncols=3, fontsize=9)

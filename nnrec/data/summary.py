"""A summary of ratings, as a dictionary for the run folder and as a table for the screen."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.data.ratings import Ratings
from nnrec.data.stoplist import print_caught, records

if TYPE_CHECKING:
    from rich.console import Console

TAIL_SHARES = (1, 10, 20)  # percent of items, most popular first
MAX_DISTINCT = 12  # values listed one by one; more are gathered into bins
NUM_BINS = 10


def summarise(ratings: Ratings) -> dict[str, Any]:
    """Counts, density, long tail, values, times, weights, notes and what a stoplist removed, in plain JSON types.

    `long_tail` maps "top_<p>%" to the share of all ratings that goes to that percentage of the items
    (rounded up), and "gini" to the Gini coefficient of ratings per item, items without one included:
    0 = all equally popular, towards 1 = all ratings on one item. `stoplist` lists every item removed, as item_id,
    title and word, or is None without a stoplist.
    """
    per_item = np.bincount(ratings.item, minlength=ratings.num_items)
    return {
        "users": ratings.num_users,
        "items": ratings.num_items,
        "ratings": len(ratings),
        "density": len(ratings) / (ratings.num_users * ratings.num_items),
        "ratings_per_user": _spread(np.bincount(ratings.user, minlength=ratings.num_users)),
        "ratings_per_item": _spread(per_item),
        "long_tail": _long_tail(per_item),
        "values": _spread(ratings.value) | {"histogram": _histogram(ratings.value)},
        "time": _time(ratings),
        "weights": None if ratings.weight is None else _spread(ratings.weight),
        "events": None if ratings.event is None else _events(ratings.event, ratings.event_names),
        "notes": list(ratings.notes),
        "stoplist": None if ratings.stopped is None else records(ratings.stopped),
    }


def print_summary(summary: dict[str, Any], console: Console | None = None) -> None:
    """Prints what `summarise` returned as a table, with a bar per value, and the titles that a stoplist removed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("Data", f"{summary['users']:,} users, {summary['items']:,} items, {summary['ratings']:,} ratings")
    table.add_row("Density", f"{summary['density']:.3%}")
    for what in ("user", "item"):
        table.add_row(f"Per {what}", _in_words(summary[f"ratings_per_{what}"]))
    tail = summary["long_tail"]
    shares = ", ".join(f"{tail[f'top_{share}%']:.0%} on the top {share}%" for share in TAIL_SHARES)
    table.add_row("Long tail", f"{shares} of items; Gini {tail['gini']:.2f}")
    if summary["time"] is not None:
        table.add_row("Time", _span(summary["time"]))
    if summary["weights"] is not None:
        table.add_row("Weights", _in_words(summary["weights"]))
    if summary["events"] is not None:
        table.add_row("Events", ", ".join(f"{name} {count:,}" for name, count in summary["events"].items()))
    table.add_row("Values", _in_words(summary["values"]))
    most = max(bar["count"] for bar in summary["values"]["histogram"])
    for bar in summary["values"]["histogram"]:
        label = f"{bar['low']:g}" if bar["low"] == bar["high"] else f"{bar['low']:g} to {bar['high']:g}"
        share = bar["count"] / summary["ratings"]
        table.add_row(f"  {label}", f"{'█' * round(24 * bar['count'] / most):24} {share:6.1%}  {bar['count']:,}")
    for number, note in enumerate(summary["notes"]):
        table.add_row("" if number else "Notes", note)
    console = console or Console()
    console.print(table, highlight=False, markup=False)
    if summary["stoplist"]:
        print_caught(summary["stoplist"], "Removed by the stoplist (data.json lists all of them):", console)


def _spread(numbers: np.ndarray) -> dict[str, float]:
    as_plain = int if numbers.dtype.kind == "i" else float
    return {
        "min": as_plain(numbers.min()),
        "median": float(np.median(numbers)),
        "mean": float(numbers.mean(dtype=np.float64)),
        "max": as_plain(numbers.max()),
    }


def _long_tail(per_item: np.ndarray) -> dict[str, float]:
    counts = np.sort(per_item)
    total, number = counts.sum(), len(counts)
    ranks = np.arange(1, number + 1)
    shares = {}
    for share in TAIL_SHARES:
        top = math.ceil(number * share / 100)
        shares[f"top_{share}%"] = float(counts[number - top :].sum() / total)
    return shares | {"gini": float((2 * ranks - number - 1) @ counts / (number * total))}


def _histogram(values: np.ndarray) -> list[dict[str, float]]:
    distinct, counts = np.unique(values, return_counts=True)
    lows = highs = distinct
    if len(distinct) > MAX_DISTINCT:
        counts, edges = np.histogram(values, NUM_BINS)
        lows, highs = edges[:-1], edges[1:]
    bars = zip(lows.tolist(), highs.tolist(), counts.tolist(), strict=True)
    return [{"low": low, "high": high, "count": count} for low, high, count in bars]


def _time(ratings: Ratings) -> dict[str, Any] | None:
    if ratings.time is None:
        return None
    if ratings.time_kind == "order":
        return {"kind": "order"}
    first, last = int(ratings.time.min()), int(ratings.time.max())
    return {"kind": "timestamp", "first": _date(first), "last": _date(last), "days": round((last - first) / 86_400, 1)}


def _date(seconds: int) -> str:
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)).isoformat(sep=" ")


def _events(event: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, np.bincount(event, minlength=len(names)).tolist(), strict=True))


def _in_words(spread: dict[str, float]) -> str:
    return f"{spread['min']:,g} to {spread['max']:,g}, median {spread['median']:,g}, mean {spread['mean']:,.4g}"


def _span(time: dict[str, Any]) -> str:
    if time["kind"] == "order":
        return "order within each user only (no dates)"
    return f"{time['first'][:10]} to {time['last'][:10]} ({time['days']:,.0f} days)"

"""Summary of ratings, sessions or impressions: a dictionary for the run folder and a table for the console."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.data.filters.stoplist import print_caught, records
from nnrec.data.impressions import CHUNK_ROWS, Impressions, slices
from nnrec.data.ratings import Ratings
from nnrec.data.sessions import Sessions

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TAIL_SHARES = (1, 10, 20)  # percent of items, most popular first
MAX_DISTINCT = 12  # distinct values listed one by one; more are put into bins
NUM_BINS = 10
MAX_COLUMNS = 20  # maximum number of columns printed
SAMPLED_BLOCKS, SAMPLED_ROWS = 256, 2**14  # sample of data in files: blocks, and rows per block


def summarise(data: Ratings | Sessions | Impressions) -> dict[str, Any]:
    """Returns counts, long tail, times, notes and the items that a stoplist removed, in plain JSON types.

    For ratings also density, values and weights; for sessions also their lengths, the sizes of the publisher's parts
    and, for simulated sessions, the best expected metrics; for impressions also labels and columns, and the counts of
    users and items only if there are such columns.

    `long_tail` maps "top_<p>%" to the share of all ratings (events) on the most popular p percent of the items
    (rounded up), and "gini" to the Gini coefficient of ratings (events) per item, items without one included:
    0 = all equally popular, towards 1 = all on one item. For ratings in files, medians and histograms of values and
    weights, and the counts of events, come from a sample. `stoplist` lists every removed item with item_id, title and
    word; it is None without a stoplist.
    """
    if isinstance(data, Impressions):
        return _of_impressions(data)
    return _of_sessions(data) if isinstance(data, Sessions) else _of_ratings(data)


def _of_ratings(ratings: Ratings) -> dict[str, Any]:
    value, per_item = _sampled(ratings, "value"), ratings.support
    low, high = ratings.scale
    return {
        "users": ratings.num_users,
        "items": ratings.num_items,
        "ratings": len(ratings),
        "density": len(ratings) / (ratings.num_users * ratings.num_items),
        "ratings_per_user": _spread(ratings.activity),
        "ratings_per_item": _spread(per_item),
        "long_tail": _long_tail(per_item),
        "values": _spread(value) | {"min": low, "max": high, "histogram": _histogram(value)},
        "time": _time(ratings),
        "weights": None if ratings.weight is None else _spread(_sampled(ratings, "weight")),
        "events": None if ratings.event is None else _events(_sampled(ratings, "event"), ratings.event_names),
        "notes": list(ratings.notes),
        "stoplist": None if ratings.stopped is None else records(ratings.stopped),
    }


def _sampled(data: Ratings | Sessions, name: str) -> np.ndarray:
    """Returns an array of ratings or sessions; from files, a sample of evenly spread entries."""
    array = getattr(data, name)
    if isinstance(array, np.ndarray):
        return array
    starts = np.unique(np.linspace(0, len(array), SAMPLED_BLOCKS, endpoint=False).astype(np.int64))
    ends = np.minimum(starts + SAMPLED_ROWS, np.append(starts[1:], len(array)))
    return np.concatenate([array.slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])


def _of_sessions(sessions: Sessions) -> dict[str, Any]:
    return {
        "sessions": sessions.num_sessions,
        "items": sessions.num_items,
        "events": len(sessions),
        "events_per_session": _spread(sessions.lengths),
        "events_per_item": _spread(sessions.support),
        "lengths": _lengths(sessions.lengths),
        "long_tail": _long_tail(sessions.support),
        "time": _time(sessions),
        "kinds": None if sessions.event is None else _events(_sampled(sessions, "event"), sessions.event_names),
        "parts": None if sessions.part is None else _events(sessions.part, ("training", "test")),
        "best": None if sessions.best is None else dict(sessions.best),
        "notes": list(sessions.notes),
        "stoplist": None if sessions.stopped is None else records(sessions.stopped),
    }


def _of_impressions(data: Impressions) -> dict[str, Any]:
    label = np.asarray(data.label)
    ones = int(np.count_nonzero(label == 1))
    if ones + int(np.count_nonzero(label == 0)) == len(label):  # without sorting them
        found = {0.0: len(label) - ones, 1.0: ones}
        bars: Any = [{"low": value, "high": value, "count": number} for value, number in found.items() if number]
        spread = {"min": float(label.min()), "mean": ones / len(label), "max": float(label.max())}
    else:
        bars, spread = _histogram(label), _spread(label)
    summary: dict[str, Any] = {
        "rows": len(data),
        "labels": spread | {"histogram": bars},
        "columns": _columns(data),
        "time": _time(data),
        "parts": None if data.part is None else _events(np.asarray(data.part), ("training", "validation", "test")),
        "notes": list(data.notes),
        "stoplist": None,
    }
    for name, number in (("user", data.num_users), ("item", data.num_items)):
        if number:
            counts = data.count_of(getattr(data.schema, name))
            summary |= {f"{name}s": number, f"rows_per_{name}": _spread(counts)}
            if name == "item":
                summary["long_tail"] = _long_tail(counts)
    return summary


def _columns(data: Impressions) -> list[dict[str, Any]]:
    """Returns name, kind, number of values (for numbers: min, mean, max) and share of missing values per column."""
    schema, rows = data.schema, len(data)
    empty = {name: 0 for name in schema.columns}
    lowest, highest, total = ({name: edge for name in schema.numeric} for edge in (math.inf, -math.inf, 0.0))
    for which in slices(rows, CHUNK_ROWS):
        part = data.rows(which)
        for place, name in enumerate(schema.categorical):
            empty[name] += int((part.codes[:, place] < 0).sum())
        for name, bag in zip(schema.multi, part.bags, strict=True):
            empty[name] += int((np.diff(bag.offsets) == 0).sum())
        for place, name in enumerate(schema.numeric):
            some = part.numbers[:, place][~np.isnan(part.numbers[:, place])]
            empty[name] += len(which) - len(some)
            lowest[name] = min(lowest[name], float(some.min(initial=math.inf)))
            highest[name] = max(highest[name], float(some.max(initial=-math.inf)))
            total[name] += float(some.sum(dtype=np.float64))
    kinds = {name: kind for kind in ("categorical", "multi", "numeric") for name in getattr(schema, kind)}
    columns: list[dict[str, Any]] = []
    for name, kind in kinds.items():
        column: dict[str, Any] = {"name": name, "kind": kind, "missing": empty[name] / rows}
        if kind != "numeric":
            column["values"] = len(data.levels[name])
        elif empty[name] < rows:
            column |= {"min": lowest[name], "mean": total[name] / (rows - empty[name]), "max": highest[name]}
        columns.append(column)
    return columns


def print_summary(summary: dict[str, Any], console: Console | None = None) -> None:
    """Prints a summary (see `summarise`) as a table with bars, and the titles that a stoplist removed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    add = _add_impressions if "rows" in summary else _add_sessions if "sessions" in summary else _add_ratings
    add(table, summary)
    for number, note in enumerate(summary["notes"]):
        table.add_row("" if number else "Notes", note)
    console = console or Console()
    console.print(table, highlight=False, markup=False)
    if summary["stoplist"]:
        print_caught(summary["stoplist"], "Removed by the stoplist (data.json lists all of them):", console)


def _add_ratings(table: Table, summary: dict[str, Any]) -> None:
    table.add_row("Data", f"{summary['users']:,} users, {summary['items']:,} items, {summary['ratings']:,} ratings")
    table.add_row("Density", f"{summary['density']:.3%}")
    for what in ("user", "item"):
        table.add_row(f"Per {what}", _in_words(summary[f"ratings_per_{what}"]))
    table.add_row("Long tail", _tail_in_words(summary["long_tail"]))
    if summary["time"] is not None:
        table.add_row("Time", _span(summary["time"], "user"))
    if summary["weights"] is not None:
        table.add_row("Weights", _in_words(summary["weights"]))
    if summary["events"] is not None:
        table.add_row("Events", ", ".join(f"{name} {count:,}" for name, count in summary["events"].items()))
    table.add_row("Values", _in_words(summary["values"]))
    _add_bars(table, summary["values"]["histogram"])


def _add_sessions(table: Table, summary: dict[str, Any]) -> None:
    sizes = f"{summary['sessions']:,} sessions, {summary['items']:,} items, {summary['events']:,} events"
    table.add_row("Data", sizes)
    if summary["parts"] is not None:
        table.add_row("Parts", ", ".join(f"{name} {count:,} sessions" for name, count in summary["parts"].items()))
    table.add_row("Per item", f"{_in_words(summary['events_per_item'])} events")
    table.add_row("Long tail", _tail_in_words(summary["long_tail"]))
    if summary["time"] is not None:
        table.add_row("Time", _span(summary["time"], "session"))
    if summary["kinds"] is not None:
        table.add_row("Kinds", ", ".join(f"{name} {count:,}" for name, count in summary["kinds"].items()))
    if summary["best"] is not None:
        table.add_row("Best", ", ".join(f"{name} {figure:.4f}" for name, figure in summary["best"].items()))
    table.add_row("Lengths", f"{_in_words(summary['events_per_session'])} events")
    _add_bars(table, summary["lengths"])


def _add_impressions(table: Table, summary: dict[str, Any]) -> None:
    whose = "".join(f", {summary[name]:,} {name}" for name in ("users", "items") if name in summary)
    table.add_row("Data", f"{summary['rows']:,} rows{whose}")
    if summary["parts"] is not None:
        table.add_row("Parts", ", ".join(f"{name} {count:,} rows" for name, count in summary["parts"].items()))
    for what in ("user", "item"):
        if f"rows_per_{what}" in summary:
            table.add_row(f"Per {what}", f"{_in_words(summary[f'rows_per_{what}'])} rows")
    if "long_tail" in summary:
        table.add_row("Long tail", _tail_in_words(summary["long_tail"]))
    if summary["time"] is not None:
        table.add_row("Time", _span(summary["time"], "user"))
    labels = summary["labels"]
    if {bar["low"] for bar in labels["histogram"]} <= {0, 1} and len(labels["histogram"]) <= 2:
        table.add_row("Labels", f"{labels['mean']:.2%} are 1")
    else:
        table.add_row("Labels", _in_words(labels))
        _add_bars(table, labels["histogram"])
    table.add_row("Columns", f"{len(summary['columns'])}")
    for column in summary["columns"][:MAX_COLUMNS]:
        if column["kind"] == "numeric":
            told = (
                f"{column['min']:,g} to {column['max']:,g}, mean {column['mean']:,.4g}" if "min" in column else "none"
            )
        else:
            told = f"{column['values']:,} values" + (", any number in a row" if column["kind"] == "multi" else "")
        missing = f"; missing in {column['missing']:.1%}" if column["missing"] else ""
        table.add_row(f"  {column['name']}", told + missing)
    if len(summary["columns"]) > MAX_COLUMNS:
        table.add_row("", f"and {len(summary['columns']) - MAX_COLUMNS} more")


def _add_bars(table: Table, bars: list[dict[str, float]]) -> None:
    """Adds a row for each bar: its range, bar, share and count."""
    counts = [bar["count"] for bar in bars]
    for bar in bars:
        label = f"{bar['low']:g}" if bar["low"] == bar["high"] else f"{bar['low']:g} to {bar['high']:g}"
        share = bar["count"] / sum(counts)
        length = round(24 * bar["count"] / max(counts))
        table.add_row(f"  {label}", f"{'█' * length:24} {share:6.1%}  {bar['count']:,}")


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


def _tail_in_words(tail: dict[str, float]) -> str:
    shares = ", ".join(f"{tail[f'top_{share}%']:.0%} on the top {share}%" for share in TAIL_SHARES)
    return f"{shares} of items; Gini {tail['gini']:.2f}"


def _lengths(lengths: np.ndarray) -> list[dict[str, float]]:
    """Returns the number of sessions with 1, 2, 3 to 4, 5 to 8, 9 to 16 ... events.

    The first range is that of the shortest session; the last one ends at the length of the longest.
    """
    powers = np.ceil(np.log2(lengths)).astype(int)  # low < length <= 2 ** power
    counts = np.bincount(powers)
    bars = [
        {"low": 2 ** max(power - 1, 0) + (power > 0), "high": 2**power, "count": int(counts[power])}
        for power in range(int(powers.min()), len(counts))
    ]
    bars[-1]["high"] = int(lengths.max())
    return bars


def _histogram(values: np.ndarray) -> list[dict[str, float]]:
    distinct, counts = np.unique(values, return_counts=True)
    lows = highs = distinct
    if len(distinct) > MAX_DISTINCT:
        counts, edges = np.histogram(values, NUM_BINS)
        lows, highs = edges[:-1], edges[1:]
    bars = zip(lows.tolist(), highs.tolist(), counts.tolist(), strict=True)
    return [{"low": low, "high": high, "count": count} for low, high, count in bars]


def _time(data: Ratings | Sessions | Impressions) -> dict[str, Any] | None:
    if data.time is None:
        return None
    if data.time_kind == "order":
        return {"kind": "order"}
    parts = (data.time.take(rows) for rows in slices(len(data.time), CHUNK_ROWS))
    edges = [(part.min(), part.max()) for part in parts]
    first, last = int(min(low for low, _ in edges)), int(max(high for _, high in edges))
    return {"kind": "timestamp", "first": _date(first), "last": _date(last), "days": round((last - first) / 86_400, 1)}


def _date(seconds: int) -> str:
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)).isoformat(sep=" ")


def _events(event: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, np.bincount(event, minlength=len(names)).tolist(), strict=True))


def _in_words(spread: dict[str, float]) -> str:
    return f"{spread['min']:,g} to {spread['max']:,g}, median {spread['median']:,g}, mean {spread['mean']:,.4g}"


def _span(time: dict[str, Any], whole: str) -> str:
    if time["kind"] == "order":
        return f"order within each {whole} only (no dates)"
    return f"{time['first'][:10]} to {time['last'][:10]} ({time['days']:,.0f} days)"

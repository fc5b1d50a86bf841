"""Readers of shops' click logs with item descriptions, in their publishers' formats."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.encoding.characters import PATH
from nnrec.data.files.tables import Table, read_columns
from nnrec.data.readers.sessions import Log, assemble, read_clicks, with_items
from nnrec.data.sessions import Sessions


def read_bundlerec(folder: str | Path, described: bool = True) -> Sessions:
    """Reads a domain of the bundle recommendation data (Sun et al., SIGIR 2022): shopping sessions at Amazon.

    user_session.csv has the dates of sessions, to the day; sessions without a date are dropped. The events of a session
    are in the order of session_item.csv. Items have a title and a category, the first of their category paths.

    Args:
        folder: folder of session_item.csv, user_session.csv, item_titles.csv and item_categories.csv.
        described: whether to drop events of items without a title.

    Raises:
        DataError: an invalid file, line or value; the message states where.
    """
    folder = Path(folder)

    def read(name: str, columns: Mapping[str, str]) -> Table:
        return read_columns(folder / f"{name}.csv", columns, ",", key="data.source.folder")

    clicks = read("session_item", {"session": "session ID", "item": "item ID"})
    dates = read("user_session", {"session": "session ID", "time": "timestamp"}).frame
    titles = read("item_titles", {"item": "item ID", "title": "titles"}).frame
    paths = read("item_categories", {"item": "item ID", "category": "categories"}).frame
    items = titles.merge(paths, on="item", how="left")
    items["title"] = items["title"].fillna("").map(html.unescape)
    items["category"] = items["category"].fillna("").map(_first_path)
    time = clicks.frame["session"].map(dates.drop_duplicates("session").set_index("session")["time"])
    dated = time.notna()
    kept = dated & clicks.frame["item"].isin(items["item"]) if described else dated
    if not kept.any():
        raise DataError(f"{folder}: no event of session_item.csv has a date in user_session.csv and a title.")
    frame = clicks.frame.assign(time=time)[kept].reset_index(drop=True)
    line = np.flatnonzero(kept)
    sessions = assemble(
        [Log(replace(clicks, frame=frame, where=lambda row: clicks.where(int(line[row]))))], items=items
    )
    left_out = {"of sessions without a date": ~dated, "of items without a title": dated & ~kept}
    notes = [f"Events {what}: left out {int(events.sum()):,}." for what, events in left_out.items() if events.any()]
    return sessions.noted(*notes)


def _first_path(text: str) -> str:
    """Returns the first path: "A > B, C" of "[[A,B, C],[A,D]]"; a comma without a space separates parts of a path."""
    path = html.unescape(text).strip("[]").split("],[")[0]
    return PATH.join(path.replace(", ", "\0").split(",")).replace("\0", ", ")


def read_retailrocket(
    path: str | Path,
    properties: str | Path | None = None,
    category_tree: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    gap_minutes: float | None = 30,
    events: Sequence[str] | None = ("view",),
) -> Sessions:
    """Reads the publisher's files of RetailRocket.

    Properties change over time. An item gets the earliest value in the log: later values could reveal what is to be
    predicted.

    Args:
        path: events.csv.
        properties: item_properties_part1.csv and part2, as a glob: timestamp,itemid,property,value. None = no item
            table.
        category_tree: category_tree.csv, categoryid,parentid: the column category then holds a path of category
            numbers, from general to specific.
        columns: name in nnrec -> property. Default: category = "categoryid". Values that start with an n are numbers.
        gap_minutes: a pause of more than this many minutes starts a new session; None: one session per visitor.
        events: kinds of events to keep, from the weakest to the strongest; None = all.

    Raises:
        DataError: an invalid file, line or value (the message states where), or no item has the property.
        ConfigError: a category tree without properties.
    """
    sessions = read_clicks(
        path, None, "visitorid", "itemid", "timestamp", "event", events, time_unit="ms", gap_minutes=gap_minutes,
        separator=",",
    )  # fmt: skip
    if properties is None:
        if category_tree is not None:
            raise ConfigError(
                "data.source.category_tree needs data.source.properties, which name the items' categories."
            )
        return sessions
    wanted = {"category": "categoryid"} if columns is None else dict(columns)
    roles = {"time": "timestamp", "item": "itemid", "property": "property", "text": "value"}
    found = read_columns(properties, roles, ",", key="data.source.properties").frame
    found = found[found["property"].astype(str).isin(wanted.values())].sort_values("time", kind="stable")
    parts = {}
    for name, key in wanted.items():
        values = found[found["property"].astype(str) == key].drop_duplicates("item").set_index("item")["text"]
        if not len(values):
            raise DataError(f"data.source.columns: no item has the property {key!r}.")
        parts[name] = _numbers(values.astype(str))
    if category_tree is not None and "category" in parts:
        tree = read_columns(category_tree, {"child": "categoryid", "parent": "parentid"}, ",").frame
        parents = dict(zip(tree["child"], tree["parent"], strict=True))
        paths = {category: _path(category, parents) for category in parts["category"].unique()}
        parts["category"] = parts["category"].map(paths)
    return with_items(sessions, pd.DataFrame(parts).rename_axis("item").reset_index())


def _numbers(values: pd.Series) -> pd.Series:
    """Converts values such as "n12.000" to numbers if all have this form; else returns them unchanged."""
    if not values.str.match(r"n-?[\d.]+$").all():
        return values
    return values.str.removeprefix("n").astype(float)


def _path(category: str, parents: Mapping[float, float]) -> str:
    """Returns the path of a category: the numbers of its ancestors, from general to specific, then its own."""
    path, here = [], float(category)
    while here == here and int(here) not in path:  # stop at a cycle
        path.append(int(here))
        here = float(parents.get(here, np.nan))
    return PATH.join(map(str, reversed(path)))

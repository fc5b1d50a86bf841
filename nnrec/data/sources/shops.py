"""Click logs whose items are described in files of their own, in their publishers' layouts."""

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
    """A domain of the bundle recommendation data (Sun et al., SIGIR 2022): shopping sessions at Amazon.

    Sessions are dated to the day by user_session.csv; those that it does not hold are left out. A session's events are
    in the order of session_item.csv. Items have a title and a category, which is the first of their category paths.

    Args:
        folder: holds session_item.csv, user_session.csv, item_titles.csv and item_categories.csv.
        described: whether to leave out events of items that have no title.

    Raises:
        DataError: a file, a line or a value cannot be used; the message says where.
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
    """Of "[[A,B, C],[A,D]]" "A > B, C": commas without a blank stand between the parts of a path."""
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
    """RetailRocket, the publisher's own files.

    A property changes in time. An item is described by the earliest value that the log has of it: a later one could
    tell what is to be predicted.

    Args:
        path: events.csv.
        properties: item_properties_part1.csv and part2, as a glob: timestamp,itemid,property,value. None = no item
            table.
        category_tree: category_tree.csv, categoryid,parentid: then column category is a path of category numbers, from
            the widest on.
        columns: name in nnrec -> property. Default: category = "categoryid". Values that begin with an n are numbers.
        gap_minutes: a pause of more than so many minutes ends a session; None: a session per visitor.
        events: which kinds of events to keep, from the weakest to the strongest; None = all.

    Raises:
        DataError: a file, a line or a value cannot be used, or no item has the property; the message says where.
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
    """Values such as "n12.000" as numbers, where all are; else as they are."""
    if not values.str.match(r"n-?[\d.]+$").all():
        return values
    return values.str.removeprefix("n").astype(float)


def _path(category: str, parents: Mapping[float, float]) -> str:
    """The category's number after those of what it is part of, widest first."""
    path, here = [], float(category)
    while here == here and int(here) not in path:  # a circle would have no end
        path.append(int(here))
        here = float(parents.get(here, np.nan))
    return PATH.join(map(str, reversed(path)))

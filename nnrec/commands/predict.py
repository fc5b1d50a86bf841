"""Runs a prediction: writes lists or scores to a file, or shows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from nnrec.core.console import ProgressBar, console
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS, Family
from nnrec.recommend import writers
from nnrec.recommend.candidates import excluded_items
from nnrec.recommend.lists import audience, lists
from nnrec.recommend.table_format import TableFormat, read_ids
from nnrec.recommend.top_n import POPULAR, TopN
from nnrec.recommend.users import People

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun

# Without output= and user=, the number of users shown, and of items for each.
PREVIEW_PEOPLE, PREVIEW_ITEMS = 5, 5
# The number of liked items shown for one user.
LIKED = 10


def execute(config: Any) -> None:
    """Recommends or scores as configured.

    Args:
        config: the configuration, composed from conf/predict.yaml.

    Raises:
        NnrecError: the prediction cannot be made.
    """
    from omegaconf import OmegaConf

    from nnrec.runs.trained import load_run

    if OmegaConf.is_missing(config, "run"):
        raise ConfigError(
            "Which run? Give the folder of a finished training: run=runs/<model>/<data>/<time>, or latest."
        )
    if config.user is not None and config.users is not None:
        raise ConfigError("Give user=<id> (one person, shown on the screen) or users=[...], not both.")
    output = None if config.output is None else Path(str(config.output))
    file_format = None if output is None else writers.format_of(output, config.format)
    run, table = load_run(config.run), TableFormat(**config.table)
    if config.rows is not None:
        from nnrec.recommend.score_rows import score_file

        score_file(run, config.rows, table.layout, output, file_format)
        return
    excluded = excluded_items(run, config.stoplist, config.candidates, table, config.stopwords)
    context = None if config.context is None else dict(config.context)
    people = audience(run, config.histories if config.requests is None else config.requests, table, context)
    if config.user is not None:
        people = people.select(config.user)
    elif config.users is not None:
        people = people.select(read_ids(config.users, "users", table))
    top = lists(run, config.top_n, config.exclude_seen, excluded)
    if output is not None and file_format is not None:
        write(top, people, output, file_format)
    if config.user is not None:
        show_person(top, people)
    elif output is None:
        show_preview(top, people)


def write(top: TopN, people: Any, path: Path, file_format: str) -> None:
    """Writes the lists of all users, a block at a time.

    Args:
        path: the file; an existing one is replaced once the new one is complete.
        file_format: a key of `nnrec.recommend.writers.FORMATS`.

    Raises:
        RunError: the file cannot be written.
        DataError: no user has an item left.
    """
    rows = by_model = by_fallback = 0
    start = time.perf_counter()
    with writers.writer(path, file_format, top.schema(people)) as append, ProgressBar("Recommend", len(people)) as bar:
        for block in top.blocks(people):
            append(block.table)
            rows += block.table.num_rows
            by_model += block.by_model
            by_fallback += block.by_fallback
            bar.advance(block.people)
            bar.report(f"{bar.done / (time.perf_counter() - start):,.0f} {top.people}/s")
        if not rows:
            raise DataError(
                "Nothing to write: everybody has already seen every item that may be recommended. "
                "exclude_seen=false recommends those too."
            )
    console.print(
        f"Wrote {rows:,} recommendations for {by_model + by_fallback:,} {top.people} to {path} "
        f"in {time.perf_counter() - start:.1f} s.",
        soft_wrap=True,
    )
    if by_fallback:
        console.print(
            f"{top.people.capitalize()} without a known history: {by_fallback:,}. They got the most popular items "
            f"(source={POPULAR}).",
            soft_wrap=True,
        )
    if left := len(people) - by_model - by_fallback:
        console.print(
            f"{top.people.capitalize()} without a row, who know every item that may be recommended: {left:,}.",
            soft_wrap=True,
        )


def show_person(top: TopN, people: Any) -> None:
    """Prints a user's liked items, or a session's events, and the recommendations."""
    told = _TOLD[top.run.family]
    console.print(told(top.run, people))
    block = next(top.blocks(people))
    frame = block.table.to_pandas()
    if not len(frame):
        console.print("Nothing is left to recommend: every item that may be recommended is in the history.")
        return
    popular = bool(block.by_fallback)
    title = f"Recommended by {top.run.config.model.name}:" if not popular else "Most popular (nothing to go by):"
    recommended = _items_table(top.run, title, "rank", "ratings" if popular else "score")
    for row, item in zip(frame.itertuples(), top.run.items.indices(frame["item_id"]), strict=True):
        recommended.add_row(str(row.rank), *_described(top.run, item), _score(row, top.digits))
    console.print(recommended)


def _best_liked(run: TrainedRun, people: People) -> Table | str:
    user_id, history = people.users.ids[people.which[0]], people.histories.take(people.which)
    best, rated = np.argsort(-history.values, kind="stable")[:LIKED], len(history.ids)
    if not rated:
        return f"User {user_id} has no history that the run knows."
    title = f"User {user_id} rated {rated:,} items" + (f"; the best-liked {LIKED}:" if rated > LIKED else ":")
    liked = _items_table(run, title, "rating")
    for item, value in zip(history.ids[best], history.values[best], strict=True):
        liked.add_row(f"{value:g}", *_described(run, item))
    return liked


def _session(run: TrainedRun, people: Any) -> Table | str:
    session_id, events = people.users.ids[people.which[0]], people.events(0)
    if not len(events):
        return f"Session {session_id} has no event of an item that the run knows."
    title = f"Session {session_id} so far" + (
        f", its last {LIKED} of {len(events):,} events:" if len(events) > LIKED else ":"
    )
    table = _items_table(run, title, "event")
    for number, item in list(enumerate(events, start=1))[-LIKED:]:
        table.add_row(str(number), *_described(run, item))
    return table


def _situation(run: TrainedRun, people: Any) -> str:
    row = people.which[0]
    index, known = int(people.index[row]), people.given.iloc[row]
    clicked = (
        "" if index < 0 or people.histories is None else f", who clicked {people.histories.lengths[index]:,} items"
    )
    told = ", ".join(f"{name} {value}" for name, value in known.items() if not pd.isna(value))
    return f"User {people.users.ids[row]}{clicked}" + (f"; {told}:" if told else ":")


def show_preview(top: TopN, people: Any) -> None:
    """Prints the first items of the first few users' lists, and how to get all."""
    first = replace(people, which=people.which[:PREVIEW_PEOPLE])
    frame = pd.concat([block.table.to_pandas() for block in top.blocks(first)])
    table = Table(
        title=f"The first {len(first)} of {len(people):,} {top.people}", title_justify="left", title_style="bold"
    )
    for name in (top.people.removesuffix("s"), "rank", "item"):
        table.add_column(name, justify="right" if name == "rank" else "left")
    for name in _described_columns(top.run):
        table.add_column(name)
    table.add_column("score", justify="right")
    for user_id, rows in frame.groupby(top.who, sort=False):
        shown = rows.head(PREVIEW_ITEMS)
        for row, item in zip(shown.itertuples(), top.run.items.indices(shown["item_id"]), strict=True):
            score = f"{_score(row, 0)} ratings" if row.source == POPULAR else _score(row, top.digits)
            table.add_row(str(user_id) if row.rank == 1 else "", str(row.rank), *_described(top.run, item), score)
        table.add_section()
    console.print(table)
    one = first.users.ids[first.which[0]]
    console.print(f"All {len(people):,} {top.people}: output=recommendations.csv   One of them: user={one}")


# What the run keeps of somebody: what they rated, events of a session, or columns and a history.
_TOLD: dict[Family, Callable[[TrainedRun, Any], Any]] = {
    RATINGS: _best_liked,
    SESSIONS: _session,
    IMPRESSIONS: _situation,
}


def _items_table(run: TrainedRun, title: str, first: str, last: str | None = None) -> Table:
    wide = min(len(title), console.width)  # so that the title is not wrapped
    table = Table(title=escape(title), title_justify="left", title_style="bold", min_width=wide)
    table.add_column(first, justify="right")
    table.add_column("item")
    for name in _described_columns(run):
        table.add_column(name)
    if last:
        table.add_column(last, justify="right")
    return table


def _described_columns(run: TrainedRun) -> list[str]:
    return [name for name in ("title", "genres") if run.item_table is not None and name in run.item_table.columns]


def _described(run: TrainedRun, item: int) -> list[str]:
    """The item's raw id and its cells of the run's item table."""
    cells = [run.items.ids[item]]
    if run.item_table is not None:
        cells += run.item_table[_described_columns(run)].iloc[item].fillna("").tolist()
    return [escape(str(cell)) for cell in cells]


def _score(row: Any, digits: int) -> str:
    return f"{row.score:,.0f}" if row.source == POPULAR else f"{row.score:.{digits}f}"

"""Top-N lists for users, sessions or requests, computed in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.core.errors import ConfigError
from nnrec.data.filters.stoplist import Words
from nnrec.recommend.candidates import excluded_items
from nnrec.recommend.table_format import Ids, TableFormat
from nnrec.recommend.top_n import TopN
from nnrec.recommend.users import known_people, new_people

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun


def recommend(
    run: TrainedRun,
    user: Any = None,
    history: Any = None,
    top_n: int = 10,
    exclude_seen: bool | Literal["auto"] = "auto",
    stoplist: Ids | None = None,
    candidates: Ids | None = None,
    stopwords: Words | None = None,
    context: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Returns all lists in one data frame; see `Run.recommend`."""
    excluded = excluded_items(run, stoplist, candidates, stopwords=stopwords)
    people: Any = audience(run, history, TableFormat(), context)
    people = people if user is None else people.select(user)
    top = lists(run, top_n, exclude_seen, excluded)
    return pa.concat_tables([block.table for block in top.blocks(people)]).to_pandas()


def audience(run: TrainedRun, history: Any, table: TableFormat, context: Mapping[str, Any] | None = None) -> Any:
    """The users, sessions or requests to recommend to.

    Args:
        history: histories of unseen users or sessions, or requests; None = the run's users, or its test sessions.
        table: the layout of a file.
        context: for impression models: column values of all requests.

    Returns:
        `People`, `nnrec.recommend.sessions.RunningSessions` or `nnrec.recommend.impressions.Requests`.

    Raises:
        ConfigError: a context was given for another kind of model.
    """
    if run.family == "impressions":
        from nnrec.recommend.impressions import known_users, requested

        return known_users(run, context) if history is None else requested(run, history, table.layout, context)
    if context:
        raise ConfigError(f"{run.model.name} knows of no context: it was trained on {run.family}.")
    if run.family == "sessions":
        from nnrec.recommend.sessions import running_sessions, tested_sessions

        return tested_sessions(run) if history is None else running_sessions(run, history, table)
    return known_people(run) if history is None else new_people(run, history, table)


def lists(run: TrainedRun, n: int, exclude_seen: bool | Literal["auto"], excluded: np.ndarray | None) -> TopN:
    """The `TopN` class for the run's kind of data.

    Args:
        n, excluded: as in `TopN`.
        exclude_seen: "auto" = true if histories are ratings, else false: users return to items that they have clicked.
    """
    exclude = run.family not in ("sessions", "impressions") if exclude_seen == "auto" else exclude_seen
    if run.family == "sessions":
        from nnrec.recommend.sessions import SessionTopN

        return SessionTopN(run, n, exclude, excluded)
    if run.family == "impressions":
        from nnrec.recommend.impressions import ImpressionTopN

        return ImpressionTopN(run, n, exclude, excluded)
    return TopN(run, n, exclude, excluded)

"""Top-N lists for users, sessions or requests, computed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from nnrec.core.errors import ConfigError
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS, Family
from nnrec.data.filters.stoplist import Words
from nnrec.recommend.candidates import excluded_items
from nnrec.recommend.impressions import ImpressionTopN, known_users, requested
from nnrec.recommend.sessions import SessionTopN, running_sessions, tested_sessions
from nnrec.recommend.table_format import Ids, TableFormat
from nnrec.recommend.top_n import TopN
from nnrec.recommend.users import known_people, new_people

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun


class _OfFamily(NamedTuple):
    """How lists are made for one family of data.

    Attributes:
        kept: the users, sessions or requests that the run itself keeps.
        given: those that the caller gives.
        top_n: the class that ranks items for them.
    """

    kept: Callable[[TrainedRun, Any], Any]
    given: Callable[[TrainedRun, Any, TableFormat, Any], Any]
    top_n: type[TopN]


# Lists are for users by their history, for sessions by their events, or for users in situations.
_BY_FAMILY: dict[Family, _OfFamily] = {
    RATINGS: _OfFamily(
        lambda run, _: known_people(run), lambda run, history, table, _: new_people(run, history, table), TopN
    ),
    SESSIONS: _OfFamily(
        lambda run, _: tested_sessions(run),
        lambda run, history, table, _: running_sessions(run, history, table),
        SessionTopN,
    ),
    IMPRESSIONS: _OfFamily(
        known_users, lambda run, history, table, context: requested(run, history, table.layout, context), ImpressionTopN
    ),
}


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
        ConfigError: a context or a matrix was given for a model that cannot use it.
    """
    if context and not run.family.encoded:
        raise ConfigError(f"{run.model.name} knows of no context: it was trained on {run.family}.")
    if sparse.issparse(history) and run.family != RATINGS:  # nothing else fits into a matrix of users by items
        raise ConfigError(f"A matrix is no history for {run.model.name}: it was trained on {run.family}.")
    family = _BY_FAMILY[run.family]
    return family.kept(run, context) if history is None else family.given(run, history, table, context)


def lists(run: TrainedRun, n: int, exclude_seen: bool | Literal["auto"], excluded: np.ndarray | None) -> TopN:
    """The `TopN` class for the run's kind of data.

    Args:
        n, excluded: as in `TopN`.
        exclude_seen: "auto" = `Family.exclude_seen` of the data.
    """
    exclude = run.family.exclude_seen if exclude_seen == "auto" else exclude_seen
    return _BY_FAMILY[run.family].top_n(run, n, exclude, excluded)

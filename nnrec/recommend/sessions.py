"""Top-N lists of the next items of running sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnrec.batches.protocol import Batch
from nnrec.batches.whole_sessions import blocks
from nnrec.core.console import console
from nnrec.core.errors import DataError, RunError
from nnrec.data.files.tables import MissingColumn
from nnrec.data.readers.sessions import clicks_from_frame, read_clicks
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary
from nnrec.ranking.blocks import EVENTS_AT_A_TIME, filled
from nnrec.ranking.top_items import top_items
from nnrec.recommend.table_format import NEW, TableFormat
from nnrec.recommend.top_n import Block, TopN

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun

# Number of sessions whose lists are in memory at a time.
SESSIONS_AT_A_TIME = 4096


@dataclass(frozen=True)
class RunningSessions:
    """Sessions whose next items are to be recommended.

    Attributes:
        users: raw ids of all sessions, in the order of their first event.
        sessions: their events of items in the run's vocabulary, as its indices; sessions without such events are
            absent.
        which: (m,) the requested sessions, as indices into `users`.
    """

    users: Vocabulary
    sessions: Sessions
    which: np.ndarray

    def __len__(self) -> int:
        return len(self.which)

    @classmethod
    def of(cls, run: TrainedRun, sessions: Sessions) -> RunningSessions:
        """Maps sessions to the run's items; events of unknown items are dropped and counted."""
        index = run.items.indices(sessions.items.ids)
        known = index[sessions.item] >= 0
        if not known.all():
            console.print(
                f"Sessions: left out {int((~known).sum()):,} of {len(known):,} events "
                f"(items unknown to the run: {int((index < 0).sum()):,}).",
                soft_wrap=True,
            )
        kept = sessions.keep(known)
        kept = replace(kept, item=index[kept.item], items=run.items, item_table=None)
        return cls(sessions.ids, kept, np.arange(sessions.num_sessions))

    def select(self, session: Any) -> RunningSessions:
        """Only these sessions, each once, in the given order.

        Args:
            session: a raw id or a list of them.

        Raises:
            DataError: a session is unknown.
        """
        raw = [session] if isinstance(session, str) or not isinstance(session, Iterable) else list(session)
        which = self.users.indices(raw)
        if (which < 0).any():
            unknown = [str(name) for name, index in zip(raw, which, strict=True) if index < 0]
            raise DataError(
                f"Unknown sessions: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}. They are not among "
                f"the {len(self.users):,} sessions given."
            )
        return replace(self, which=pd.unique(which))

    def events(self, number: int) -> np.ndarray:
        """The items of one of the requested sessions, in order."""
        place = int(self.sessions.ids.indices(self.users.ids[self.which[[number]]])[0])
        return np.zeros(0, np.int32) if place < 0 else self.sessions.take(np.array([place])).item


def tested_sessions(run: TrainedRun) -> RunningSessions:
    """The test sessions of the run.

    Raises:
        RunError: the run does not keep them.
    """
    path = run.folder["test_sessions.parquet"]
    if not path.is_file():
        raise RunError(f"{run.folder.path} keeps no sessions (keep_histories=false): give some with histories=<file>.")
    events = pd.read_parquet(path)
    ids, session = np.unique(events["user"], return_inverse=True)
    raw = events["session_id"].to_numpy()[np.searchsorted(events["user"], ids)]
    sessions = Sessions.build(Vocabulary(raw), session, items=run.items, item=events["item"].to_numpy(np.int32))
    return RunningSessions(sessions.ids, sessions, np.arange(len(ids)))


def running_sessions(
    run: TrainedRun, source: Iterable[Any] | pd.DataFrame | str | Path, table: TableFormat
) -> RunningSessions:
    """Reads sessions.

    Args:
        source: a file, a data frame with columns session (optional for one session), item and optionally time, or the
            item ids of one session in order.
        table: the layout of a file.

    Raises:
        DataError: the sessions cannot be read.
    """
    try:
        if isinstance(source, (str, Path)):
            sessions = read_clicks(source, table.session, item=table.item, time=table.time, **table.layout)
        else:
            frame = source if isinstance(source, pd.DataFrame) else pd.DataFrame({"item": list(source)})
            frame = frame if "session" in frame.columns else frame.assign(session=NEW)
            sessions = clicks_from_frame(frame, time="time" if "time" in frame.columns else None)
    except MissingColumn as error:
        raise DataError(f"{error} Name the columns with table.session, table.item and table.time.") from error
    return RunningSessions.of(run, sessions)


class SessionTopN(TopN):
    """Ranks items as the next event of sessions; lists as in `TopN`, with `session_id` instead of `user_id`.

    Items without a training event are recommended only by models with the capability "new_items".
    """

    who, people = "session_id", "sessions"

    def __init__(
        self, run: TrainedRun, n: int = 10, exclude_seen: bool = False, excluded: np.ndarray | None = None
    ) -> None:
        super().__init__(run, n, exclude_seen, excluded)
        if "new_items" not in self.model.capabilities:
            unknown = run.item_counts == 0
            self.excluded = unknown if excluded is None else excluded | unknown

    def blocks(self, people: Any) -> Iterator[Block]:
        schema = self.schema(people)
        place = people.sessions.ids.indices(people.users.ids)
        for start in range(0, len(people), SESSIONS_AT_A_TIME):
            who = people.which[start : start + SESSIONS_AT_A_TIME]
            places, empty = place[who], place[who] < 0
            items, scores = np.full((len(who), self.n), -1, np.int32), np.zeros((len(who), self.n), np.float32)
            known = people.sessions.take(places[~empty])
            found = np.empty((known.num_sessions, self.n), np.int32), np.empty((known.num_sessions, self.n), np.float32)
            for batch in blocks(known, EVENTS_AT_A_TIME):
                self._rank(batch, known, *found)
            items[~empty], scores[~empty] = found
            if empty.any():
                popular = self.popular()
                items[empty, : len(popular)] = popular
                scores[empty, : len(popular)] = self.run.item_counts[popular]
            yield self._block(people.users.ids[who], items, scores, empty, schema)

    def _rank(self, batch: Batch, sessions: Sessions, items: np.ndarray, scores: np.ndarray) -> None:
        """Writes the lists of a batch's sessions into `items` and `scores`."""
        real = batch["session"] >= 0
        session, item = batch["session"][real], batch["item"][real]
        lengths = sessions.lengths[session]
        queries = np.asarray(self.model.encode(batch))[np.flatnonzero(real), lengths - 1]
        rows = min(1024, len(batch["session"]))
        for start in range(0, len(session), rows):
            part = slice(start, start + rows)
            values = np.asarray(self.model.score(filled(queries[part], rows)))[: len(session[part])]
            seen = None
            if self.exclude_seen:
                row, step = np.nonzero(item[part] >= 0)
                column = item[part][row, step]
                seen = {"row": row, "column": column, "weight": np.ones(len(row), np.float32)}
            items[session[part]], scores[session[part]] = top_items(values, self.n, seen=seen, excluded=self.excluded)

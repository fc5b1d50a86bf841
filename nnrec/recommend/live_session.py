"""Recommendations for one running session, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError
from nnrec.ranking.top_items import top_items

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun


class LiveSession:
    """Recommends the next items of a running session. Each event is one step of the model, whose state is kept.

    Args:
        run: the finished run of a session model.
        exclude_seen: whether to leave out the items of the session.

    Raises:
        ConfigError: the run's model is not a session model.

    Example:
        >>> session = run.session()  # doctest: +SKIP
        >>> session.add(214536502)  # doctest: +SKIP
        >>> session.recommend(5)  # doctest: +SKIP
    """

    def __init__(self, run: TrainedRun, exclude_seen: bool = False) -> None:
        self.run, self.exclude_seen = run, exclude_seen
        self.model: Any = run.model
        if not run.family.ordered:
            raise ConfigError(f"{run.model.name} is no model of sessions: use recommend(history=...).")
        self._excluded = run.item_counts == 0
        if "new_items" in self.model.capabilities:
            self._excluded[:] = False
        self._state: Any = None
        self._query: Any = None
        self.items: list[int] = []

    def add(self, item_id: Any) -> bool:
        """Adds an event; returns whether its item is known. An event of an unknown item changes nothing."""
        item = int(self.run.items.indices([item_id])[0])
        if item < 0:
            return False
        self._state, self._query = self.model.advance(self._state, item)
        self.items.append(item)
        return True

    def recommend(self, top_n: int = 10) -> pd.DataFrame:
        """The most likely next items: columns item_id, rank, score and, where known, title.

        Before the first event these are the most popular items, with the number of training events as scores.
        """
        if self._query is None:
            scores = self.run.item_counts[None].astype(np.float32)
        else:
            scores = np.asarray(self.model.score(self._query))
        excluded = self._excluded
        if self.exclude_seen and self.items:
            excluded = excluded.copy()
            excluded[self.items] = True
        items, values = (found[0] for found in top_items(scores, top_n, excluded=excluded))
        listed = items >= 0
        columns = {
            "item_id": self.run.items.ids[items[listed]],
            "rank": np.arange(1, listed.sum() + 1),
            "score": values[listed],
        }
        table = self.run.item_table
        if table is not None and "title" in table.columns:
            columns["title"] = table["title"].to_numpy()[items[listed]]
        return pd.DataFrame(columns)

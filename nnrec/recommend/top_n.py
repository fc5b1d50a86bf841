"""Ranked lists for users, computed in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from nnrec.batches.protocol import Batch
from nnrec.core.errors import ConfigError
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun

MODEL, POPULAR = "model", "popular"


class Block(NamedTuple):
    """The lists of a block of users.

    Attributes:
        people: number of users.
        by_model: number of users who got the model's list.
        by_fallback: number of users who got the popular items.
        table: the lists. Users counted in neither number have no row: no item was left for them.
    """

    people: int
    by_model: int
    by_fallback: int
    table: pa.Table


class TopN:
    """Ranks items for users.

    A list is a table with the columns

        user_id, item_id   raw ids
        rank               from 1; by score, ties by item index
        score              the model's, clipped to the rating scale after ranking; for `popular` the
                           number of ratings that the item had in training
        title              where the run has titles
        source             "model"; or "popular" if the history gives the model no input: then the list holds
                           the items with the most ratings in training

    Args:
        run: the finished run.
        n: length of the lists.
        exclude_seen: whether to leave out the items of the history.
        excluded: (num_items,) boolean, items excluded from all lists; None = no item is.

    Raises:
        ConfigError: n or exclude_seen is invalid.
    """

    who, people, digits = "user_id", "users", 2

    def __init__(
        self, run: TrainedRun, n: int = 10, exclude_seen: bool = True, excluded: np.ndarray | None = None
    ) -> None:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise ConfigError(f"top_n must be a whole number, at least 1. Received: {n!r}")
        if not isinstance(exclude_seen, bool):
            raise ConfigError(f"exclude_seen must be true, false or auto. Received: {exclude_seen!r}")
        self.run, self.n, self.exclude_seen, self.excluded = run, min(int(n), len(run.items)), exclude_seen, excluded
        self.model = run.model
        self._item_ids = pa.array(run.items.ids)
        self._titles = None
        if run.item_table is not None and "title" in run.item_table.columns:
            self._titles = pa.array(run.item_table["title"].astype(object), pa.string(), from_pandas=True)

    def schema(self, people: Any) -> pa.Schema:
        """Names and types of the columns."""
        user_type = pa.int64() if people.users.numeric else pa.string()
        fields = [(self.who, user_type), ("item_id", self._item_ids.type), ("rank", pa.int32())]
        fields += [("score", pa.float32())]
        fields += [] if self._titles is None else [("title", pa.string())]
        return pa.schema([*fields, ("source", pa.string())])

    def blocks(self, people: Any) -> Iterator[Block]:
        """Yields the lists of all users in `people`, in their order; only one block is in memory at a time."""
        schema, start = self.schema(people), 0
        for batch in user_blocks(people.histories, len(self.run.items), people.which):
            size = min(len(batch["index"]), len(people) - start)
            who = people.which[start : start + size]
            start += size
            if not people.trained:
                batch["index"] = np.full_like(batch["index"], -1)
            empty = ~self.model.has_history(batch)[:size]
            items, scores = self._lists(batch, empty)
            yield self._block(people.users.ids[who], items, scores, empty, schema)

    def _lists(self, batch: Batch, empty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(size, n) items, padded with -1, and their scores."""
        shape = (len(empty), self.n)
        items, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        if not empty.all():
            seen = batch if self.exclude_seen else None
            found, values = top_items(
                self.model.score(self.model.encode(batch)), self.n, seen=seen, excluded=self.excluded
            )
            items[:], scores[:] = found[: len(empty)], values[: len(empty)]
            if "rating_scale" in self.model.capabilities:
                scores = np.clip(scores, *np.asarray(self.model.rating_scale))
        if empty.any():
            popular = self.popular()
            items[empty] = -1
            items[empty, : len(popular)] = popular
            scores[empty, : len(popular)] = self.run.item_counts[popular]
        return items, scores

    def popular(self) -> np.ndarray:
        """The items with the most training ratings that are not excluded, at most n."""
        ranked = np.argsort(-self.run.item_counts, kind="stable")
        return ranked[: self.n] if self.excluded is None else ranked[~self.excluded[ranked]][: self.n]

    def _block(
        self, user_ids: np.ndarray, items: np.ndarray, scores: np.ndarray, empty: np.ndarray, schema: pa.Schema
    ) -> Block:
        listed = items >= 0
        row, place = np.nonzero(listed)
        which = pa.array(items[listed])
        columns = {
            self.who: pa.array(user_ids).take(pa.array(row)),
            "item_id": self._item_ids.take(which),
            "rank": (place + 1).astype(np.int32),
            "score": scores[listed],
            "title": None if self._titles is None else self._titles.take(which),
            "source": pa.array([MODEL, POPULAR]).take(pa.array(empty[row].astype(np.int8))),
        }
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        served = listed.any(axis=1)
        return Block(len(empty), int((served & ~empty).sum()), int((served & empty).sum()), table)

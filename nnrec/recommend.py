"""Top-N lists: what may be recommended, and the best of it for each person, a block of people at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from nnrec.batches import Batch
from nnrec.console import console
from nnrec.data.stoplist import Words, catch, in_words, print_caught, read_words, records
from nnrec.errors import ConfigError, DataError
from nnrec.people import Ids, TableFormat, known_people, new_people, read_ids
from nnrec.ranking import top_items, user_blocks

if TYPE_CHECKING:
    from nnrec.api import Run

MODEL, POPULAR = "model", "popular"


def recommend(
    run: Run,
    user: Any = None,
    history: Any = None,
    top_n: int = 10,
    exclude_seen: bool | Literal["auto"] = "auto",
    stoplist: Ids | None = None,
    candidates: Ids | None = None,
    stopwords: Words | None = None,
    context: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """All lists in one data frame; see `Run.recommend`."""
    barred = barred_items(run, stoplist, candidates, stopwords=stopwords)
    people: Any = audience(run, history, TableFormat(), context)
    people = people if user is None else people.select(user)
    top = lists(run, top_n, exclude_seen, barred)
    return pa.concat_tables([block.table for block in top.blocks(people)]).to_pandas()


class Block(NamedTuple):
    """The lists of some people.

    Attributes:
        people: how many they are.
        by_model: how many got the model's list.
        by_fallback: how many got the popular items.
        table: the lists; who is in neither number has no row in it: no item was left.
    """

    people: int
    by_model: int
    by_fallback: int
    table: pa.Table


class TopN:
    """Ranks items for people.

    A list is a table with the columns

        user_id, item_id   raw ids
        rank               from 1; by score, ties by item index
        score              the model's, clipped to the rating scale after ranking; for `popular` the
                           number of ratings that the item had in training
        title              where the run has titles
        source             "model", or "popular" where a history holds no item that the run knows:
                           the items with the most ratings in training

    Args:
        run: the finished run.
        n: length of the lists.
        exclude_seen: whether to leave out what is in the history.
        barred: (num_items,) boolean, what to recommend to nobody; None = nothing is.

    Raises:
        ConfigError: n or exclude_seen is not what it should be.
    """

    who, people, digits = "user_id", "users", 2

    def __init__(self, run: Run, n: int = 10, exclude_seen: bool = True, barred: np.ndarray | None = None) -> None:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise ConfigError(f"top_n must be a whole number, at least 1. Received: {n!r}")
        if not isinstance(exclude_seen, bool):
            raise ConfigError(f"exclude_seen must be true, false or auto. Received: {exclude_seen!r}")
        self.run, self.n, self.exclude_seen, self.barred = run, min(int(n), len(run.items)), exclude_seen, barred
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
        """The lists of everybody in `people`, in their order; only one block is held at a time."""
        schema, start = self.schema(people), 0
        for batch in user_blocks(people.histories, len(self.run.items), people.which):
            size = min(len(batch["index"]), len(people) - start)
            who = people.which[start : start + size]
            start += size
            if not people.trained:
                batch["index"] = np.full_like(batch["index"], -1)
            empty = ~self.model.knows(batch)[:size]
            items, scores = self._lists(batch, empty)
            yield self._block(people.users.ids[who], items, scores, empty, schema)

    def _lists(self, batch: Batch, empty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(size, n) items, -1 where none is left, and their scores."""
        shape = (len(empty), self.n)
        items, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        if not empty.all():
            seen = batch if self.exclude_seen else None
            found, values = top_items(self.model.score(self.model.encode(batch)), self.n, seen=seen, barred=self.barred)
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
        """The items with most ratings that may be recommended, at most n."""
        ranked = np.argsort(-self.run.item_counts, kind="stable")
        return ranked[: self.n] if self.barred is None else ranked[~self.barred[ranked]][: self.n]

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


def audience(run: Run, history: Any, table: TableFormat, context: Mapping[str, Any] | None = None) -> Any:
    """Whom to recommend to: `People`, `nnrec.session_top.RunningSessions` or `nnrec.impression_top.Requests`.

    Args:
        history: of people or sessions from outside the run, or requests; None = the run's users, or the sessions of
            its test.
        table: what a file looks like.
        context: of a model of impressions: values that hold for all.

    Raises:
        ConfigError: a context for a model that knows of none.
    """
    if run.family == "impressions":
        from nnrec.impression_top import known_users, requested

        return known_users(run, context) if history is None else requested(run, history, table.layout, context)
    if context:
        raise ConfigError(f"{run.model.name} knows of no context: it was trained on {run.family}.")
    if run.family == "sessions":
        from nnrec.session_top import running_sessions, tested_sessions

        return tested_sessions(run) if history is None else running_sessions(run, history, table)
    return known_people(run) if history is None else new_people(run, history, table)


def lists(run: Run, n: int, exclude_seen: bool | Literal["auto"], barred: np.ndarray | None) -> TopN:
    """What ranks items for such an audience.

    Args:
        n, barred: as of `TopN`.
        exclude_seen: "auto" = where histories are ratings; people come back to what they have clicked.
    """
    exclude = run.family not in ("sessions", "impressions") if exclude_seen == "auto" else exclude_seen
    if run.family == "sessions":
        from nnrec.session_top import SessionTopN

        return SessionTopN(run, n, exclude, barred)
    if run.family == "impressions":
        from nnrec.impression_top import ImpressionTopN

        return ImpressionTopN(run, n, exclude, barred)
    return TopN(run, n, exclude, barred)


def barred_items(
    run: Run,
    stoplist: Ids | None = None,
    candidates: Ids | None = None,
    table: TableFormat | None = None,
    stopwords: Words | None = None,
) -> np.ndarray | None:
    """(num_items,) boolean, items that nobody may get; None where there is no restriction.

    Ids that the run does not know are counted and reported, and so are the items that words catch.

    Raises:
        DataError: a file cannot be read, the run has no titles to match words against, or no item is left.
        ConfigError: words that cannot be matched.
    """
    barred = np.zeros(len(run.items), bool)
    if stoplist is not None:
        barred[_known(run, stoplist, "stoplist", table)] = True
    if candidates is not None:
        chosen = np.zeros(len(run.items), bool)
        chosen[_known(run, candidates, "candidates", table)] = True
        barred |= ~chosen
    if stopwords is not None:
        barred[_caught(run, stopwords)] = True
    if barred.all():
        given = {"stoplist": stoplist, "candidates": candidates, "stopwords": stopwords}
        names = " and ".join(name for name, ids in given.items() if ids is not None)
        raise DataError(
            f"Nothing is left to recommend: {names} left none of the run's {len(run.items):,} items. Do the ids mean "
            f"the same items as in training? It knows, for example, {', '.join(map(str, run.items.ids[:3]))}."
        )
    return barred if barred.any() else None


def _caught(run: Run, stopwords: Words) -> np.ndarray:
    """Indices of the items that the words catch, which are printed."""
    words = read_words(stopwords, "stopwords")
    found = catch(run.item_table, run.items, words, "stopwords")
    heading = f"stopwords ({in_words(words)}) bar {len(found):,} of {len(run.items):,} items"
    print_caught(records(found), f"{heading}{':' if len(found) else '.'}", console)
    return found["item"].to_numpy()


def _known(run: Run, source: Ids, key: str, table: TableFormat | None) -> np.ndarray:
    """Indices of those ids that the run knows."""
    raw = read_ids(source, key, table or TableFormat())
    index = run.items.indices(raw)
    if unknown := int((index < 0).sum()):
        console.print(
            f"{key}: left out {unknown:,} of {len(index):,} ids, which are unknown to the run.", soft_wrap=True
        )
    return index[index >= 0]

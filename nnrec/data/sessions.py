"""Sessions: sequences of events on items, such as clicks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from nnrec.core.errors import DataError
from nnrec.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions of events, ordered by the time of their first event, then by order of arrival.

    Build one with `Sessions.build`, which sorts; the constructor does not check its arguments. The events of session s
    are those at offsets[s] ... offsets[s + 1] - 1; no session is empty.

    The arrays of the subclass `StoredSessions` are stored in files; `chunks` iterates over the arrays of both.

    Attributes:
        ids: raw session ids in index order.
        items: vocabulary of all items, those without an event included.
        offsets: (num_sessions + 1,) int64, the start of each session in the arrays below.
        item: (n,) int32 indices.
        time: (n,) float64, seconds since 1970 or an order within the session (see `time_kind`), or None: then the
            order of arrival of sessions and events counts as their order in time.
        time_kind: "timestamp", "order" (only comparable within one session), or None without times.
        event: (n,) int16 codes into `event_names`, or None.
        part: (num_sessions,) int8, the publisher's file: 0 = training, 1 = test; None if the publisher has no such
            split.
        expected: (n, num_figures) float32, for simulated data: the metric values expected at each event for the best
            possible predictor given the session so far; NaN for the first event of a session; None if unknown.
        expected_names: the metrics in the columns of `expected`: "recall@20", ...
        item_table: one row per item in index order, columns such as title and category, or None.
        stopped: the items that a stoplist removed (see `nnrec.data.filters.stoplist.catch`), or None without a
            stoplist.
        notes: lines that describe what was read and what filters removed.
    """

    ids: Vocabulary
    items: Vocabulary
    offsets: np.ndarray
    item: np.ndarray
    time: np.ndarray | None = None
    time_kind: Literal["timestamp", "order"] | None = None
    event: np.ndarray | None = None
    event_names: tuple[str, ...] = ()
    part: np.ndarray | None = None
    expected: np.ndarray | None = None
    expected_names: tuple[str, ...] = ()
    item_table: pd.DataFrame | None = None
    stopped: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())

    family: ClassVar[str] = "sessions"
    stored: ClassVar[bool] = False  # whether the events are stored in files
    PER_EVENT: ClassVar[tuple[str, ...]] = ("item", "time", "event", "expected")

    @classmethod
    def build(cls, ids: Vocabulary, session: np.ndarray, **fields: Any) -> Sessions:
        """Builds sessions from unsorted events.

        Args:
            ids: raw session ids, in any order.
            session: (n,) index into `ids` of each event.
            fields: the other attributes; `part` is in the order of `ids`.

        Raises:
            DataError: arrays of different lengths.
        """
        arrays = {name: fields.pop(name) for name in cls.PER_EVENT if fields.get(name) is not None}
        lengths = {"session": len(session)} | {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"Columns of events differ in length. Received: {lengths}")
        counts = np.bincount(session, minlength=len(ids))
        kept = np.flatnonzero(counts)
        arrival = np.full(len(ids), len(session))
        arrival[session[::-1]] = np.arange(len(session))[::-1]  # reversed, so that the first event wins
        order = in_time(session, arrays.get("time"))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        keys = [arrival[kept]]
        if fields.get("time_kind") == "timestamp":
            keys.append(arrays["time"][order[offsets[kept]]])
        arrays = {name: array[order] for name, array in arrays.items()}
        return cls(ids=ids, offsets=offsets, **fields | arrays).take(kept[np.lexsort(keys)])

    def __len__(self) -> int:
        """Number of events."""
        return len(self.item)

    @property
    def num_sessions(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        """Names of the per-event arrays that are not None."""
        return [name for name in self.PER_EVENT if getattr(self, name) is not None]

    @property
    def nbytes(self) -> int:
        """Bytes of the per-event arrays."""
        return sum(getattr(self, name).dtype.itemsize * int(np.prod(getattr(self, name).shape)) for name in self.names)

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yields a per-event array in chunks of consecutive events; in one chunk if it is in memory."""
        yield getattr(self, name)

    @property
    def users(self) -> Vocabulary:
        """An empty vocabulary: sessions have no user ids."""
        return Vocabulary(np.zeros(0, np.int64))

    user_table = None

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that a model for these data needs when it is built."""
        return {"num_items": self.num_items}

    @property
    def lengths(self) -> np.ndarray:
        """(num_sessions,) int64, events per session."""
        return np.diff(self.offsets)

    @cached_property
    def session(self) -> np.ndarray:
        """(n,) int32, the session of each event."""
        return np.repeat(np.arange(self.num_sessions, dtype=np.int32), self.lengths)

    @cached_property
    def support(self) -> np.ndarray:
        """(num_items,) int64, events per item."""
        counts = np.zeros(self.num_items, np.int64)
        for items in self.chunks("item"):
            counts += np.bincount(items, minlength=self.num_items)
        return counts

    @cached_property
    def best(self) -> Mapping[str, float] | None:
        """The expected metrics of the best possible predictor, {"recall@20": ...}, or None if unknown."""
        return self.expected_of(np.ones(len(self), bool))

    def expected_of(self, events: np.ndarray) -> dict[str, float] | None:
        """Returns the means of `expected` over the given events ((n,) boolean mask) without first events of sessions.

        None if the truth is unknown or no event is left.
        """
        if self.expected is None:
            return None
        chosen = self.expected[events]
        chosen = chosen[~np.isnan(chosen).any(axis=1)]
        if not len(chosen):
            return None
        return dict(zip(self.expected_names, chosen.mean(axis=0, dtype=np.float64).tolist(), strict=True))

    def take(self, which: np.ndarray) -> Sessions:
        """Returns the given sessions (a boolean mask or indices) in the given order, in memory; `items` stays whole."""
        which = np.flatnonzero(which) if which.dtype == bool else which
        lengths = self.lengths[which]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        events = np.repeat(self.offsets[which] - offsets[:-1], lengths) + np.arange(offsets[-1])
        arrays: dict[str, Any] = {name: getattr(self, name).take(events, axis=0) for name in self.names}
        part = None if self.part is None else self.part[which]
        return replace(self, ids=self.ids.take(which), offsets=offsets, part=part, **arrays)

    def keep(self, events: np.ndarray) -> Sessions:
        """Returns the sessions with only these events ((n,) boolean mask); sessions left empty are removed."""
        counts = np.bincount(self.session[events], minlength=self.num_sessions)
        arrays: dict[str, Any] = {name: getattr(self, name)[events] for name in self.names}
        some = counts > 0
        offsets = np.concatenate([[0], np.cumsum(counts[some])])
        part = None if self.part is None else self.part[some]
        return replace(self, ids=self.ids.take(some), offsets=offsets, part=part, **arrays)

    def chosen(self, name: str, choose: Callable[[np.ndarray], np.ndarray]) -> Sessions:
        """Returns the sessions with only the events that `choose` keeps; sessions left empty are removed.

        Args:
            name: for sessions in files, name of the new folder for the result, beside these.
            choose: maps the items of events to a boolean mask of the events to keep; it is called for all events in
                order, for sessions in files chunk by chunk.
        """
        return self.keep(choose(self.item))

    def in_memory(self) -> Sessions:
        """Returns the same sessions in memory."""
        return self

    def joined(self, other: Sessions) -> Sessions:
        """Merges with other sessions of the same data, in the order of the class; no session may be in both."""
        both = self.followed_by(other)
        if both.time is None or self.time_kind != "timestamp":
            return both
        return both.take(np.argsort(both.time[both.offsets[:-1]], kind="stable"))

    def followed_by(self, other: Sessions) -> Sessions:
        """Returns these sessions followed by others of the same data; all in memory."""
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in (*self.PER_EVENT, "part")
            if getattr(self, name) is not None
        }
        ids = Vocabulary(self.ids.index.append(other.ids.index))
        offsets = np.concatenate([self.offsets, len(self) + other.offsets[1:]])
        return replace(self, ids=ids, offsets=offsets, **arrays)

    def noted(self, *notes: str) -> Sessions:
        """Returns the same sessions with more lines in `notes`."""
        return replace(self, notes=(*self.notes, *notes))

    def fingerprint(self, *held_out: Sessions) -> str:
        """Returns a hash of sessions, items, times, kinds of events and parts: equal data give the same string.

        Args:
            held_out: further parts of the same data, which are included in the hash.
        """
        digest = hashlib.sha256()
        begun = False
        for ids in self.ids.chunks():
            digest.update(("\n" * begun + "\n".join(map(str, ids))).encode())
            begun = True
        digest.update("\n".join(map(str, self.items.ids)).encode())
        digest.update(np.ascontiguousarray(self.offsets).tobytes())
        for name in ("item", "time", "event"):
            if name in self.names:
                for array in self.chunks(name):
                    digest.update(np.ascontiguousarray(array).tobytes())
        if self.part is not None:
            digest.update(np.ascontiguousarray(self.part).tobytes())
        for part in held_out:
            digest.update(part.fingerprint().encode())
        return digest.hexdigest()[:16]


def in_time(group: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    """Returns (n,) int64, the order of the events by group, then time (if given), then order of arrival.

    Args:
        group: (n,) small non-negative integers, such as indices of sessions or users.
        time: (n,) numbers, or None.
    """
    if time is None:
        return np.argsort(group, kind="stable")
    order = np.argsort(time, kind="stable")
    return order[np.argsort(group[order], kind="stable")]

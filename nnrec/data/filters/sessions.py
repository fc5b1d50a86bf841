"""Filters of sessions, applied before the split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.stoplist import Words, catch, in_words, read_words
from nnrec.data.sessions import Sessions


def filter_sessions(
    sessions: Sessions,
    collapse_repeats: bool = False,
    max_session_length: int | None = None,
    min_session_length: int = 2,
    min_item_support: int = 1,
    stoplist: Words | None = None,
) -> Sessions:
    """Removes items, events and sessions; each filter works on the result of the last and adds a line to `notes`.

    The filters, in order:

    1. `stoplist`: removes items whose title or category contains a word; `Sessions.stopped` lists them.
    2. `collapse_repeats`: of consecutive events on the same item keeps the first, with the strongest kind of event
       among them (the last in `event_names`).
    3. `max_session_length`: removes longer sessions entirely (robots, shared computers, counting errors).
    4. `min_session_length`, `min_item_support`: repeated until both hold. If the publisher has a test file, an item's
       support is its number of training events, and items below the minimum are removed from test sessions too; a
       minimum of 0 or 1 removes no event, so that items only found in the test file stay. Items left without an event
       are removed from the vocabulary and the item table; a minimum of 0 keeps them.

    Args:
        sessions: the sessions.
        collapse_repeats, max_session_length, min_session_length, min_item_support: see above; None = no maximum.
        stoplist: words and phrases, or a file of them; see `nnrec.data.filters.stoplist` for how they match.

    Raises:
        DataError: no event is left; a stoplist cannot be read, or the items have no text to match.
        ConfigError: an argument is out of range.
    """
    check_filters(max_session_length, min_session_length, min_item_support)
    if stoplist is not None:
        sessions = _drop_stopped(sessions, read_words(stoplist, "filters.stoplist"))
    if collapse_repeats:
        sessions = _collapse(sessions)
    if max_session_length is not None:
        sessions = _drop_long(sessions, max_session_length)
    sessions = _drop_rare(sessions, min_session_length, min_item_support)
    return sessions if min_item_support == 0 else _drop_eventless(sessions)


def check_filters(max_session_length: int | None, min_session_length: int, min_item_support: int) -> None:
    """Raises ConfigError if an argument of `filter_sessions` is out of range."""
    least = {"min_session_length": (min_session_length, 1), "min_item_support": (min_item_support, 0)}
    if max_session_length is not None:
        least["max_session_length"] = (max_session_length, max(min_session_length, 1))
    for name, (number, low) in least.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < low:
            raise ConfigError(f"filters.{name} must be a whole number, {low} or more. Received: {number!r}")


def _drop_stopped(sessions: Sessions, words: list[str]) -> Sessions:
    stopped = catch(sessions.item_table, sessions.items, words, "filters.stoplist")
    named = f"Stoplist ({in_words(words)})"
    if not len(stopped):
        return replace(sessions, stopped=stopped).noted(f"{named}: caught no item.")
    allowed = np.ones(sessions.num_items, bool)
    allowed[stopped["item"]] = False
    kept = allowed[sessions.item]
    if not kept.any():
        raise DataError(f"filters.stoplist ({in_words(words)}) leaves none of the {len(sessions):,} events.")
    result = _restrict(_without(sessions, kept), allowed)
    return replace(result, stopped=stopped).noted(
        f"{named}: removed {len(stopped):,} items with {len(sessions) - len(result):,} events."
    )


def _collapse(sessions: Sessions) -> Sessions:
    kept = np.append(True, np.diff(sessions.item) != 0)
    kept[sessions.offsets[:-1]] = True
    if kept.all():
        return sessions
    if sessions.event is not None:
        strongest = np.maximum.reduceat(sessions.event, np.flatnonzero(kept))
        event = sessions.event.copy()
        event[kept] = strongest
        sessions = replace(sessions, event=event)
    return _without(sessions, kept).noted(f"Repeats in a row: removed {int((~kept).sum()):,} events.")


def _drop_long(sessions: Sessions, longest: int) -> Sessions:
    kept = sessions.lengths <= longest
    if kept.all():
        return sessions
    if not kept.any():
        raise DataError(
            f"filters.max_session_length={longest} leaves none of the {sessions.num_sessions:,} sessions: raise it."
        )
    result = sessions.take(kept)
    return result.noted(
        f"Sessions of more than {longest:,} events: removed {sessions.num_sessions - result.num_sessions:,} with "
        f"{len(sessions) - len(result):,} events (the longest had {int(sessions.lengths.max()):,})."
    )


def _drop_rare(sessions: Sessions, per_session: int, per_item: int) -> Sessions:
    session, item = sessions.session, sessions.item
    counted = np.ones(len(sessions), bool) if sessions.part is None else (sessions.part == 0)[session]
    kept = np.ones(len(sessions), bool)
    while True:
        still = kept & (np.bincount(session[kept], minlength=sessions.num_sessions) >= per_session)[session]
        if per_item > 1:
            still &= (np.bincount(item[kept & counted], minlength=sessions.num_items) >= per_item)[item]
        if still.sum() == kept.sum():
            break
        kept = still
    if not (kept & counted).any():
        where = "" if sessions.part is None else "training "
        raise DataError(
            f"filters.min_session_length={per_session} and filters.min_item_support={per_item} leave none of the "
            f"{int(counted.sum()):,} {where}events: lower them."
        )
    if kept.all():
        return sessions
    result = _without(sessions, kept)
    gone, fewer = len(sessions) - len(result), sessions.num_sessions - result.num_sessions
    return result.noted(
        f"Minimum counts ({per_session} events per session, {per_item} per item): removed {gone:,} events and "
        f"{fewer:,} sessions."
    )


def _drop_eventless(sessions: Sessions) -> Sessions:
    some = sessions.support > 0
    if some.all():
        return sessions
    return _restrict(sessions, some).noted(f"Left without an event: removed {int((~some).sum()):,} items.")


def _without(sessions: Sessions, kept: np.ndarray) -> Sessions:
    """Returns the kept events; without `expected` if it depends on a removed event."""
    result = sessions.keep(kept)
    survives = np.bincount(sessions.session[kept], minlength=sessions.num_sessions) > 0
    if sessions.expected is None or kept[survives[sessions.session]].all():
        return result
    return replace(result, expected=None, expected_names=())


def _restrict(sessions: Sessions, items: np.ndarray) -> Sessions:
    """Reduces vocabulary and item table to some items (mask), which must include all items of the events."""
    table = sessions.item_table
    return replace(
        sessions,
        items=sessions.items.take(items),
        item=(np.cumsum(items) - 1).astype(np.int32)[sessions.item],
        item_table=None if table is None else table[items].reset_index(drop=True),
    )

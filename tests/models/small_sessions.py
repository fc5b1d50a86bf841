"""Sessions and batches of them from lists of items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.data.sessions import Sessions
from nnrec.data.vocabulary import Vocabulary


def sessions_of(clicks: Sequence[Sequence[int]], num_items: int) -> Sessions:
    """Sessions in the order given, without times."""
    return Sessions.build(
        ids=Vocabulary(range(len(clicks))),
        session=np.repeat(np.arange(len(clicks)), [len(session) for session in clicks]),
        items=Vocabulary(range(num_items)),
        item=np.array(list(chain.from_iterable(clicks)), np.int32),
    )


def batch_of_sessions(clicks: Sequence[Sequence[int]], width: int | None = None) -> Batch:
    """The sessions side by side, -1 behind their ends."""
    width = max(map(len, clicks)) if width is None else width
    items = np.full((len(clicks), width), -1, np.int32)
    for row, session in enumerate(clicks):
        items[row, : len(session)] = session
    return {"item": items}


def scores_after(model, *clicks: Sequence[int]) -> np.ndarray:
    """(sessions, num_items) scores after the last event of each session."""
    queries = np.asarray(model.encode(batch_of_sessions(clicks)))
    last = [len(session) - 1 for session in clicks]
    return np.asarray(model.score(queries[np.arange(len(clicks)), last]))


def random_clicks(num_sessions: int, num_items: int, longest: int = 8, seed: int = 0) -> list[list[int]]:
    """Random sessions of 1 to `longest` events; small items are more frequent."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, num_sessions)
    return [(num_items * rng.random(length) ** 2).astype(int).tolist() for length in lengths]

"""Classical session models: NumPy, SciPy and Numba, no Keras, trained in one call."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.core.errors import ConfigError
from nnrec.data.sessions import Sessions
from nnrec.models.base.fitted import Fitted
from nnrec.models.base.session_scorer import SessionScorer

Decay = Literal["same", "div", "linear", "log", "quadratic"]


class SessionBaseline(Fitted, SessionScorer):
    """A model that one call of `fit` trains on the training sessions.

    A subclass implements `fit`, which calls `fit_backoff`, and `add`. A query holds the session's latest items, see
    `latest`. Items that the model scores have scores above 0. All other items follow by popularity, with the negative
    scores of `backoff`, so that lists are complete.

    Args:
        num_items: size of the data.
        memory_limit: memory in GB that fitting and scoring may use; None = the free memory.
        name: the model's name in the configuration.

    Attributes:
        window: number of the session's latest items in a query; None = all.
        backoff: (num_items,) float32, -level / number of levels, where level 1 has the items with the most training
            events, level 2 those with the next smaller number, and so on; from -1 to below 0.
    """

    window: int | None = 1
    learnt: tuple[str, ...] = ("backoff",)
    smaller = "Drop rare items (data.filters)"

    def __init__(self, num_items: int, *, memory_limit: float | None = None, name: str) -> None:
        super().__init__(memory_limit=memory_limit, name=name)
        self.num_items = num_items

    @property
    def sizes(self) -> str:
        return f"{self.num_items:,} items"

    def fit_backoff(self, train: Sessions) -> None:
        """Sets `backoff` from the items' numbers of training events."""
        counts, level = np.unique(-train.support, return_inverse=True)
        self.backoff = (-(level + 1) / len(counts)).astype(np.float32)

    def add(self, queries: np.ndarray, scores: np.ndarray) -> None:
        """Writes the model's scores, in place, over those of `backoff`.

        Args:
            queries: (M, W) int32, see `latest`.
            scores: (M, num_items) float32, initially `backoff` in each row.
        """
        raise NotImplementedError

    def encode(self, batch: Batch) -> np.ndarray:
        """(B, T, W) int32, see `latest`; W = T where the window is unlimited."""
        return latest(batch["item"], self.window)

    def score(self, queries: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        """(M, num_items) or (M, m) float32."""
        queries = np.ascontiguousarray(queries, np.int32)
        scores = np.tile(self.backoff, (len(queries), 1))
        self.add(queries, scores)
        return scores if items is None else scores[:, items]


def latest(items: np.ndarray, window: int | None) -> np.ndarray:
    """Returns the latest items at each event of a batch of sessions.

    Args:
        items: (B, T) integers, -1 behind the end of a session.
        window: W, the number of latest items; None = T.

    Returns:
        (B, T, W) int32 view: at [b, t] the items t, t - 1, t - 2, ... of session b, then -1.
    """
    width = max(items.shape[1], 1) if window is None else window
    before = np.full((len(items), width - 1), -1, np.int32)
    longer = np.concatenate([before, items.astype(np.int32)], axis=1)
    return np.lib.stride_tricks.sliding_window_view(longer, width, axis=1)[:, :, ::-1]


def sets_of(train: Sessions) -> sparse.csr_array:
    """(num_sessions, num_items) float32: 1 where an item occurs in a session."""
    ones = np.ones(len(train), np.float32)
    shape = train.num_sessions, train.num_items
    matrix = sparse.csr_array((ones, train.item, train.offsets), shape=shape, copy=True)
    matrix.sum_duplicates()  # in place
    matrix.data[:] = 1
    return matrix


def put_rows(matrix: sparse.csr_array, rows: np.ndarray, scores: np.ndarray) -> None:
    """Writes the entries of some rows of a matrix into `scores`, (len(rows), columns); row -1 has no entries."""
    known = np.flatnonzero(rows >= 0)
    found = matrix[rows[known]]
    scores[np.repeat(known, np.diff(found.indptr)), found.indices] = found.data


def decays(kind: Decay, steps: int) -> np.ndarray:
    """(steps,) float64 weights at the distances x = 1, 2, ... steps.

    same 1; div 1 / x; linear max(0, 1 - x / 10); log 1 / log10(x + 1.7); quadratic 1 / x^2.
    """
    x = np.arange(1, steps + 1, dtype=np.float64)
    if kind == "same":
        return np.ones(steps)
    if kind == "linear":
        return np.maximum(0, 1 - x / 10)
    if kind == "log":
        return 1 / np.log10(x + 1.7)
    return 1 / x if kind == "div" else 1 / x**2


def check_one_of(key: str, value: Any, options: Any) -> None:
    """Raises ConfigError unless the value is one of the options of a Literal type."""
    if value not in get_args(options):
        raise ConfigError(f"model.{key} must be one of {', '.join(get_args(options))}. Received: {value}")


def check_at_least(**settings: tuple[float, float]) -> None:
    """Raises ConfigError at the first setting, given as (value, least allowed value), that is too small."""
    for key, (value, least) in settings.items():
        if not value >= least:
            raise ConfigError(f"model.{key} must be at least {least:g}. Received: {value}")

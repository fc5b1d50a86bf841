"""Evaluation of session models: next-item prediction on held-out sessions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import nnrec.evaluation.metrics as metrics
from nnrec.batches.session_segments import of_kind
from nnrec.batches.whole_sessions import blocks
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sessions import Sessions
from nnrec.evaluation.outcomes.sessions import SessionOutcome
from nnrec.models.base.session_scorer import SessionScorer
from nnrec.ranking.blocks import BLOCK_ENTRIES, EVENTS_AT_A_TIME, filled
from nnrec.ranking.top_items import competing_ranks, top_items

Depth = Literal["accuracy", "ranking", "all"]
Ties = Literal["standard", "median", "conservative"]
# Metrics are reported for all tie rules if the rules differ by this much in a metric (its third digit).
VISIBLE = 0.0005
# Metrics as functions of the rank of the actual next item.
FIGURES = {
    "recall": metrics.hit_rate_at,
    "mrr": metrics.reciprocal_rank_at,
    "ndcg": metrics.discounted_gain_at,
}
SLICED = ("recall", "mrr")  # metrics that are also reported for known items and for new items separately


@dataclass(frozen=True)
class NextItemEvaluation:
    """Evaluates a session model by next-item prediction.

    Every event of every held-out session, except the first, is predicted from the events before it. All items of the
    training part are ranked, those already in the session included; the rank of the actual next item determines the
    metrics (Hidasi et al. 2016, Session-based Recommendations with Recurrent Neural Networks, section 4). Over all
    predicted events:

        recall@k   share of events whose item has a rank of at most k
        mrr@k      mean of 1 / rank, 0 beyond k
        ndcg@k     mean of 1 / log2(1 + rank), 0 beyond k

    By default, held-out events of items without a training event are dropped first, so that the remaining events of the
    session follow each other directly; their number is reported. Models that can score such items (capability
    "new_items") are evaluated on the same events.

    With `new_items`, events of new items are predicted as well: `recall_new@k` is over these events only,
    `recall_known@k` over the others, `recall@k` over all; likewise `mrr`. Models without the capability "new_items" see
    sessions without the new items, rank by popularity if nothing else precedes the event, and miss every new item: its
    rank is the last.

    If scores tie, the rank is 1 + the number of items scored higher (`standard`), the last rank of the tied items
    (`conservative`), or the mean of both (`median`). If the rules differ visibly in a metric, it is also reported for
    the other two rules (`recall_median@k`).

    The lists before the last predicted event of each session give `catalogue_coverage@k`, `gini@k`,
    `popularity_rank@k` and `popularity_share@k`, at the largest cutoff.

    Args:
        cutoffs: list lengths k.
        ties: tie rule of the metrics whose names contain none.
        new_items: whether held-out events of items without a training event are predicted.
        event: kind of event to predict; None = all kinds. Events of every kind are part of the history.

    Raises:
        ConfigError: no cutoff, or one below 1; an unknown `ties`.
    """

    cutoffs: Sequence[int] = (20, 10, 5, 1)
    ties: Ties = "standard"
    new_items: bool = False
    event: str | None = None

    family = "sessions"

    def __post_init__(self) -> None:
        if not self.cutoffs or any(not isinstance(k, int) or k < 1 for k in self.cutoffs):
            raise ConfigError(f"evaluation.cutoffs must list whole numbers from 1 on. Received: {list(self.cutoffs)}")
        if self.ties not in ("standard", "median", "conservative"):
            raise ConfigError(f"evaluation.ties must be standard, median or conservative. Received: {self.ties!r}")

    def monitor(self, model: SessionScorer) -> str:
        """Returns the metric that selects the best epoch by default."""
        return f"mrr@{max(self.cutoffs)}"

    def best_reachable(self, train: Sessions, held_out: Sessions) -> dict[str, float]:
        """Returns the metrics of the best possible prediction by name; empty unless it is known (simulated data)."""
        kept, predicted = self.to_predict(held_out, train.support > 0)
        return kept.expected_of(predicted) or {}

    def to_predict(self, held_out: Sessions, known: np.ndarray) -> tuple[Sessions, np.ndarray]:
        """Returns the held-out sessions to evaluate, and (n,) boolean, which of their events are predicted.

        Args:
            held_out: all held-out sessions.
            known: (num_items,) boolean, the items with a training event.

        Raises:
            DataError: no event is left to predict.
            ConfigError: the data have no events of the kind `event`.
        """
        kept = held_out if self.new_items else predictable(held_out, known)

        def wanted(sessions: Sessions) -> np.ndarray:
            mask = of_kind(sessions, self.event)
            mask[sessions.offsets[:-1]] = False
            return mask

        some = np.bincount(kept.session[wanted(kept)], minlength=kept.num_sessions) > 0
        if not some.any():
            raise DataError(f"Nothing can be predicted: no held-out event is of the kind {self.event!r}.")
        kept = kept.take(some)
        return kept, wanted(kept)

    def check(self, held_out: Sessions) -> None:
        """Checks, before training, that there is something to predict.

        Raises:
            DataError: no session has two events.
        """
        if len(held_out) and held_out.lengths.max() < 2:
            raise DataError("No held-out session has two events: there is nothing to predict.")

    def __call__(
        self, model: SessionScorer, train: Sessions, held_out: Sessions, depth: Depth = "all"
    ) -> SessionOutcome:
        """Evaluates a trained model on held-out sessions.

        Args:
            model: trained.
            train: the sessions that the model was trained on.
            held_out: sessions to predict.
            depth: "accuracy" and "ranking" = ranks of the next items; "all" = also the properties of whole lists.

        Raises:
            DataError: nothing can be predicted, or training part and held-out part share a session.
            TrainingError: a score is not a number.
        """
        check_apart(train, held_out)
        known = train.support > 0
        kept, predicted = self.to_predict(held_out, known)
        measured = SessionOutcome.of(kept, predicted)
        able = "new_items" in model.capabilities
        self._score(model, train.support, able, measured, depth == "all")
        self._figures(measured)
        new = predicted & ~known[kept.item]
        if self.new_items:
            self._slices(measured, {"known": predicted & ~new, "new": new})
        if depth == "all":
            if not self.new_items and (dropped := len(held_out) - len(kept)) and self.event is None:
                measured.notes.append(
                    f"Left out: {dropped:,} of {len(held_out):,} held-out events, which are of items without a "
                    "training event, or alone in their session without these."
                )
            if new.any() and not able:
                measured.notes.append(
                    f"{int(new.sum()):,} of {int(predicted.sum()):,} events are of items without a training event, "
                    f"which {model.name} cannot score: it misses them."
                )
            self._lists(measured, train)
        return measured

    def _score(
        self, model: SessionScorer, support: np.ndarray, able: bool, measured: SessionOutcome, with_lists: bool
    ) -> None:
        """Fills in ranks and lists; `able` = the model can score items without a training event."""
        held_out, known = measured.sessions, support > 0
        catalogue = np.ones_like(known) if able else known
        width = min(max(self.cutoffs), held_out.num_items)
        if with_lists:
            measured.lists = np.full((held_out.num_sessions, width), -1, np.int32)
            measured.scores = np.zeros(measured.lists.shape, np.float32)
        rows = int(np.clip(BLOCK_ENTRIES // held_out.num_items, 1, 1024))

        def rank(event: np.ndarray, scores: np.ndarray) -> None:
            target = held_out.item[event]
            places = competing_ranks(scores, target, catalogue)
            measured.places[:, event] = np.where(catalogue[target], places, held_out.num_items)
            if with_lists and (last := is_last[event]).any():
                who = held_out.session[event[last]]
                measured.lists[who], measured.scores[who] = top_items(scores[last], width, excluded=~catalogue)

        visible = catalogue[held_out.item]
        shown = held_out if visible.all() else held_out.keep(visible)
        seen = np.cumsum(visible) - visible
        before = seen - seen[held_out.offsets[:-1]][held_out.session]  # visible events of the session before this one
        number = np.cumsum(np.bincount(held_out.session[visible], minlength=held_out.num_sessions) > 0) - 1
        events = np.flatnonzero(measured.predicted)
        is_last = np.zeros(len(held_out), bool)
        is_last[events[np.append(np.diff(held_out.session[events]) > 0, True)]] = True
        blind, events = events[before[events] == 0], events[before[events] > 0]
        first = np.searchsorted(number[held_out.session[events]], np.arange(shown.num_sessions + 1))
        seconds = 0.0
        with ProgressBar("evaluating", len(shown), transient=True) as bar:
            for batch in blocks(shown, EVENTS_AT_A_TIME):
                started = time.perf_counter()
                real = np.flatnonzero(batch["session"] >= 0)
                session = batch["session"][real]
                counts = first[session + 1] - first[session]
                row, event = np.repeat(real, counts), events[ranges(first[session], counts)]
                queries = np.asarray(model.encode(batch))[row, before[event] - 1]
                for start in range(0, len(row), rows):
                    part = slice(start, start + rows)
                    scores = np.asarray(model.score(filled(queries[part], rows)))[: len(row[part])]
                    rank(event[part], scores)
                seconds += time.perf_counter() - started
                bar.advance(int((batch["item"] >= 0).sum()))
                bar.report("events")
            for start in range(0, len(blind), rows):
                part = blind[start : start + rows]
                rank(part, np.repeat(support[None].astype(np.float32), len(part), axis=0))
        measured.users_per_second = held_out.num_sessions / max(seconds, 1e-9)

    def _slices(self, measured: SessionOutcome, slices: dict[str, np.ndarray]) -> None:
        """Adds metrics over subsets of the events; `slices` maps each subset's name to its events, (n,) boolean."""
        for name, events in slices.items():
            if events.any():
                places = self._tied(measured.places[:, events])
                found = {f"{figure}_{name}@{k}": FIGURES[figure](places, k) for figure in SLICED for k in self.cutoffs}
                measured.add_events(found, events)

    def _tied(self, places: np.ndarray) -> np.ndarray:
        """(m,) ranks by the tie rule, from (2, m) ranks with ties in the item's favour and against it."""
        standard, conservative = places.astype(np.float64)
        return {"standard": standard, "median": (standard + conservative) / 2, "conservative": conservative}[self.ties]

    def _figures(self, measured: SessionOutcome) -> None:
        standard, conservative = measured.places[:, measured.predicted].astype(np.float64)
        places = {"standard": standard, "median": (standard + conservative) / 2, "conservative": conservative}
        for name, figure in FIGURES.items():
            measured.add_events({f"{name}@{k}": figure(places[self.ties], k) for k in self.cutoffs})
        for name, figure in FIGURES.items():
            gap = max(np.mean(figure(standard, k) - figure(conservative, k)) for k in self.cutoffs)
            if gap >= VISIBLE:
                others = {ties: place for ties, place in places.items() if ties != self.ties}
                for ties, place in others.items():
                    measured.add_events({f"{name}_{ties}@{k}": figure(place, k) for k in self.cutoffs})

    def _lists(self, measured: SessionOutcome, train: Sessions) -> None:
        k, lists, counts = max(self.cutoffs), measured.lists, train.support
        measured.figures[f"catalogue_coverage@{k}"] = metrics.catalogue_coverage(lists, train.num_items)
        measured.figures[f"gini@{k}"] = metrics.gini(metrics.times_listed(lists, train.num_items))
        measured.add(
            {
                f"popularity_rank@{k}": metrics.mean_popularity_rank(lists, counts),
                f"popularity_share@{k}": metrics.popularity_share(lists, counts),
            }
        )


def predictable(held_out: Sessions, known: np.ndarray) -> Sessions:
    """Returns the held-out events of known items, in the sessions that have at least two of them.

    Args:
        held_out: all held-out sessions.
        known: (num_items,) boolean, the items with a training event.

    Raises:
        DataError: no session is left.
    """
    kept = held_out.keep(known[held_out.item])
    kept = kept.take(kept.lengths > 1)
    if not len(kept):
        raise DataError(
            "Nothing can be predicted: no held-out session has two events of items that the training part knows. "
            "Train on more of the data, or hold out later sessions in smaller number."
        )
    return kept


def check_apart(train: Sessions, held_out: Sessions) -> None:
    """Checks that no held-out session is in the training part.

    Raises:
        DataError: a held-out session is in the training part.
    """
    shared = train.ids.indices(held_out.ids.ids) >= 0
    if shared.any():
        raise DataError(
            f"{int(shared.sum()):,} of {len(shared):,} held-out sessions are in the training part, for example session "
            f"{held_out.ids.ids[np.argmax(shared)]}: figures would mean nothing. Mend the split."
        )


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns counts[0] consecutive integers from first[0] on, then counts[1] from first[1] on, and so on."""
    return np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())

"""Evaluation of user-item models: rating accuracy, ranking of held-out items, and properties of whole lists."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import nnrec.evaluation.metrics as metrics
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.evaluation.leave_one_out import SingleTargets
from nnrec.evaluation.metrics.rankings import RANKING
from nnrec.evaluation.outcomes.ratings import Outcome
from nnrec.evaluation.responsiveness import responsiveness
from nnrec.models.base.baseline import matrix
from nnrec.models.base.scorer import Scorer
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items
from nnrec.splits.split import HeldOut

Depth = Literal["accuracy", "ranking", "all"]
# The columns of the item table that make up its content.
CONTENT = ("genres", "title")
# If ratings are stored in files, item similarities are computed from a sample of this many ratings.
SAMPLE = 4_000_000


@dataclass(frozen=True)
class Evaluation:
    """Evaluates a model that scores items for users. `nnrec.evaluation.metrics` defines the metrics.

    Rating accuracy: `rmse` and `mae` over all held-out ratings, weighted by their weights. Predictions are
    clipped to the scale of the training ratings.

    Ranking: each user's items are ranked against the full catalogue, without the items of the user's history.
    Metrics are averaged over the users with at least one relevant held-out item: `recall@k` (or
    `recall_min@k`), `precision@k`, `ndcg@k`, `map@k`, `mrr@k`, `hit_rate@k`, `arhr@k`, `serendipity@k`. In
    lists, ties go to the lower item index. If every user has one held-out item and ties change a hit rate,
    `hit_rate_<ties>@k` and `mrr_<ties>@k` are reported for the tie rules `standard`, `median` and
    `conservative`.

    Lists as a whole: `catalogue_coverage@k`, `gini@k`, `diversity@k`, `novelty@k` (self-information in bits),
    `popularity_rank@k`, `popularity_share@k`; at the first cutoff only, `responsiveness@k` and
    `lists_changed@k` (see `nnrec.evaluation.responsiveness`).

    With a `threshold`, if the model's scores are ratings: `user_coverage@k` and, if every user has one held-out
    item, `cumulative_hit_rate@k` over the users whose item has a predicted rating of at least the threshold.

    Args:
        cutoffs: list lengths k.
        relevant: held-out ratings of at least this value are relevant; None = all ratings.
        truncated_recall: whether recall@k is divided by min(k, number of relevant items) as in Liang et al.
            (2018) and named `recall_min@k`, instead of by the number of relevant items.
        threshold: predicted ratings of at least this value count as good recommendations.
        diversity: item similarity behind `diversity@k`: "training" (cosine of the items' training ratings) or
            "content" (titles and genres).

    Raises:
        ConfigError: no cutoff, or one below 1; an unknown `diversity`.
    """

    family = "ratings"
    cutoffs: Sequence[int] = (10, 20)
    relevant: float | None = None
    truncated_recall: bool = False
    threshold: float | None = None
    diversity: Literal["training", "content"] = "training"

    def __post_init__(self) -> None:
        if not self.cutoffs or any(not isinstance(k, int) or k < 1 for k in self.cutoffs):
            raise ConfigError(f"evaluation.cutoffs must list whole numbers from 1 on. Received: {list(self.cutoffs)}")
        if self.diversity not in ("training", "content"):
            raise ConfigError(f"evaluation.diversity must be training or content. Received: {self.diversity!r}")

    def monitor(self, model: Scorer) -> str:
        """Returns the metric that selects the best epoch by default."""
        return "rmse" if "rating_scale" in model.capabilities else f"ndcg@{max(self.cutoffs)}"

    def best_reachable(self, train: Ratings, held_out: HeldOut) -> dict[str, float]:
        """Returns the metrics of the best possible prediction by name; empty unless it is known (simulated data)."""
        target = held_out.target
        if target.expected is None or not len(target):
            return {}
        return {"rmse": metrics.rmse(target.value, target.expected, target.weight)}

    def check(self, held_out: HeldOut) -> None:
        """Checks, before training, that all metrics can be computed on these data.

        Raises:
            DataError: no held-out rating is relevant; or items have no content although `diversity` is "content".
        """
        if not len(held_out.target):
            return
        highest = held_out.target.scale[1]
        if self.relevant is not None and highest < self.relevant:
            raise DataError(
                f"No held-out rating reaches evaluation.relevant={self.relevant}: the highest is {highest:g}."
            )
        if self.diversity == "content":
            _content_parts(held_out.target)

    def __call__(self, model: Scorer, train: Ratings, held_out: HeldOut, depth: Depth = "all") -> Outcome:
        """Evaluates a trained model on held-out ratings.

        Args:
            model: trained, and prepared to score the users of `held_out`.
            train: the ratings that the model was trained on.
            held_out: histories to score from, and the ratings to predict.
            depth: "accuracy" = rating accuracy only; "ranking" = also the ranking of relevant items; "all" = also
                the properties of whole lists.

        Raises:
            DataError: a held-out entry is in the histories; or as in `check`.
        """
        self.check(held_out)
        check_disjoint(held_out)
        users = np.unique(held_out.target.user)
        singles = SingleTargets.among(held_out.target) if depth == "all" else None
        measured = self._score(model, held_out, users, depth != "accuracy", singles)
        if measured.predictions is not None:
            _accuracy(measured, held_out.target)
        if depth != "accuracy":
            self._ranking(measured, train, held_out)
        if depth == "all":
            self._whole_lists(measured, train)
            if singles is not None:
                singles.measure(measured, self.cutoffs, self.relevant, self.threshold)
            measured.figures |= responsiveness(model, held_out, self.cutoffs[0])
            self._thresholds(model, measured)
        return measured

    def describe(self, model: Scorer, train: Ratings) -> Outcome:
        """Evaluates the lists of all users of `train` as a whole; nothing is held out."""
        nothing = train.take(np.zeros(0, np.int64))
        measured = self._score(model, HeldOut(train, nothing), np.flatnonzero(train.activity), ranked=True)
        measured.predictions = None
        self._whole_lists(measured, train)
        self._thresholds(model, measured)
        return measured

    def _score(
        self, model: Scorer, held_out: HeldOut, users: np.ndarray, ranked: bool, singles: SingleTargets | None = None
    ) -> Outcome:
        target, histories = held_out.target, held_out.history.rows("user")
        offsets = np.searchsorted(target.user, np.arange(target.num_users + 1))
        predictions, lists, scores = [np.empty(0, np.float32)], [], []
        accuracy = "rating_scale" in model.capabilities
        seconds = 0.0
        with ProgressBar("evaluating", len(users), transient=True) as bar:
            for batch in user_blocks(histories, target.num_items, users):
                block = batch["index"][batch["index"] >= 0]
                started = time.perf_counter()
                queries = model.encode(batch)
                if ranked:
                    found = model.score(queries)
                    items, values = top_items(found, max(self.cutoffs), seen=batch)
                    seconds += time.perf_counter() - started
                    lists.append(items[: len(block)])
                    scores.append(values[: len(block)])
                    if singles is not None:
                        singles.add(np.asarray(found), batch, block)
                if accuracy:
                    lengths = offsets[block + 1] - offsets[block]
                    rows = np.repeat(np.arange(len(block)), lengths)
                    entries = slice(offsets[block[0]], offsets[block[-1] + 1])
                    predictions.append(model.score_pairs(queries, rows, target.item[entries]))
                bar.advance(len(block))
                if ranked:
                    bar.report("users")
        measured = Outcome(users)
        if accuracy:
            measured.predictions = np.clip(np.concatenate(predictions), *np.asarray(model.rating_scale))
        if ranked:
            measured.lists, measured.scores = np.concatenate(lists), np.concatenate(scores)
            measured.users_per_second = len(users) / max(seconds, 1e-9)
        return measured

    def _ranking(self, measured: Outcome, train: Ratings, held_out: HeldOut) -> None:
        target = held_out.target
        relevant = target if self.relevant is None else target.take(target.value >= self.relevant)
        wanted = relevant.rows("user").take(measured.users)
        names = [name for name in RANKING if name != ("recall" if self.truncated_recall else "recall_min")]
        found = metrics.ranking_per_user(measured.lists, wanted.offsets, wanted.ids, self.cutoffs, names)
        hit, histories = metrics.hits(measured.lists, wanted.offsets, wanted.ids), held_out.history.rows("user")
        found_at, done = [], 0
        for seen in histories.parts(measured.users):
            lists = measured.lists[done : done + len(seen)]
            found_at.append(metrics.popularity_places(lists, train.support, seen.offsets, seen.ids))
            done += len(seen)
        places = np.concatenate(found_at)
        for k in self.cutoffs:
            found[f"serendipity@{k}"] = metrics.serendipity(hit, wanted.lengths, k, places)
        measured.add(found)
        if _too_good(hit, wanted.lengths, target.num_items - histories.lengths[measured.users]):
            measured.notes.append(
                "Nearly every list begins with exactly the items that were held out. No honest model does that: has it "
                "seen them?"
            )

    def _whole_lists(self, measured: Outcome, train: Ratings) -> None:
        counts, num_users = train.support, int(np.count_nonzero(train.activity))
        diversity = _vectors(self.diversity, train)(measured.lists, self.cutoffs)
        for k in self.cutoffs:
            lists = measured.lists[:, :k]
            times = metrics.times_listed(lists, train.num_items)
            measured.figures[f"catalogue_coverage@{k}"] = metrics.catalogue_coverage(lists, train.num_items)
            if not np.isnan(gini := metrics.gini(times)):
                measured.figures[f"gini@{k}"] = gini
            measured.add(
                {
                    f"diversity@{k}": diversity[k],
                    f"novelty@{k}": metrics.self_information(lists, counts, num_users),
                    f"popularity_rank@{k}": metrics.mean_popularity_rank(lists, counts),
                    f"popularity_share@{k}": metrics.popularity_share(lists, counts),
                }
            )

    def _thresholds(self, model: Scorer, measured: Outcome) -> None:
        if self.threshold is None:
            return
        if "rating_scale" not in model.capabilities:
            measured.notes.append(
                f"No user coverage and no cumulative hit rate: evaluation.threshold={self.threshold:g} is a rating, "
                f"and the scores of {model.name} are not."
            )
            return
        for k in self.cutoffs:
            measured.add({f"user_coverage@{k}": metrics.user_coverage(measured.scores[:, :k], self.threshold)})


def _accuracy(measured: Outcome, target: Ratings) -> None:
    predictions = measured.predictions
    assert predictions is not None
    measured.figures["rmse"] = metrics.rmse(target.value, predictions, target.weight)
    measured.figures["mae"] = metrics.mae(target.value, predictions, target.weight)
    weight = np.ones(len(target)) if target.weight is None else target.weight
    error = target.value.astype(np.float64) - predictions
    row = np.searchsorted(measured.users, target.user)
    for name, amount in (("squared_error", error**2), ("absolute_error", np.abs(error)), ("weight", 1.0)):
        measured.per_user[name] = np.bincount(row, weights=weight * amount, minlength=len(measured.users))


def _vectors(kind: str, train: Ratings) -> metrics.Diversity:
    """Returns diversity by item vectors: columns of the training matrix (a sample if stored in files), or content."""
    if kind == "training":
        return metrics.Diversity.from_training(matrix(train.sample(SAMPLE)))
    from nnrec.models.knn.content_knn import ContentKNN

    genres, title = (float(part in _content_parts(train)) for part in CONTENT)
    content = ContentKNN(train.num_users, train.num_items, genres=genres, title=title)
    return metrics.Diversity(content.describe(train))


def _content_parts(ratings: Ratings) -> list[str]:
    """Returns the columns of `CONTENT` that the item table has.

    Raises:
        DataError: the item table has neither.
    """
    found = [] if ratings.item_table is None else [part for part in CONTENT if part in ratings.item_table.columns]
    if not found:
        raise DataError(
            f"evaluation.diversity=content compares items by {' and '.join(CONTENT)}, and these data have neither. "
            "Use evaluation.diversity=training, or give items a description (data.source.item_table)."
        )
    return found


def _too_good(hit: np.ndarray, num_relevant: np.ndarray, num_candidates: np.ndarray) -> bool:
    """Whether over 95% of the lists start with exactly the user's relevant items, which suggests leaked data."""
    some = (num_relevant > 0) & (num_relevant <= hit.shape[1])
    if not some.any() or np.mean(num_relevant[some] / num_candidates[some]) > 0.1:
        return False
    first = np.cumsum(hit[some], axis=1)[np.arange(some.sum()), num_relevant[some] - 1]
    return bool(np.mean(first == num_relevant[some]) > 0.95)


def _shown(held_out: HeldOut) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields users and items of the histories; if these are stored in files, only of the evaluated users."""
    history = held_out.history
    if not history.stored:
        yield history.user, history.item
        return
    users, done = np.unique(held_out.target.user), 0
    for rows in history.rows("user").parts(users):
        yield np.repeat(users[done : done + len(rows)], rows.lengths), rows.ids
        done += len(rows)


def check_disjoint(held_out: HeldOut) -> None:
    """Checks that no held-out entry is also in the histories.

    Raises:
        DataError: a held-out entry is in the histories.
    """
    num_items = held_out.target.num_items
    target = held_out.target.user.astype(np.int64) * num_items + held_out.target.item
    # This runs after every epoch. Searching the histories in the few sorted targets takes a tenth of sorting both.
    wanted = np.sort(target)
    for user, item in _shown(held_out):
        history = user.astype(np.int64) * num_items + item
        found = wanted[np.searchsorted(wanted[:-1], history)] == history
        if not found.any():
            continue
        shown = np.isin(target, history[found])
        first = int(np.argmax(shown))
        users, items = held_out.target.users, held_out.target.items
        user, item = users.ids[held_out.target.user[first]], items.ids[held_out.target.item[first]]
        raise DataError(
            f"{int(shown.sum()):,} of {len(shown):,} held-out ratings are in the histories that the model is shown, "
            f"for example user {user} and item {item}: figures would mean nothing. Mend the split."
        )

"""A one-line explanation of each metric, and whether higher or lower values are better."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Meaning(NamedTuple):
    """Whether higher or lower values of a metric are better ("" = neither), and a one-line explanation."""

    better: Literal["higher", "lower", ""]
    text: str


MEANINGS = {
    "rmse": Meaning("lower", "root mean squared error of the predicted ratings, in stars (or whatever ratings are in)"),
    "mae": Meaning("lower", "mean absolute error of the predicted ratings"),
    "auc": Meaning("higher", "chance that something liked is scored above something not liked"),
    "gauc": Meaning("higher", "the same within what one user was shown; users count by their number of rows"),
    "calibration_error": Meaning("lower", "mean difference between predicted probability and what was observed"),
    "log_loss": Meaning("lower", "mean negative log of the probability given to what happened"),
    "recall": Meaning("higher", "share of the relevant held-out items (in sessions: of the next items) in the list"),
    "recall_min": Meaning("higher", "hits divided by k or by the number of relevant items, whichever is smaller"),
    "precision": Meaning("higher", "share of the list that is relevant"),
    "ndcg": Meaning("higher", "hits count the more the nearer the top they stand; 1 = the best order possible"),
    "map": Meaning("higher", "mean over the relevant items of the precision down to each of them"),
    "mrr": Meaning("higher", "1 / place of the first hit, 0 without one"),
    "hit_rate": Meaning("higher", "share of users with at least one hit in the list"),
    "arhr": Meaning("higher", "sum of 1 / place over all hits (average reciprocal hit rank)"),
    "hit_rate_standard": Meaning("higher", "hit rate where ties count in favour of the held-out item"),
    "hit_rate_median": Meaning("higher", "hit rate where a tied item takes the middle place"),
    "hit_rate_conservative": Meaning("higher", "hit rate where ties count against the held-out item"),
    "mrr_standard": Meaning("higher", "1 / place, ties in favour of the held-out item"),
    "mrr_median": Meaning("higher", "1 / place, a tied item in the middle"),
    "mrr_conservative": Meaning("higher", "1 / place, ties against the held-out item"),
    "recall_median": Meaning("higher", "recall where a tied item takes the middle place"),
    "recall_conservative": Meaning("higher", "recall where ties count against the held-out item"),
    "recall_new": Meaning("higher", "recall of items without a training event, among all"),
    "recall_known": Meaning("higher", "recall of items with a training event"),
    "mrr_new": Meaning("higher", "1 / place of an item without a training event"),
    "mrr_known": Meaning("higher", "1 / place of an item with a training event"),
    "ndcg_median": Meaning("higher", "NDCG, a tied item in the middle"),
    "ndcg_conservative": Meaning("higher", "NDCG, ties against the held-out item"),
    "cumulative_hit_rate": Meaning("higher", "hit rate among items predicted at or above the threshold"),
    "serendipity": Meaning("higher", "share of the list that is relevant and not in the most popular items' list"),
    "user_coverage": Meaning("higher", "share of users with a recommendation predicted at or above the threshold"),
    "catalogue_coverage": Meaning("higher", "share of the whole catalogue that is recommended to anybody"),
    "gini": Meaning("lower", "how unequally items are recommended; 0 = all alike, 1 = always the same one"),
    "diversity": Meaning("higher", "1 - mean similarity of the items within a list"),
    "novelty": Meaning("higher", "how rare the recommended items are, in bits: log2(users / ratings of the item)"),
    "popularity_rank": Meaning("higher", "mean place of the recommended items in order of popularity, 1 = top"),
    "popularity_share": Meaning("lower", "share of the list taken from the most popular fifth of the catalogue"),
    "responsiveness": Meaning("higher", "how much of a list changes when its user does one more thing, no retraining"),
    "lists_changed": Meaning("higher", "share of the lists that change at all when their user does one more thing"),
    "seconds": Meaning("lower", "training time, selection and refit together"),
    "users_per_second": Meaning("higher", "users (sessions) scored against the whole catalogue and ranked, per second"),
}


def stem(name: str) -> str:
    """Returns the metric's name without its cutoff: `ndcg` for `ndcg@20`."""
    return name.partition("@")[0]


def better(name: str) -> Literal["higher", "lower", ""]:
    """Returns whether higher or lower is better; "" if neither is, or if the metric is not in `MEANINGS`."""
    meaning = MEANINGS.get(stem(name))
    return meaning.better if meaning else ""


def legend(names: Iterable[str]) -> dict[str, Meaning]:
    """Returns the meanings of the metrics in this order; `ndcg@10` and `ndcg@20` share one entry `ndcg@k`."""
    found = {}
    for name in names:
        key = stem(name)
        if key in MEANINGS:
            found[f"{key}@k" if "@" in name else key] = MEANINGS[key]
    return found


def formatted(value: float) -> str:
    """Returns a metric value with four decimals, or with one from 10 on; a dash for NaN."""
    if value != value:
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"

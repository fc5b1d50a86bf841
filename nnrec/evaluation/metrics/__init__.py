"""Evaluation metrics, as plain functions on NumPy arrays.

`accuracy` compares predictions with values, `ctr` evaluates click probabilities, `rankings` evaluates relevant items in
ranked lists, `lists` evaluates lists as a whole, `change` compares two lists per user, and `statistics` gives
confidence intervals and tests of per-user values. Per-user metrics are (num_users,) float64, NaN for users for whom the
metric is undefined, so that these users are never averaged in as failures.
"""

from nnrec.evaluation.metrics.accuracy import SMALLEST_PROBABILITY, auc, log_loss, mae, rmse
from nnrec.evaluation.metrics.change import changed, churn, rank_biased_overlap
from nnrec.evaluation.metrics.ctr import Calibration, auc_by_group, calibration
from nnrec.evaluation.metrics.lists import (
    Diversity,
    catalogue_coverage,
    gini,
    mean_popularity_rank,
    popularity_places,
    popularity_share,
    ranks_by_popularity,
    self_information,
    serendipity,
    times_listed,
    user_coverage,
)
from nnrec.evaluation.metrics.rankings import (
    average_precision,
    cumulative_hit_rate,
    discounted_gain_at,
    hit_rate,
    hit_rate_at,
    hit_rate_by_value,
    hits,
    mrr,
    ndcg,
    precision,
    ranking_per_user,
    recall,
    reciprocal_hit_rank,
    reciprocal_rank_at,
    target_ranks,
    truncated_recall,
)
from nnrec.evaluation.metrics.statistics import PairedTest, bootstrap_interval, bootstrap_intervals, holm, paired_test

__all__ = [
    "SMALLEST_PROBABILITY",
    "Calibration",
    "Diversity",
    "PairedTest",
    "auc",
    "auc_by_group",
    "average_precision",
    "bootstrap_interval",
    "bootstrap_intervals",
    "calibration",
    "catalogue_coverage",
    "changed",
    "churn",
    "cumulative_hit_rate",
    "discounted_gain_at",
    "gini",
    "hit_rate",
    "hit_rate_at",
    "hit_rate_by_value",
    "hits",
    "holm",
    "log_loss",
    "mae",
    "mean_popularity_rank",
    "mrr",
    "ndcg",
    "paired_test",
    "popularity_places",
    "popularity_share",
    "precision",
    "rank_biased_overlap",
    "ranking_per_user",
    "ranks_by_popularity",
    "recall",
    "reciprocal_hit_rank",
    "reciprocal_rank_at",
    "rmse",
    "self_information",
    "serendipity",
    "target_ranks",
    "times_listed",
    "truncated_recall",
    "user_coverage",
]

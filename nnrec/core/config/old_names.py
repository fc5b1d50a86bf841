"""Import paths that the configurations of release 0.1's runs contain, and their current names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLIC_NAMES = {
    "nnrec.course.CourseEvaluation": "nnrec.evaluation.CourseEvaluation",
    "nnrec.course.CourseSplit": "nnrec.splits.CourseSplit",
    "nnrec.data.ad_logs.read_avazu": "nnrec.data.read_avazu",
    "nnrec.data.ad_logs.read_criteo": "nnrec.data.read_criteo",
    "nnrec.data.catalogues.read_bundlerec": "nnrec.data.read_bundlerec",
    "nnrec.data.catalogues.read_retailrocket": "nnrec.data.read_retailrocket",
    "nnrec.data.clickstreams.read_diginetica": "nnrec.data.read_diginetica",
    "nnrec.data.clickstreams.read_movielens_clicks": "nnrec.data.read_movielens_clicks",
    "nnrec.data.clickstreams.read_yoochoose": "nnrec.data.read_yoochoose",
    "nnrec.data.dsstne.read_dsstne": "nnrec.data.read_dsstne",
    "nnrec.data.hashed_splits.Hashed": "nnrec.splits.Hashed",
    "nnrec.data.hashed_splits.HashedUsers": "nnrec.splits.HashedUsers",
    "nnrec.data.impression_readers.read_impressions": "nnrec.data.read_impressions",
    "nnrec.data.impression_splits.GivenRows": "nnrec.splits.GivenRows",
    "nnrec.data.impression_splits.LastRows": "nnrec.splits.LastRows",
    "nnrec.data.impression_splits.RandomRows": "nnrec.splits.RandomRows",
    "nnrec.data.impression_splits.UsualRows": "nnrec.splits.UsualRows",
    "nnrec.data.libfm.read_frappe": "nnrec.data.read_frappe",
    "nnrec.data.libfm.read_libfm": "nnrec.data.read_libfm",
    "nnrec.data.movielens.read_movielens": "nnrec.data.read_movielens",
    "nnrec.data.movielens_impressions.read_movielens_impressions": "nnrec.data.read_movielens_impressions",
    "nnrec.data.readers.read_table": "nnrec.data.read_table",
    "nnrec.data.session_readers.read_clicks": "nnrec.data.read_clicks",
    "nnrec.data.session_splits.ColdItems": "nnrec.splits.ColdItems",
    "nnrec.data.session_splits.GivenSessions": "nnrec.splits.GivenSessions",
    "nnrec.data.session_splits.LastDays": "nnrec.splits.LastDays",
    "nnrec.data.session_splits.LastSessions": "nnrec.splits.LastSessions",
    "nnrec.data.session_splits.UsualSessions": "nnrec.splits.UsualSessions",
    "nnrec.data.shards.Prepared": "nnrec.splits.Prepared",
    "nnrec.data.shards.read_shards": "nnrec.splits.read_shards",
    "nnrec.data.simulate.simulate_ratings": "nnrec.data.simulate_ratings",
    "nnrec.data.simulate_clicks.simulate_clicks": "nnrec.data.simulate_clicks",
    "nnrec.data.simulate_impressions.simulate_impressions": "nnrec.data.simulate_impressions",
    "nnrec.data.splits.KFold": "nnrec.splits.KFold",
    "nnrec.data.splits.PublisherFold": "nnrec.splits.PublisherFold",
    "nnrec.data.splits.RandomSplit": "nnrec.splits.RandomSplit",
    "nnrec.data.splits.TimeSplit": "nnrec.splits.TimeSplit",
    "nnrec.data.user_splits.HeldOutUsers": "nnrec.splits.HeldOutUsers",
    "nnrec.data.user_splits.LeaveOneOut": "nnrec.splits.LeaveOneOut",
    "nnrec.data.user_splits.UserTimeSplit": "nnrec.splits.UserTimeSplit",
    "nnrec.evaluation.Evaluation": "nnrec.evaluation.Evaluation",
    "nnrec.impression_evaluation.ImpressionEvaluation": "nnrec.evaluation.ImpressionEvaluation",
    "nnrec.next_item.NextItemEvaluation": "nnrec.evaluation.NextItemEvaluation",
    "nnrec.models.als.ALS": "nnrec.models.ALS",
    "nnrec.models.autorec.AutoRec": "nnrec.models.AutoRec",
    "nnrec.models.bias.Bias": "nnrec.models.Bias",
    "nnrec.models.blend.Blend": "nnrec.composed.Blend",
    "nnrec.models.cnn3d.CNN3D": "nnrec.models.CNN3D",
    "nnrec.models.content_knn.ContentKNN": "nnrec.models.ContentKNN",
    "nnrec.models.deepfm.DeepFM": "nnrec.models.DeepFM",
    "nnrec.models.dsstne.DSSTNE": "nnrec.models.DSSTNE",
    "nnrec.models.ease.EASE": "nnrec.models.EASE",
    "nnrec.models.gru4rec.GRU4Rec": "nnrec.models.GRU4Rec",
    "nnrec.models.item2vec.Item2Vec": "nnrec.models.Item2Vec",
    "nnrec.models.item_knn.ItemKNN": "nnrec.models.ItemKNN",
    "nnrec.models.markov.Markov": "nnrec.models.Markov",
    "nnrec.models.mult_dae.MultDAE": "nnrec.models.MultDAE",
    "nnrec.models.mult_vae.MultVAE": "nnrec.models.MultVAE",
    "nnrec.models.popularity.Popularity": "nnrec.models.Popularity",
    "nnrec.models.random.Random": "nnrec.models.Random",
    "nnrec.models.rbm.RBM": "nnrec.models.RBM",
    "nnrec.models.session_item_knn.SessionItemKNN": "nnrec.models.SessionItemKNN",
    "nnrec.models.session_popularity.SessionPopularity": "nnrec.models.SessionPopularity",
    "nnrec.models.sknn.SKNN": "nnrec.models.SKNN",
    "nnrec.models.slim.SLIM": "nnrec.models.SLIM",
    "nnrec.models.svd.SVD": "nnrec.models.SVD",
    "nnrec.models.svdpp.SVDPlusPlus": "nnrec.models.SVDPlusPlus",
    "nnrec.models.user_knn.UserKNN": "nnrec.models.UserKNN",
    "nnrec.models.vsknn.VSKNN": "nnrec.models.VSKNN",
    "nnrec.schedules.Constant": "nnrec.training.Constant",
    "nnrec.schedules.Cosine": "nnrec.training.Cosine",
    "nnrec.schedules.Plateau": "nnrec.training.Plateau",
    "nnrec.schedules.Steps": "nnrec.training.Steps",
    "nnrec.trainer.Trainer": "nnrec.training.Trainer",
}


def current_name(target: str) -> str:
    """Returns the current import path of a target; a path that is not an old one is returned unchanged."""
    return PUBLIC_NAMES.get(target, target)


def with_current_names(config: Any) -> Any:
    """Returns a plain configuration (dicts, lists, values) with the current import path in every `_target_`.

    Keys may be dotted, as in flat settings: `trainer.schedule._target_`.
    """
    if isinstance(config, Mapping):
        return {
            key: current_name(value) if _names_target(key) and isinstance(value, str) else with_current_names(value)
            for key, value in config.items()
        }
    return [*map(with_current_names, config)] if isinstance(config, list) else config


def _names_target(key: Any) -> bool:
    return str(key).rpartition(".")[2] == "_target_"

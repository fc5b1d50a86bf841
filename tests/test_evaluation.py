"""Figures by hand for a model whose scores are fixed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nnrec import ranking
from nnrec.data.ratings import Ratings
from nnrec.data.splits import HeldOut
from nnrec.data.vocabulary import Vocabulary
from nnrec.errors import DataError
from nnrec.evaluation import Evaluation, best_rmse

SCORES = np.array(
    [
        [5, 4, 3, 2, 1],
        [1, 2, 3, 4, 7],
        [3, 3, 3, 3, 3],
        [1, 1, 1, 1, 9],
    ],
    np.float32,
)


class Fixed:
    """Scores users by their row of SCORES; remembers whom it was asked about."""

    capabilities = frozenset({"rating_scale"})
    rating_scale = np.array([1, 5], np.float32)

    def __init__(self):
        self.asked = []

    def encode(self, batch):
        self.asked += batch["index"][batch["index"] >= 0].tolist()
        return np.maximum(batch["index"], 0)

    def score(self, queries, items=None):
        return SCORES[queries]

    def score_pairs(self, queries, rows, items):
        return SCORES[queries[rows], items]


def ratings(entries, weight=None, expected=None) -> Ratings:
    user, item, value = zip(*entries, strict=True)
    return Ratings.build(
        users=Vocabulary(range(4)),
        items=Vocabulary(range(5)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
        expected=None if expected is None else np.array(expected, np.float32),
    )


# User 3 has nothing to be predicted.
HISTORY = ratings([(0, 0, 5), (1, 3, 2), (3, 0, 1)])
TARGET = ratings([(0, 1, 4), (0, 4, 2), (1, 4, 5), (2, 1, 1)])


def test_rating_accuracy():
    # predictions: 4, 1, 7 (clipped to 5), 3: errors 0, 1, 0, 2
    model = Fixed()
    figures = Evaluation()(model, HeldOut(HISTORY, TARGET), ranking=False)
    assert figures == pytest.approx({"rmse": math.sqrt(5 / 4), "mae": 3 / 4})
    assert model.asked == [0, 1, 2]


def test_weights_count():
    # squared errors 0, 1, 0, 4 weigh 1, 2, 1, 1: 6 / 5; absolute ones 4 / 5
    weighted = HeldOut(HISTORY, replace(TARGET, weight=np.array([1, 2, 1, 1], np.float32)))
    assert Evaluation()(Fixed(), weighted, ranking=False) == pytest.approx({"rmse": math.sqrt(6 / 5), "mae": 4 / 5})


def test_ranking():
    # Without what they have seen: user 0 gets 1, 2 (wants 1, 4); user 1 gets 4, 2 (wants 4); user 2 gets 0, 1 by
    # index, all alike (wants 1). User 3 wants nothing.
    figures = Evaluation(cutoffs=(1, 2))(Fixed(), HeldOut(HISTORY, TARGET))
    second = 1 / math.log2(3)
    expected = {
        "recall@1": (1 / 2 + 1 + 0) / 3,
        "recall@2": (1 / 2 + 1 + 1) / 3,
        "precision@1": (1 + 1 + 0) / 3,
        "precision@2": (1 / 2 + 1 / 2 + 1 / 2) / 3,
        "ndcg@1": (1 + 1 + 0) / 3,
        "ndcg@2": (1 / (1 + second) + 1 + second) / 3,
        "mrr@1": 2 / 3,
        "mrr@2": (1 + 1 + 1 / 2) / 3,
        "hit_rate@1": 2 / 3,
        "hit_rate@2": 1,
    }
    assert {name: figures.pop(name) for name in expected} == pytest.approx(expected)
    assert set(figures) == {"rmse", "mae"}


def test_only_high_ratings_are_relevant():
    # 4 and more: user 0 wants 1, user 1 wants 4; user 2 wants nothing and is not averaged in. Accuracy is over all.
    figures = Evaluation(cutoffs=(1,), relevant=4)(Fixed(), HeldOut(HISTORY, TARGET))
    assert (figures["recall@1"], figures["mrr@1"], figures["precision@1"]) == (1, 1, 1)
    assert figures["rmse"] == pytest.approx(math.sqrt(5 / 4))


def test_truncated_recall():
    # user 0 wants two items, of which one place can hold one: 1 / min(1, 2)
    figures = Evaluation(cutoffs=(1,), truncated_recall=True)(Fixed(), HeldOut(HISTORY, TARGET))
    assert figures["recall_min@1"] == pytest.approx((1 + 1 + 0) / 3)
    assert "recall@1" not in figures


def test_nothing_is_relevant():
    with pytest.raises(DataError, match=r"No held-out rating reaches evaluation\.relevant=4\.5: the highest is 4\."):
        Evaluation(relevant=4.5)(Fixed(), HeldOut(HISTORY, ratings([(0, 1, 4), (1, 4, 2)])))


def test_a_model_that_predicts_no_ratings_is_only_ranked():
    model = Fixed()
    model.capabilities = frozenset()
    assert set(Evaluation(cutoffs=(2,))(model, HeldOut(HISTORY, TARGET))) == {
        f"{name}@2" for name in ("recall", "precision", "ndcg", "mrr", "hit_rate")
    }


def test_blocks_of_any_size_give_the_same(monkeypatch):
    whole = Evaluation(cutoffs=(2,))(Fixed(), HeldOut(HISTORY, TARGET))
    for entries in (5, 10):
        monkeypatch.setattr(ranking, "BLOCK_ENTRIES", entries)  # one user at a time, then two
        assert Evaluation(cutoffs=(2,))(Fixed(), HeldOut(HISTORY, TARGET)) == pytest.approx(whole)


def test_lists_longer_than_the_catalogue():
    figures = Evaluation(cutoffs=(50,))(Fixed(), HeldOut(HISTORY, TARGET))
    assert figures["recall@50"] == 1
    assert figures["precision@50"] == pytest.approx((2 + 1 + 1) / 50 / 3)


def test_best_rmse():
    # errors 1, 0.5: (1 + .25) / 2
    assert best_rmse(ratings([(0, 1, 4), (1, 4, 2)], expected=[3, 2.5])) == pytest.approx(math.sqrt(0.625))
    assert best_rmse(TARGET) is None

"""Random: the same scores every time, and different scores for each user."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.batches.rows import RowBatches
from nnrec.models.basic.random import Random
from tests.models.small import batch_of, random_likes, ratings_of


def scores_of(batch, num_items=12, **settings):
    model = Random(40, num_items, **settings)
    return model.score(model.encode(batch))


def test_scores_do_not_depend_on_the_blocks():
    rows = ratings_of(random_likes()).rows("user")
    whole = scores_of(next(RowBatches(rows, 40).epoch()))
    parts = np.concatenate([scores_of(batch)[: len(rows)] for batch in RowBatches(rows, 7).epoch()])
    np.testing.assert_array_equal(parts[:40], whole)


def test_scores_are_uniform_and_unlike_for_users_items_and_seeds():
    batch = batch_of(np.ones((100, 1)))
    scores = scores_of(batch, num_items=1000)
    assert scores.min() >= 0 and scores.max() < 1
    # 100,000 uniform numbers: the mean has a standard error of .0009, the variance 1/12 one of .0002
    assert scores.mean() == pytest.approx(0.5, abs=0.004)
    assert scores.var() == pytest.approx(1 / 12, abs=0.001)
    # 4,950 correlations of 1,000 pairs each, standard error .032
    between = np.corrcoef(scores) - np.eye(100)
    assert np.abs(between).max() < 0.16
    other = scores_of(batch, num_items=1000, seed=1)
    assert abs(np.corrcoef(scores.ravel(), other.ravel())[0, 1]) < 0.015


def test_new_people_are_known_by_their_history():
    # The same three items with other values; two of them; nothing
    scores = scores_of(batch_of([[1, 1, 0, 1], [5, 3, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]], new=True))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.isin(scores[0], np.delete(scores, [0, 1], axis=0)).any()
    assert not np.isin(scores[2], scores[3]).any()


def test_a_known_users_scores_stay_when_the_history_grows():
    np.testing.assert_array_equal(scores_of(batch_of([[1, 0, 0]])), scores_of(batch_of([[1, 1, 0]])))


def test_some_items_are_scored_like_all():
    model, batch = Random(40, 12), batch_of(random_likes())
    queries, items = model.encode(batch), np.array([5, 0, 11])
    np.testing.assert_array_equal(model.score(queries, items), model.score(queries)[:, items])

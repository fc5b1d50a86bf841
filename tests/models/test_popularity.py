"""Popularity: counts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import DataError
from nnrec.models.basic.popularity import Popularity
from tests.models.small import batch_of, ratings_of

VALUES = [[5, 0, 4], [3, 0, 2], [4, 1, 0]]


def scores_of(ratings, items=None, **settings):
    model = Popularity(3, 3, **settings)
    model.fit(ratings)
    return model.score(model.encode(batch_of([[0, 1, 0], [1, 0, 0]], new=True)), items)


def test_counts_the_ratings_of_each_item():
    np.testing.assert_array_equal(scores_of(ratings_of(VALUES)), [[3, 1, 2], [3, 1, 2]])


def test_only_relevant_ratings_count():
    # of 4 and more: item 0 has 5 and 4, item 2 has 4
    np.testing.assert_array_equal(scores_of(ratings_of(VALUES), relevant=4), [[2, 0, 1], [2, 0, 1]])


def test_weights_count():
    weights = [[0.5, 0, 2], [1, 0, 0.25], [2, 3, 0]]
    np.testing.assert_array_equal(scores_of(ratings_of(VALUES, weights)), [[3.5, 3, 2.25], [3.5, 3, 2.25]])


def test_some_items_are_scored_like_all():
    np.testing.assert_array_equal(scores_of(ratings_of(VALUES), np.array([2, 0])), [[2, 3], [2, 3]])


def test_no_relevant_rating_is_refused():
    with pytest.raises(DataError, match="No training rating reaches 6 .* the highest is 5"):
        scores_of(ratings_of(VALUES), relevant=6)

"""ALS: the objective, folding in, weights, the same factors from the same seed."""

from __future__ import annotations

import warnings

import implicit.utils
import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.factors.als import ALS
from tests.models.small import batch_of, random_likes, ratings_of, weighted

LIKES = random_likes()


def fitted(ratings, **settings):
    model = ALS(ratings.num_users, ratings.num_items, **({"factors": 4, "l2": 0.5, "alpha": 3.0} | settings))
    model.fit(ratings)
    return model


def objective(model, likes):
    """The paper's objective (equation 3), with the user factors that minimise it for the item factors."""
    users, items = model.encode(batch_of(likes)).astype(np.float64), model.item_factors.astype(np.float64)
    confidence = 1 + model.alpha * likes
    return np.sum(confidence * (likes - users @ items.T) ** 2) + model.l2 * (np.sum(users**2) + np.sum(items**2))


def test_one_user_by_hand():
    # Two items, factors 1 and 2, one of them liked: (1 + 4 + 3 * 2^2 + .5) x = (1 + 3) * 2
    model = ALS(1, 2, factors=1, l2=0.5, alpha=3.0)
    model.item_factors = np.array([[1], [2]], np.float32)
    queries = model.encode(batch_of([[0, 1]]))
    np.testing.assert_allclose(queries, [[8 / 17.5]], rtol=1e-6)
    np.testing.assert_allclose(model.score(queries), [[8 / 17.5, 16 / 17.5]], rtol=1e-6)


def test_folding_in_is_the_papers_solution():
    model = fitted(ratings_of(LIKES))
    items = model.item_factors.astype(np.float64)
    for user, found in zip(LIKES, model.encode(batch_of(LIKES)), strict=True):
        confidence = np.diag(1 + 3.0 * user)
        expected = np.linalg.solve(items.T @ confidence @ items + 0.5 * np.eye(4), items.T @ confidence @ user)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_objective_falls_to_what_cannot_be_improved():
    models = [fitted(ratings_of(LIKES), iterations=number) for number in (1, 2, 5, 40)]
    values = [objective(model, LIKES) for model in models]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.02 * values[-1]
    best = models[-1]
    for change in (0.97, 1.03):
        models[0].item_factors = best.item_factors * np.float32(change)
        assert objective(models[0], LIKES) > values[-1]


def test_the_same_history_gets_the_same_scores_from_whomever_it_is():
    model = fitted(ratings_of(LIKES))
    known, new = (model.score(model.encode(batch_of(LIKES, new=new))) for new in (False, True))
    np.testing.assert_array_equal(known, new)


def test_nothing_liked_scores_0():
    model = fitted(ratings_of(LIKES * 5), relevant=4)
    assert not model.score(model.encode(batch_of([[3, 1] + [0] * 10]))).any()


def test_only_relevant_ratings_count():
    values = np.where(LIKES > 0, 5, np.random.default_rng(1).integers(0, 4, LIKES.shape))
    with_others, alone = fitted(ratings_of(values), relevant=4), fitted(ratings_of(LIKES))
    np.testing.assert_array_equal(with_others.item_factors, alone.item_factors)
    np.testing.assert_array_equal(with_others.encode(batch_of(values)), alone.encode(batch_of(LIKES)))


def test_weights_multiply_the_confidence():
    twice = fitted(weighted(ratings_of(LIKES), np.full(40, 2.0)), alpha=3.0)
    np.testing.assert_array_equal(twice.item_factors, fitted(ratings_of(LIKES), alpha=6.0).item_factors)
    assert np.abs(twice.item_factors - fitted(ratings_of(LIKES), alpha=3.0).item_factors).max() > 0.001


def test_the_seed_decides():
    ratings = ratings_of(LIKES)
    first, again, other = (fitted(ratings, seed=seed).item_factors for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.001


def test_some_items_are_scored_like_all():
    model, items = fitted(ratings_of(LIKES)), np.array([5, 0, 11])
    queries = model.encode(batch_of(LIKES))
    np.testing.assert_allclose(model.score(queries, items), model.score(queries)[:, items], rtol=1e-5, atol=1e-6)


def test_fitting_is_silent(monkeypatch, capfd):
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(ratings_of(LIKES))
    assert capfd.readouterr() == ("", "")


def test_what_does_not_work_is_refused():
    with pytest.raises(ConfigError, match="model.factors and model.iterations must be 1 or more. Received: 0 and 15"):
        ALS(3, 3, factors=0)
    with pytest.raises(ConfigError, match="model.l2 and model.alpha must be positive. Received: 30.0 and 0"):
        ALS(3, 3, alpha=0)
    with pytest.raises(ConfigError, match="als on 3 users and 3 items needs about"):
        ALS(3, 3, memory_limit=1e-9).check_memory(ratings_of([[1, 1, 1], [0, 0, 0], [0, 0, 0]]))

"""User-kNN: predictions worked out by hand, new users, and that no user is their own neighbour."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nnrec.batches.rows import RowBatches
from nnrec.core.errors import DataError
from nnrec.models.basic.bias import biases
from nnrec.models.knn.user_knn import UserKNN
from tests.models.small import batch_of, random_likes, ratings_of

# Items A, B, C, D. By msd with a user who has B = 5, C = 2:
#   0: ((5 - 4)^2 + (2 - 3)^2) / 2 = 1: 1/2     1: (9 + 9) / 2 = 9: 1/10     2: (0 + 0) / 2: 1     3: C alone, 1: 1/2
RATINGS = np.array(
    [
        [4, 4, 3, 0],
        [2, 2, 5, 0],
        [0, 5, 2, 1],
        [5, 0, 1, 3],
    ]
)
HISTORY = [[0, 5, 2, 0]]


def fitted(values=RATINGS, weights=None, **options) -> UserKNN:
    train = ratings_of(values, weights)
    model = UserKNN(
        train.num_users, train.num_items, **{"scoring": "mean", "similarity": "msd", "neighbours": 5} | options
    )
    model.fit(train)
    return model


def predicted(model: UserKNN, history=HISTORY, item: int = 0, new: bool = True) -> float:
    """The score of one item for the first user, checked to be the same from `score` and `score_pairs`."""
    queries = model.encode(batch_of(np.array(history), new=new))
    assert len(queries) == len(history)
    score = model.score(queries)[0, item]
    assert model.score(queries, np.array([item]))[0, 0] == score
    assert model.score_pairs(queries, np.array([0]), np.array([item]))[0] == pytest.approx(score, rel=1e-6)
    return float(score)


def test_weighted_mean_of_those_who_rated_the_item():
    # Users who have A: 0 (1/2), 1 (1/10), 3 (1/2): (2 + .2 + 2.5) / 1.1
    assert predicted(fitted(form="plain")) == pytest.approx(4.7 / 1.1)


def test_k_nearest_are_those_who_rated_the_item():
    # User 2 is nearest and has no A; 0 and 3 are equally near, and the lower index comes first.
    assert predicted(fitted(form="plain", neighbours=1)) == pytest.approx(4)
    assert predicted(fitted(form="plain", neighbours=2)) == pytest.approx((4 + 5) / 2)


def test_only_the_stored_are_searched():
    model = fitted(form="plain", neighbours=1, stored=1)
    mean, _, item = biases(ratings_of(RATINGS), 5, 5)
    # Only user 2, who has no A: the baseline estimate.
    own = (5 + 2 - 2 * mean - item[1] - item[2]) / (2 + 5)
    assert predicted(model) == pytest.approx(mean + own + item[0], rel=1e-5)
    assert predicted(model, item=3) == pytest.approx(1)


def test_centered():
    # Means: 11/3, 3, 3 (user 3: 9/3), own 3.5: 3.5 + (.5 (4 - 11/3) + .1 (2 - 3) + .5 (5 - 3)) / 1.1
    expected = 3.5 + (0.5 / 3 - 0.1 + 1) / 1.1
    assert predicted(fitted(form="centered")) == pytest.approx(expected, rel=1e-6)


def test_zscore():
    # Standard deviations: 0 of (4, 4, 3), 1 of (2, 2, 5), 3 of (5, 1, 3); own 1.5 of (5, 2)
    first, second, fourth = np.sqrt(2) / 3, np.sqrt(2), np.sqrt(8 / 3)
    expected = 3.5 + 1.5 * (0.5 / 3 / first - 0.1 / second + 1 / fourth) / 1.1
    assert predicted(fitted(form="zscore")) == pytest.approx(expected, rel=1e-6)


def test_baseline():
    mean, user, item = biases(ratings_of(RATINGS), 5, 5)
    own = (5 + 2 - 2 * mean - item[1] - item[2]) / (2 + 5)
    left = [RATINGS[v, 0] - mean - user[v] - item[0] for v in (0, 1, 3)]
    expected = mean + own + item[0] + (0.5 * left[0] + 0.1 * left[1] + 0.5 * left[2]) / 1.1
    assert predicted(fitted(form="baseline")) == pytest.approx(expected, rel=1e-5)


def test_nobody_is_their_own_neighbour():
    # A user known from training, whose own row is excluded from the neighbours.
    values = np.array([[0, 5, 2, 1], *RATINGS[[0, 1, 3]]])
    model = fitted(values, form="plain")
    # D: only user 3 has it as well.
    assert predicted(model, values, item=3, new=False) == pytest.approx(3)
    # msd with a user of the same history is 1: (1 * 1 + s * 3) / (1 + s), s from C and D: (1 + 4) / 2
    s = 1 / 3.5
    assert predicted(model, values[:1], item=3, new=True) == pytest.approx((1 + 3 * s) / (1 + s), rel=1e-6)


def test_somebody_new_is_compared_as_everybody_is():
    """Adjusted cosine and Spearman, whose values are not the ratings themselves."""
    values = np.array([*RATINGS, [3, 5, 2, 4]])
    for similarity in ("adjusted_cosine", "spearman", "pearson_baseline", "pearson"):
        model = fitted(values, similarity=similarity)
        # Only users known from training can be excluded as their own neighbour, so the last is queried by index.
        batch = batch_of(values)
        known, new = model.encode(batch), model.encode(batch | {"index": np.full_like(batch["index"], -1)})
        rest = new.links.toarray()
        np.fill_diagonal(rest, 0)
        np.testing.assert_allclose(known.links.toarray(), rest, rtol=1e-6)
        np.testing.assert_allclose(new.links.toarray(), new.links.toarray().T, rtol=1e-5)  # users: the same values


def test_pearson_is_scipys():
    values = np.random.default_rng(0).integers(1, 6, (6, 8))
    links = fitted(values, similarity="pearson").encode(batch_of(values)).links.toarray()
    expected = np.maximum(np.corrcoef(values), 0)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(links, expected, atol=1e-6)
    assert links[0, 1] == pytest.approx(max(stats.pearsonr(values[0], values[1]).statistic, 0), abs=1e-6)


def test_min_overlap_and_shrinkage():
    # Two in common with 0 and 1 (and with 2, who has no A): 3 is out.
    assert predicted(fitted(form="plain", min_overlap=2)) == pytest.approx((0.5 * 4 + 0.1 * 2) / 0.6)
    # Times 2/4, 2/4, 1/3: (.25 * 4 + .05 * 2 + .1667 * 5) / (.25 + .05 + .1667)
    expected = (1 + 0.1 + 5 / 6) / (0.3 + 1 / 6)
    assert predicted(fitted(form="plain", shrinkage=2)) == pytest.approx(expected, rel=1e-6)


def test_weights_of_training_ratings_multiply_similarities():
    weights = np.ones((4, 4))
    weights[0, 0] = 0.5
    # (.5 * .5 * 4 + .1 * 2 + .5 * 5) / (.25 + .1 + .5)
    assert predicted(fitted(weights=weights, form="plain")) == pytest.approx(3.7 / 0.85)


def test_sum_adds_the_votes_of_the_most_similar():
    likes = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]]
    model = fitted(likes, scoring="sum", similarity="cosine")
    queries = model.encode(batch_of(np.array([[1, 0, 1, 0]]), new=True))
    # Cosines: 1/2, 2/sqrt(6), 1/2
    two = 2 / np.sqrt(6)
    np.testing.assert_allclose(model.score(queries), [[0.5 + two, 0.5 + two, two + 0.5, 0.5]], rtol=1e-6)
    model = fitted(likes, scoring="sum", similarity="cosine", neighbours=1)
    np.testing.assert_allclose(
        model.score(model.encode(batch_of(np.array([[1, 0, 1, 0]])))), [[two, two, two, 0]], rtol=1e-6
    )


def test_sum_counts_what_is_relevant():
    model = fitted([[5, 4, 1], [4, 5, 2], [1, 2, 5]], scoring="sum", similarity="cosine", relevant=4)
    scores = model.score(model.encode(batch_of(np.array([[5, 0, 1]]), new=True)))
    # Liked A: 1/sqrt(2) with either of the first two.
    np.testing.assert_allclose(scores, [[np.sqrt(2), np.sqrt(2), 0]], rtol=1e-6)


def test_declares_what_it_can_do():
    lists, ratings = UserKNN(3, 4), UserKNN(3, 4, scoring="mean")
    assert (lists.family, lists.capabilities) == ("implicit", {"new_users"})
    assert (ratings.family, ratings.capabilities) == ("ratings", {"new_users", "rating_scale"})


@pytest.mark.parametrize("options", [{}, {"similarity": "adjusted_cosine"}, {"scoring": "sum", "similarity": "cosine"}])
def test_state_round_trips(options):
    model = fitted(**options)
    other = UserKNN(4, 4, **{"scoring": "mean", "similarity": "msd", "neighbours": 5} | options)
    other.load_state(model.state())
    assert predicted(other) == predicted(model)


def test_blocks_of_users_change_nothing():
    values = random_likes(90, 15) * np.random.default_rng(1).integers(1, 6, (90, 15))
    model, rows = fitted(values), ratings_of(values).rows("user")
    whole = model.score(model.encode(next(RowBatches(rows, 90).epoch())))
    parts = [model.score(model.encode(batch)) for batch in RowBatches(rows, 30).epoch()]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_nothing_to_predict():
    with pytest.raises(DataError, match="All ratings are 1: there is nothing to predict"):
        fitted(random_likes())

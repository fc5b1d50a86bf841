"""Item-kNN: predictions worked out by hand, and data that must not influence them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from nnrec.core.errors import ConfigError, DataError
from nnrec.models.basic.bias import biases
from nnrec.models.knn.item_knn import ItemKNN
from tests.models.small import batch_of, random_likes, ratings_of

# Six users (predictions are for the last) and items A, B, C, D.
RATINGS = np.array(
    [
        [4, 4, 2, 0],
        [2, 2, 4, 0],
        [5, 3, 1, 0],
        [1, 1, 5, 0],
        [3, 5, 3, 1],
        [0, 5, 2, 0],
    ]
)
HISTORY = [[0, 5, 2, 0]]


def fitted(values=RATINGS, weights=None, **options) -> ItemKNN:
    train = ratings_of(values, weights)
    model = ItemKNN(train.num_users, train.num_items, **{"scoring": "mean", "neighbours": 5} | options)
    model.fit(train)
    return model


def given(model: ItemKNN, similarities) -> ItemKNN:
    """The model with these similarities, ordered as they are kept."""
    dense = np.asarray(similarities, np.float32)
    order = [sorted(np.flatnonzero(row), key=lambda j, row=row: (-row[j], j)) for row in dense]
    starts = np.cumsum([0, *map(len, order)])
    ids = np.concatenate(order).astype(np.int32)
    model.similar = sparse.csr_array(
        (np.concatenate([row[j] for row, j in zip(dense, order, strict=True)]), ids, starts), shape=dense.shape
    )
    return model


def predicted(model: ItemKNN, history=HISTORY, item: int = 0) -> float:
    """The score of one item, checked to be the same from `score` and `score_pairs`."""
    queries = model.encode(batch_of(np.array(history), new=True))
    assert len(queries) == len(history)
    score = model.score(queries)[0, item]
    assert model.score(queries, np.array([item]))[0, 0] == score
    assert model.score_pairs(queries, np.array([0]), np.array([item]))[0] == pytest.approx(score, rel=1e-6)
    return float(score)


# A is like B by .8 and like C by .2; D is like nothing.
SIMILAR = [[0, 0.8, 0.2, 0], [0.8, 0, 0, 0], [0.2, 0, 0, 0], [0, 0, 0, 0]]


def test_weighted_mean_of_two_neighbours():
    # (.8 * 5 + .2 * 2) / (.8 + .2)
    assert predicted(given(fitted(form="plain"), SIMILAR)) == pytest.approx(4.4)


def test_similarities_are_those_of_the_training():
    # msd of A with B: (0 + 0 + 4 + 0 + 4) / 5 = 8/5, with C: (4 + 4 + 16 + 16 + 0) / 5 = 8
    b, c = 1 / (1 + 8 / 5), 1 / (1 + 8)
    assert predicted(fitted(form="plain", similarity="msd")) == pytest.approx((b * 5 + c * 2) / (b + c), rel=1e-6)


def test_k_nearest_are_those_among_the_rated_items():
    model = given(fitted(form="plain", neighbours=1), SIMILAR)
    assert predicted(model) == pytest.approx(5)
    # The nearest item, B, is not rated: C it is.
    assert predicted(model, [[0, 0, 2, 3]]) == pytest.approx(2)
    # Equally near: the lower index.
    assert predicted(given(model, [[0, 0.5, 0.5, 0], [0] * 4, [0] * 4, [0] * 4])) == pytest.approx(5)


def test_amplification_is_a_power():
    plain, cubed = (fitted(form="plain", similarity="msd", amplification=power) for power in (1, 3))
    np.testing.assert_allclose(cubed.similar.data, plain.similar.data**3, rtol=1e-5)


def test_centered():
    # Means: A 15/5 = 3, B 20/6, C 17/6. 3 + .8 (5 - 20/6) + .2 (2 - 17/6) = 3 + 4/3 - 1/6
    assert predicted(given(fitted(form="centered"), SIMILAR)) == pytest.approx(3 + 4 / 3 - 1 / 6)


def test_zscore():
    # Standard deviations, squared: A (1 + 1 + 4 + 4 + 0) / 5 = 2; B (16 + 4 + 9 + 1 + 25 + 25) / 6 - (20/6)^2;
    # C (4 + 16 + 1 + 25 + 9 + 4) / 6 - (17/6)^2
    b, c = np.sqrt(80 / 6 - (20 / 6) ** 2), np.sqrt(59 / 6 - (17 / 6) ** 2)
    expected = 3 + np.sqrt(2) * (0.8 * (5 - 20 / 6) / b + 0.2 * (2 - 17 / 6) / c)
    assert predicted(given(fitted(form="zscore"), SIMILAR)) == pytest.approx(expected, rel=1e-6)


def test_zscore_of_an_item_without_spread():
    # D has a single rating, 1: its mean, and the standard deviation of all ratings.
    values = RATINGS[RATINGS > 0]
    similar = [[0] * 4, [0] * 4, [0] * 4, [0, 1, 0, 0]]
    b = np.sqrt(80 / 6 - (20 / 6) ** 2)
    expected = 1 + values.std() * (5 - 20 / 6) / b
    assert predicted(given(fitted(form="zscore"), similar), item=3) == pytest.approx(expected, rel=1e-6)


def test_baseline():
    mean, user, item = biases(ratings_of(RATINGS), 2, 3)
    b = mean + user[5] + item
    model = given(fitted(form="baseline", l2_user=2, l2_item=3), SIMILAR)
    # The last user's history equals the user's training ratings, and gives the same bias.
    assert predicted(model) == pytest.approx(b[0] + 0.8 * (5 - b[1]) + 0.2 * (2 - b[2]), rel=1e-5)


@pytest.mark.parametrize("form", ["plain", "centered", "zscore", "baseline"])
def test_without_a_neighbour_it_is_the_baseline_estimate(form):
    mean, user, item = biases(ratings_of(RATINGS), 5, 5)
    model = given(fitted(form=form), SIMILAR)
    assert predicted(model, item=3) == pytest.approx(mean + user[5] + item[3], rel=1e-5)
    assert predicted(model, [[0, 0, 0, 3]]) == pytest.approx(
        mean + (3 - mean - item[3]) / 6 + item[0], rel=1e-5
    )  # one rating, and five that the penalty counts as average
    nothing = batch_of(np.array([[0, 1, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(model.score(model.encode(nothing))[1], mean + item, rtol=1e-5)


def test_min_overlap_takes_neighbours_away():
    # A and D have one user in common, A and B five.
    assert predicted(fitted(form="plain", similarity="msd"), [[0, 0, 0, 4]]) == pytest.approx(4)
    alone = fitted(form="plain", similarity="msd", min_overlap=2)
    mean, _, item = biases(ratings_of(RATINGS), 5, 5)
    assert predicted(alone, [[0, 0, 0, 4]]) == pytest.approx(mean + (4 - mean - item[3]) / 6 + item[0], rel=1e-5)


def test_shrinkage_favours_common_people():
    # A with B: five in common, 1/2.6 * 5/15; A with D: one, (3 - 1)^2 = 4, 1/5 * 1/11
    b, d = 5 / 15 / (1 + 8 / 5), 1 / 11 / (1 + 4)
    found = predicted(fitted(form="plain", similarity="msd", shrinkage=10), [[0, 5, 0, 1]])
    assert found == pytest.approx((b * 5 + d * 1) / (b + d), rel=1e-6)


def test_weights_of_ratings_multiply_similarities():
    batch = batch_of(np.array(HISTORY), new=True)
    batch["weight"] = np.where(batch["column"] == 1, 0.5, 1.0).astype(np.float32) * (batch["weight"] > 0)
    model = given(fitted(form="plain"), SIMILAR)
    # (.8 * .5 * 5 + .2 * 2) / (.8 * .5 + .2)
    assert model.score(model.encode(batch))[0, 0] == pytest.approx(2.4 / 0.6)


def test_stored_similarities_are_the_largest():
    full, cut = fitted(form="plain", similarity="msd"), fitted(form="plain", similarity="msd", neighbours=1, stored=1)
    assert np.diff(cut.similar.indptr).max() == 1
    assert cut.similar.data[0] == full.similar.data[0] == full.similar.data[: full.similar.indptr[1]].max()


def test_sum_adds_the_votes_of_what_was_liked():
    likes = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    model = fitted(likes, scoring="sum")
    # Users: A 2, B 3, C 3, D 1; in common AB 2, AC 1, BC 2, BD 0, CD 1
    ab, ac, bc, cd = 2 / np.sqrt(6), 1 / np.sqrt(6), 2 / 3, 1 / np.sqrt(3)
    queries = model.encode(batch_of(np.array([[1, 1, 0, 0]]), new=True))
    np.testing.assert_allclose(model.score(queries), [[ab, ab, ac + bc, 0]], rtol=1e-6)
    np.testing.assert_allclose(model.score_pairs(queries, np.array([0]), np.array([2])), ac + bc, rtol=1e-6)
    # With k = 1 A votes for B, B for A (ab = .82 before bc = .67), C for B, D for C.
    model = fitted(likes, scoring="sum", neighbours=1)
    scores = model.score(model.encode(batch_of(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]), new=True)))
    np.testing.assert_allclose(scores, [[ab, ab, 0, 0], [0, bc, cd, 0]], rtol=1e-6)


def test_sum_counts_what_is_relevant():
    model = fitted([[5, 4, 1], [4, 5, 2], [1, 2, 5]], scoring="sum", relevant=4)
    scores = model.score(model.encode(batch_of(np.array([[5, 0, 1], [0, 0, 4]]), new=True)))
    np.testing.assert_allclose(scores, [[0, 1, 0], [0, 0, 0]], rtol=1e-6)  # A and B: liked by the same two


@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # implicit's own
def test_sum_is_implicits():
    """The same scores as another library's cosine recommender."""
    from implicit.nearest_neighbours import CosineRecommender

    likes = random_likes(60, 20)
    peer = CosineRecommender(K=20, num_threads=1)
    peer.fit(sparse.csr_matrix(likes), show_progress=False)
    similarity = peer.similarity.toarray()
    np.fill_diagonal(similarity, 0)
    model = fitted(likes, scoring="sum", neighbours=20)
    np.testing.assert_allclose(model.score(model.encode(batch_of(likes))), likes @ similarity, rtol=1e-5, atol=1e-6)


def test_values_can_be_compared_for_lists():
    assert fitted(scoring="sum", similarity="pearson").similar.nnz
    with pytest.raises(DataError, match="All ratings are 1: there is nothing to predict"):
        fitted(random_likes(), scoring="sum", similarity="pearson")


def test_declares_what_it_can_do():
    lists, ratings = ItemKNN(3, 4), ItemKNN(3, 4, scoring="mean")
    assert (lists.family, lists.capabilities) == ("implicit", {"new_users"})
    assert (ratings.family, ratings.capabilities) == ("ratings", {"new_users", "rating_scale"})
    assert fitted().rating_scale.tolist() == [1, 5]


@pytest.mark.parametrize("scoring", ["sum", "mean"])
def test_state_round_trips(scoring):
    model = fitted(scoring=scoring)
    other = ItemKNN(6, 4, scoring=scoring, neighbours=5)
    other.load_state(model.state())
    assert predicted(other) == predicted(model)


def test_memory_is_asked_for():
    # 2 * 8 bytes for 500 similarities of 10,000 items
    model = ItemKNN(6, 10_000, scoring="mean", memory_limit=0.07)
    with pytest.raises(ConfigError, match=r"6 users and 10,000 items needs about 0.08 GB of memory; 0.07 GB"):
        model.check_memory(ratings_of(RATINGS))
    ItemKNN(6, 10_000, scoring="sum", memory_limit=0.07).check_memory(ratings_of(RATINGS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scoring": "max"}, "model.scoring must be one of sum, mean. Received: max"),
        ({"form": "raw"}, "model.form must be one of plain, centered, zscore, baseline. Received: raw"),
        ({"neighbours": 50, "stored": 20}, "model.stored must be at least model.neighbours=50, or null. Received: 20"),
        ({"amplification": 0}, "model.amplification must be positive. Received: 0"),
        ({"l2_user": -1}, "model.l2_user must not be negative. Received: -1"),
        ({"similarity": "dice"}, "model.similarity must be one of"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        ItemKNN(3, 4, **options)


def test_nothing_liked():
    with pytest.raises(DataError, match="No training rating reaches 6"):
        fitted(scoring="sum", relevant=6)


def test_movielens_100k(real_data):
    """Better than the biases by far on the publisher's first fold: .9212 is on record."""
    from nnrec.core.config.compose import compose
    from nnrec.data.sources.movielens import read_movielens
    from nnrec.evaluation.ratings import Evaluation
    from nnrec.splits.ratings import PublisherFold

    split = PublisherFold(fold="u1")(read_movielens("ml-100k", real_data("ml-100k")), 0).merged()
    settings = compose("train", ["experiment=item_knn_ratings_ml-100k"]).model
    options = {key: value for key, value in settings.items() if key not in ("_target_", "relevant")}
    model = ItemKNN(split.train.num_users, split.train.num_items, **options)
    model.fit(split.train)
    figures = Evaluation()(model, split.train, split.test, depth="accuracy").figures
    assert figures["rmse"] == pytest.approx(0.9212, abs=5e-4)

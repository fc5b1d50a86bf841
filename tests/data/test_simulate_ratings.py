"""Simulated ratings: the generator and its known expected values."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError
from nnrec.data.load import load
from nnrec.data.ratings import Ratings
from nnrec.data.simulators.ratings import DAYS_OPEN, OPENING, expected_value, simulate_ratings, star_values
from nnrec.evaluation.metrics import rmse


@pytest.fixture(scope="module")
def default() -> Ratings:
    return simulate_ratings()


@pytest.fixture(scope="module")
def sparse() -> Ratings:
    return simulate_ratings(2_000, 1_000, 40_000, min_ratings_per_user=5, popularity_exponent=1.0, activity_spread=1.0)


def test_expected_value_by_hand():
    # truth 4.2, noise .5; midpoints 1.5, 2.5, 3.5, 4.5 lie 5.4, 3.4, 1.4 and -.6 standard deviations below:
    # 1 + Phi(5.4) + Phi(3.4) + Phi(1.4) + Phi(-.6) = 1 + 1 + .999663 + .919243 + .274253 = 4.193159
    assert expected_value(np.array([4.2]), 0.5) == pytest.approx([4.193159], abs=2e-6)
    # Symmetric about the middle of the scale, and inside it however extreme the truth.
    assert expected_value(np.array([3.0, -9.0, 15.0]), 1.0) == pytest.approx([3, 1, 5])
    assert expected_value(np.array([2.75, 15.0]), 1.0, half_stars=True) == pytest.approx([2.75, 5])


@pytest.mark.parametrize("half_stars", [False, True])
@pytest.mark.parametrize(("truth", "noise"), [(1.2, 0.6), (3.4, 1.0), (4.9, 1.5)])
def test_expected_value_against_simulation(truth, noise, half_stars):
    stars = star_values(half_stars)
    drawn = truth + noise * np.random.default_rng(0).standard_normal(200_000)
    values = stars[np.abs(drawn[:, None] - stars).argmin(axis=1)]  # the nearest star, which rounds and clips
    # Five standard errors of the mean.
    tolerance = 5 * values.std() / np.sqrt(len(values))
    assert expected_value(np.array([truth]), noise, half_stars) == pytest.approx([values.mean()], abs=tolerance)


def test_values_scatter_about_what_is_expected(default):
    error = default.value - default.expected
    standard_error = error.std() / np.sqrt(len(default))
    for low, high in ((1, 2.5), (2.5, 3.5), (3.5, 5)):
        inside = (default.expected >= low) & (default.expected < high)
        assert abs(error[inside].mean()) < 5 * error.std() / np.sqrt(inside.sum())
    assert abs(error.mean()) < 5 * standard_error


def test_personal_taste_matters(default):
    """The best reachable RMSE is well below that of user and item biases, and theirs below that of the mean."""
    mean = default.value.mean(dtype=np.float64)
    of_item = np.zeros(default.num_items)
    for _ in range(10):
        of_user = np.bincount(default.user, default.value - mean - of_item[default.item]) / np.bincount(default.user)
        of_item = np.bincount(default.item, default.value - mean - of_user[default.user]) / np.bincount(default.item)
    biased = rmse(default.value, mean + of_user[default.user] + of_item[default.item])
    floor = rmse(default.value, default.expected)
    assert floor < 0.92 * biased
    assert biased < 0.96 * rmse(default.value, np.full(len(default), mean))
    assert f"best reachable RMSE {floor:.4f}" in default.notes[0]


def test_the_seed_decides(sparse):
    def again(seed: int) -> Ratings:
        return simulate_ratings(
            2_000, 1_000, 40_000, seed=seed, min_ratings_per_user=5, popularity_exponent=1.0, activity_spread=1.0
        )

    same, other = again(0), again(1)
    assert same.fingerprint() == sparse.fingerprint() != other.fingerprint()
    assert np.array_equal(same.expected, sparse.expected)
    assert same.item_table.equals(sparse.item_table)


@pytest.mark.parametrize("name", ["default", "sparse"])
def test_sizes_are_exact_and_pairs_distinct(name, request):
    ratings = request.getfixturevalue(name)
    size = (1_500, 600, 300_000) if name == "default" else (2_000, 1_000, 40_000)
    assert (ratings.num_users, ratings.num_items, len(ratings)) == size
    assert len(np.unique(ratings.user.astype(np.int64) * ratings.num_items + ratings.item)) == len(ratings)
    per_user = np.bincount(ratings.user, minlength=ratings.num_users)
    assert per_user.min() >= (20 if name == "default" else 5)
    assert per_user.max() <= 0.8 * ratings.num_items
    assert ratings.user.dtype == ratings.item.dtype == np.int32
    assert ratings.value.dtype == ratings.expected.dtype == np.float32
    assert set(ratings.value) == {1, 2, 3, 4, 5}


def test_popularity_and_activity_have_long_tails(sparse):
    counts = np.sort(np.bincount(sparse.item, minlength=sparse.num_items))[::-1]
    # Zipf with exponent 1 over 1,000 items: the top 10% draw H(100) / H(1000) = 5.19 / 7.49 = 69%, a little less
    # because no user rates an item twice.
    assert 0.5 < counts[:100].sum() / counts.sum() < 0.7
    per_user = np.bincount(sparse.user)
    assert per_user.max() > 5 * np.median(per_user)
    even = simulate_ratings(2_000, 1_000, 40_000, popularity_exponent=0, activity_spread=0)
    assert np.sort(np.bincount(even.item))[::-1][:100].sum() / 40_000 < 0.14
    assert np.ptp(np.bincount(even.user)) <= 1


def test_popular_items_do_not_come_first(sparse):
    counts = np.bincount(sparse.item, minlength=sparse.num_items)
    assert abs(np.corrcoef(counts, np.arange(len(counts)))[0, 1]) < 0.15


def genre_signal(genre_share: float) -> float:
    """Correlation over users between the liking of one half of a genre's items and that of the other half."""
    ratings = simulate_ratings(300, 200, 20_000, genre_share=genre_share, user_spread=0, item_spread=0)
    genre = ratings.item_table["genres"].str.split("|").str[0].to_numpy()
    found = []
    for name in np.unique(genre):
        halves = np.array_split(np.flatnonzero(genre == name), 2)
        taste = np.full((2, ratings.num_users), np.nan)
        for row, items in enumerate(halves):
            chosen = np.isin(ratings.item, items)
            counts = np.bincount(ratings.user[chosen], minlength=ratings.num_users)
            sums = np.bincount(ratings.user[chosen], ratings.expected[chosen], minlength=ratings.num_users)
            taste[row, counts > 2] = (sums / np.maximum(counts, 1))[counts > 2]
        known = ~np.isnan(taste).any(axis=0)
        if known.sum() > 50:
            found.append(np.corrcoef(taste[:, known])[0, 1])
    assert len(found) >= 3
    return float(np.mean(found))


def test_genres_tell_about_taste():
    assert genre_signal(0.9) > 0.5
    assert genre_signal(0.9) > genre_signal(0.0) + 0.3


def test_people_rate_rather_what_they_like():
    picky, indifferent = (
        simulate_ratings(300, 200, 6_000, selectivity=value, min_ratings_per_user=5).expected for value in (3.0, 0.0)
    )
    assert picky.mean() > indifferent.mean() + 0.1


def test_items_have_titles_genres_and_years():
    table = simulate_ratings(50, 2_000, 2_000).item_table
    assert table["title"].is_unique
    assert table["title"].str.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+( \d+)? \(\d{4}\)").all()
    assert (table["title"].str[-5:-1].astype(int) == table["year"]).all()
    assert set(table["genres"].str.count(r"\|")) == {0, 1}
    assert table["year"].between(1975, 2018).all()


def test_times_look_like_people(default):
    assert default.time_kind == "timestamp"
    assert default.time.min() >= OPENING
    assert default.time.max() < OPENING + 2 * DAYS_OPEN * 86_400
    year = default.time.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    assert np.all(year >= default.item_table["year"].to_numpy()[default.item])
    within = np.diff(default.user) == 0
    gaps = np.diff(default.time)[within]
    assert np.all(gaps >= 0)
    assert np.median(gaps) < 1_800  # in visits: most ratings follow the last within half an hour
    assert np.quantile(gaps, 0.99) > 86_400  # with days or weeks between visits


def test_half_stars():
    ratings = simulate_ratings(100, 100, 4_000, half_stars=True)
    assert set(ratings.value) == set(np.arange(0.5, 5.5, 0.5))
    assert 0.5 <= ratings.expected.min() < ratings.expected.max() <= 5


def test_users_may_rate_most_of_a_small_catalogue():
    ratings = simulate_ratings(30, 50, 30 * 40, popularity_exponent=2.0)
    assert np.all(np.bincount(ratings.user) == 40)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_users": 0}, "at least one user, item, factor and rating per user. Received: num_users=0"),
        ({"num_factors": 0}, "num_factors=0"),
        ({"num_users": 10, "num_items": 50, "num_ratings": 500}, r"10 users with 20 to 40 .* give 200 to 400 ratings"),
        ({"num_ratings": 100}, "Received: num_ratings=100"),
        ({"noise": 0.0}, "noise above 0. Received: noise=0.0"),
        ({"genre_share": 1.5}, "genre_share is a share of variance, 0 to 1. Received: 1.5"),
        ({"popularity_exponent": 9}, "popularity_exponent must be 0 to 2. Received: 9"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        simulate_ratings(**settings)


def test_configuration_holds_the_defaults(default):
    config = compose("train", ["data=simulated_ratings", "seed=7"]).data
    settings = {name: value for name, value in config.source.items() if name != "_target_"}
    assert settings == {name: value.default for name, value in inspect.signature(simulate_ratings).parameters.items()}
    loaded = load(config)
    assert loaded.fingerprint() == default.fingerprint()
    assert loaded.expected is not None


def test_users_have_an_age_group():
    ratings = simulate_ratings(200, 50, 4_000, min_ratings_per_user=5)
    assert len(ratings.user_table) == 200
    assert set(ratings.user_table["age_group"]) == {"under 18", "18-34", "35-54", "55 and over"}

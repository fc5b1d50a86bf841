"""Content-kNN: similarities of content worked out by hand, items without ratings, missing columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.models.basic.bias import biases
from nnrec.models.knn.content_knn import ContentKNN
from tests.models.small import batch_of, ratings_of

ITEMS = pd.DataFrame(
    {
        "title": ["Red Moon (1990)", "Blue Moon (1994)", "Red Sun (2001)", None],
        "genres": ["Drama|War", "Drama", "", "Comedy|War"],
        "year": pd.array([1990, 1994, 2001, None], "Int16"),
    }
)
# Nobody has rated the last item.
RATINGS = np.array([[5, 4, 1, 0], [1, 0, 4, 0], [0, 5, 2, 0]])


def data(values=RATINGS, items: pd.DataFrame | None = ITEMS) -> Ratings:
    return replace(ratings_of(values), item_table=items)


def fitted(values=RATINGS, items: pd.DataFrame | None = ITEMS, **options) -> ContentKNN:
    train = data(values, items)
    model = ContentKNN(train.num_users, train.num_items, **{"neighbours": 3} | options)
    model.fit(train)
    return model


def likeness(**options) -> np.ndarray:
    return fitted(**options).similar.toarray()


def test_genres():
    # {Drama, War}, {Drama}, {}, {Comedy, War}
    half, third = 1 / np.sqrt(2), 1 / 2
    expected = [[0, half, 0, third], [half, 0, 0, 0], [0, 0, 0, 0], [third, 0, 0, 0]]
    np.testing.assert_allclose(likeness(title=0), expected, rtol=1e-6)


def test_titles():
    # Smoothed inverse frequencies of four titles: of red and moon (in two) ln(5/3) + 1, of blue and sun ln(5/2) + 1;
    # the years are no words, and have no part in it.
    often, once = np.log(5 / 3) + 1, np.log(5 / 2) + 1
    both = often / np.sqrt(2) / often * often / np.sqrt(often**2 + once**2)
    expected = [[0, both, both, 0], [both, 0, 0, 0], [both, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(likeness(genres=0), expected, rtol=1e-6)


def test_years():
    # 1990 and 1994 lie 4 of 11 years apart, 1994 and 2001 7, 1990 and 2001 11; the last is unknown.
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 1 - 4 / 11
    expected[1, 2] = expected[2, 1] = 1 - 7 / 11
    np.testing.assert_allclose(likeness(genres=0, title=0, year=1), expected, rtol=1e-6, atol=1e-7)


def test_weights_mix_the_parts():
    genres, title = likeness(title=0), likeness(genres=0)
    mixed = likeness(genres=3, title=1)
    # Items 0 and 1 have both parts: (3 genres + 1 title) / 4.
    assert mixed[0, 1] == pytest.approx((3 * genres[0, 1] + title[0, 1]) / 4, rel=1e-6)
    # Item 2 has a title alone, of length 1 beside 2: 1 * title / (2 * 1)
    assert mixed[0, 2] == pytest.approx(title[0, 2] / 2, rel=1e-6)


def test_votes():
    model = fitted(title=0)
    scores = model.score(model.encode(batch_of(np.array([[1, 0, 0, 0], [0, 1, 1, 0]]), new=True)))
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(scores, [[0, half, 0, 0.5], [half, 0, 0, 0]], rtol=1e-6)


def test_an_item_without_ratings_is_predicted():
    # Drama|War and Comedy|War: item 0 is the only neighbour.
    model = fitted(title=0, scoring="mean", form="plain")
    assert model.score(model.encode(batch_of(np.array([[5, 0, 1, 0]]), new=True)))[0, 3] == pytest.approx(5)
    # From the mean of all ratings, by as much as the neighbour lies above its own mean, (5 + 1) / 2.
    centred = fitted(title=0, scoring="mean", form="centered")
    score = centred.score(centred.encode(batch_of(np.array([[5, 0, 1, 0]]), new=True)))[0, 3]
    assert score == pytest.approx(RATINGS[RATINGS > 0].mean() + (5 - 3), rel=1e-6)
    # No War: the baseline estimate.
    mean, user, _ = biases(data(), 5, 5)
    assert model.score(model.encode(batch_of(RATINGS)))[2, 3] == pytest.approx(mean + user[2], rel=1e-5)


def test_declares_what_it_can_do():
    assert ContentKNN(3, 4).family == "implicit"
    assert "rating_scale" in ContentKNN(3, 4, scoring="mean").capabilities


def test_titles_without_words():
    items = pd.DataFrame({"title": ["", "?", None, "(1999)"]})
    assert likeness(items=items, genres=0).max() == 0


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        (None, {}, "content_knn compares items by genres, but these data have no item table. Set model.genres=0, or"),
        (ITEMS[["title"]], {}, "by genres, but these data have only title. Set model.genres=0, or give the items"),
        (ITEMS[["title", "genres"]], {"year": 1}, "by year, but these data have only title, genres. Set model.year=0"),
    ],
)
def test_names_the_column_that_is_missing(items, options, message):
    with pytest.raises(DataError, match=message):
        fitted(items=items, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genres": 0, "title": 0}, "model.genres, title and year are weights, at least one above 0"),
        ({"title": -1}, "model.genres, title and year are weights"),
        ({"year_span": 4}, "model.year_span must be a positive odd number of years. Received: 4"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        ContentKNN(3, 4, **options)

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.age_weighting import LEAST, age_weighted
from nnrec.data.load import load
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import from_frame
from nnrec.data.sources.movielens import read_movielens

DAY = 86_400


def example(days=(0, 10, 15, 20), weight=None, kind="timestamp") -> Ratings:
    frame = pd.DataFrame({"user": 1, "item": range(len(days)), "rating": 3.0, "time": 0})
    ratings = from_frame(frame)
    return Ratings.build(
        **{name: getattr(ratings, name) for name in ("users", "items", "user", "item", "value")},
        time=None if kind is None else DAY * np.array(days, np.int64),
        time_kind=kind,
        weight=None if weight is None else np.array(weight, np.float32),
    )


def test_weights_halve_with_every_half_life():
    # Half-life 10 days, ages 20, 10, 5 and 0 days: 1/4, 1/2, 1/sqrt(2), 1.
    expected = [0.25, 0.5, 0.70710678, 1]
    weighted = age_weighted(example(), 10)
    assert weighted.weight.dtype == np.float32
    np.testing.assert_allclose(weighted.weight, expected, rtol=1e-6)
    assert weighted.value.tolist() == [3, 3, 3, 3]
    np.testing.assert_allclose(age_weighted(example(weight=[4, 1, 1, 2]), 10).weight, [1, 0.5, 0.70710678, 2], 1e-6)
    # With `now` 10 days later, all weights halve once more; ratings later than `now` have age 0.
    np.testing.assert_allclose(age_weighted(example(), 10, now=30 * DAY).weight, np.array(expected) / 2, rtol=1e-6)
    np.testing.assert_allclose(age_weighted(example(), 10, now=10 * DAY).weight, [0.5, 1, 1, 1], rtol=1e-6)


def test_the_newest_of_a_part_is_its_now():
    part = example().take(np.array([0, 1]))
    np.testing.assert_allclose(age_weighted(part, 10).weight, [0.5, 1], rtol=1e-6)
    assert len(age_weighted(part.take(np.zeros(0, int)), 10)) == 0


def test_the_oldest_still_weigh_something():
    weight = age_weighted(example(days=(0, 10_000)), 1).weight
    assert weight.tolist() == [np.float32(LEAST), 1]


@pytest.mark.parametrize("half_life", [0, -1, float("inf"), float("nan"), "30", True])
def test_half_life_out_of_range(half_life):
    message = "half_life_days must be a number of days above 0, or null. Received: "
    with pytest.raises(ConfigError, match=message):
        age_weighted(example(), half_life)


def test_ratings_without_dates_are_refused():
    with pytest.raises(DataError, match=r"half_life_days\) needs dates; these data have no times"):
        age_weighted(example(kind=None), 30)
    with pytest.raises(DataError, match="these data know only the order of each user's ratings, not when"):
        age_weighted(example(kind="order"), 30)


def test_loading_checks_the_half_life_and_leaves_the_weights_alone():
    frame = pd.DataFrame({"user": [1, 1], "item": [1, 2], "rating": [1, 2], "time": [7, 5]})
    loaded = load({"half_life_days": 30}, frame)
    assert loaded.weight is None
    assert loaded.notes[-1] == "Age weighting: in training, a rating counts half as much after 30 days."
    assert loaded.fingerprint() == load({"half_life_days": None}, frame).fingerprint()
    with pytest.raises(ConfigError, match="half_life_days must be a number of days above 0"):
        load({"half_life_days": 0}, frame)
    with pytest.raises(DataError, match="needs dates; these data have no times"):
        load({"half_life_days": 30}, frame.drop(columns="time"))


def test_real_data(real_data):
    dated = read_movielens("ml-100k", real_data("ml-100k"))
    weight = age_weighted(dated, 90).weight
    assert weight.max() == 1
    days = (dated.time.max() - dated.time.min()) / DAY  # about 215
    assert weight.min() == pytest.approx(0.5 ** (days / 90), rel=1e-5)
    ordered = read_movielens("ml-1m", real_data("ml-1m"))
    if ordered.time_kind == "order":  # copies differ
        with pytest.raises(DataError, match="know only the order"):
            age_weighted(ordered, 90)

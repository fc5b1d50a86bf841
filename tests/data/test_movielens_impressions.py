from __future__ import annotations

import numpy as np
import pandas as pd

from nnrec.data.readers.ratings import from_frame
from nnrec.data.sources.movielens_impressions import read_movielens_impressions, with_attributes


def ratings(time):
    frame = pd.DataFrame({"user": [7, 7, 9], "item": [1, 2, 1], "rating": [4, 3, 5], "time": time})
    items = pd.DataFrame(
        {"item": [1, 2], "title": ["A (1990)", "B"], "genres": ["Drama|War", ""], "year": [1990, None]}
    )
    users = pd.DataFrame(
        {"user": [7, 9], "gender": ["female", "male"], "age": [30, 20], "occupation": ["artist", None]}
    )
    return from_frame(frame, time="time", items=items, users=users)


def test_rows_have_what_is_known_of_users_items_and_times():
    day = 86_400
    data = with_attributes(ratings([3 * day + 3_600, 4 * day, 5 * day + 7_200]), threshold=4)
    assert data.schema.categorical == ("user", "item", "gender", "occupation", "year", "hour", "weekday")
    assert data.schema.of_user == ("gender", "occupation") and data.schema.of_item == ("year", "genres")
    assert data.schema.context == ("hour", "weekday") and data.label.tolist() == [1, 0, 1]
    levels = {name: [*known.strings.to_pylist(), None] for name, known in data.levels.items()}
    rows = [
        {name: levels[name][code] for name, code in zip(data.schema.categorical, row, strict=True)}
        for row in data.codes
    ]
    # 1970-01-04 was a Sunday, weekday 6.
    assert rows[0] == {
        "user": "7", "item": "1", "gender": "female", "occupation": "artist", "year": "1990", "hour": "1",
        "weekday": "6",
    }  # fmt: skip
    assert rows[1]["year"] is None and rows[2]["occupation"] is None and rows[2]["hour"] == "2"
    assert data.bags[0].offsets.tolist() == [0, 2, 2, 4]
    assert data.item_table["title"].tolist() == ["A (1990)", "B"]


def test_an_order_is_no_time_of_day_and_ratings_may_stay_what_they_are():
    data = with_attributes(ratings([0, 1, 0]), threshold=None)
    assert data.schema.context == () and data.time is None and data.label.tolist() == [4, 3, 5]


def test_ml_100k(real_data):
    data = read_movielens_impressions("ml-100k", real_data("ml-100k"))
    assert len(data) == 100_000 and data.label.mean() == np.float32(0.55375)
    assert data.schema.context == ("hour", "weekday") and data.num_items == 1_682
    assert len(data.levels["genres"]) == 18 and len(data.levels["occupation"]) == 21

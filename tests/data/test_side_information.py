from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.load import load
from nnrec.data.readers.ratings import from_frame, read_table
from nnrec.data.side_information import category_codes, read_user_table, scaled


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,rating\n30,a,1\n4,a,2\n5,a,3\n5,b,1\n")
    (tmp_path / "users.csv").write_text("id;sex;years\n5;F;31\n30;M;19\n99;F;50\n30;F;20\n")
    return tmp_path / "log.csv"


def test_user_table_is_aligned_with_the_vocabulary(log, tmp_path):
    columns = {"gender": "sex", "age": "years"}
    ratings = read_table(log, user_table={"path": tmp_path / "users.csv", "user": "id", "columns": columns})
    assert ratings.users.ids.tolist() == [4, 5, 30]
    assert ratings.user_table["gender"].fillna("-").tolist() == ["-", "F", "M"]
    assert ratings.user_table["age"].fillna(0).tolist() == [0, 31, 19]
    assert ratings.notes[-1] == "The user table has no row for 1 of the users."
    assert ratings.fingerprint() == read_table(log, user_table={"path": None}).fingerprint()
    kept = apply_filters(ratings, min_ratings_per_user=2)
    assert (kept.users.ids.tolist(), kept.user_table["gender"].tolist()) == ([5], ["F"])


def test_user_table_by_configuration(log, tmp_path):
    from nnrec.core.config.compose import compose

    settings = ["user=id", "columns={gender: sex}"]
    settings = [f"data.source.user_table.{setting}" for setting in (f"path={tmp_path}/users.csv", *settings)]
    ratings = load(compose("train", ["data=table", f"data.source.path={log}", *settings]).data)
    assert ratings.user_table["gender"].fillna("-").tolist() == ["-", "F", "M"]


def test_user_table_from_a_frame():
    frame = pd.DataFrame({"u": ["b", "a"], "item": 1, "rating": [1, 2]})
    people = pd.DataFrame({"u": ["a ", "b"], "team": ["red", "blue"]})
    assert from_frame(frame, user="u", users=people).user_table["team"].tolist() == ["red", "blue"]
    with pytest.raises(DataError, match="The user table has no column 'u'"):
        from_frame(frame, user="u", users=people.rename(columns={"u": "who"}))


def test_user_tables_that_cannot_be_used(log, tmp_path):
    for columns in (None, {}):
        with pytest.raises(ConfigError, match="Which columns of the table of users.*user_table.columns="):
            read_user_table(tmp_path / "users.csv", "id", columns)
    with pytest.raises(DataError, match="no column 'gender'"):
        read_user_table(tmp_path / "users.csv", "id", {"gender": "gender"})
    with pytest.raises(DataError, match="No such file.*Set data.source.user_table.path"):
        read_user_table(tmp_path / "gone.csv", "id", {"gender": "sex"})
    (tmp_path / "users.csv").write_text("user,team\nz,red\n")
    with pytest.raises(DataError, match="user table holds none of the users: do its ids mean the same users"):
        read_table(log, user_table={"path": tmp_path / "users.csv", "columns": {"team": "team"}})


def test_categories_are_numbered_by_how_many_trained_items_have_them():
    column = pd.Series(["b", "a", "b", None, "c", "a", "d"])
    known = np.array([1, 1, 1, 1, 1, 0, 0], bool)
    assert category_codes(column, known, 10).tolist() == [1, 2, 1, 0, 3, 2, 0]  # d: of no trained item
    assert category_codes(column, known, 1).tolist() == [1, 0, 1, 0, 0, 0, 0]


def test_numbers_are_scaled_by_the_trained_items():
    column = pd.Series([1.0, 3.0, np.nan, 5.0, 1e9])
    # mean 2, deviation 1 of the first two; the last is cut
    assert scaled(column, np.array([1, 1, 1, 0, 0], bool), "price").tolist() == [-1, 1, 0, 3, 5]
    assert scaled(pd.Series([4, 4]), np.ones(2, bool), "price").tolist() == [0, 0]
    assert scaled(pd.Series([4, 4]), np.zeros(2, bool), "price").tolist() == [4, 4]
    with pytest.raises(DataError, match="price: 'dear' is not a number. Name it among model.categories"):
        scaled(pd.Series(["1", "dear"]), np.ones(2, bool), "price")

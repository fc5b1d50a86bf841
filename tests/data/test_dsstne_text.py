from __future__ import annotations

import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sources.dsstne_text import read_dsstne


def write(folder, text):
    (folder / "gl").write_text(text)
    return folder / "gl"


def entries(ratings):
    users, items = ratings.users.ids[ratings.user], ratings.items.ids[ratings.item]
    return list(zip(users.tolist(), items.tolist(), ratings.value.tolist(), strict=True))


def test_values_are_one_where_none_is_written(tmp_path):
    ratings = read_dsstne(write(tmp_path, "ann\tm7,3.5:m2\nbob\tm2,2:\n"))
    assert entries(ratings) == [("ann", "m7", 3.5), ("ann", "m2", 1.0), ("bob", "m2", 2.0)]
    assert ratings.users.ids.tolist() == ["ann", "bob"]


def test_whole_numbers_stay_numbers(tmp_path):
    assert entries(read_dsstne(write(tmp_path, "12\t10:9\n7\t9\n"))) == [(7, 9, 1.0), (12, 10, 1.0), (12, 9, 1.0)]


def test_the_number_may_be_a_time_or_ignored(tmp_path):
    path = write(tmp_path, "1\t5,1000:6,900\n")
    ratings = read_dsstne(path, number="time")
    assert entries(ratings) == [(1, 6, 1.0), (1, 5, 1.0)]
    assert ratings.time.tolist() == [900, 1000]
    assert read_dsstne(path, number=None).value.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gl is empty"),
        ("1\t\n", "holds no feature"),
        ("1\t5\n2 6\n", "line 2: 1 fields separated by"),
        ("1\t5\n2\t6,good:7\n", "gl, line 2, entry '6,good': the rating 'good' is not a number"),
        ("1\t5,1:6,1,1\n", "gl, line 1, entry '6,1,1': more than one comma"),
        ("1\t5,nan\n", "line 1, entry '5,nan': the rating is empty or not a number"),
        ("1\t,3\n", "line 1, entry ',3': the item id is empty"),
        ("\t4,3\n", "line 1, entry '4,3': the user id is empty"),
    ],
)
def test_bad_input(tmp_path, text, message):
    with pytest.raises(DataError) as raised:
        read_dsstne(write(tmp_path, text))
    assert message in str(raised.value)


def test_bad_settings(tmp_path):
    with pytest.raises(ConfigError, match="number must be value, time or null. Received: rating"):
        read_dsstne(write(tmp_path, "1\t5\n"), number="rating")
    with pytest.raises(DataError, match="line 1, entry '5': no time after the feature"):
        read_dsstne(write(tmp_path, "1\t5\n"), number="time")

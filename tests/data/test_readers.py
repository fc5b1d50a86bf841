from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import from_frame, read_table


def write(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def entries(ratings: Ratings) -> list[tuple]:
    """(raw user, raw item, value), in order."""
    users, items = ratings.users.ids[ratings.user], ratings.items.ids[ratings.item]
    return list(zip(users.tolist(), items.tolist(), ratings.value.tolist(), strict=True))


# What is read


def test_columns_by_name_are_sorted_by_user_then_time(tmp_path):
    path = write(tmp_path, "when,who,what,stars\n30,b,x,5\n20,a,y,4\n10,a,x,3.5\n")
    ratings = read_table(path, user="who", item="what", value="stars", time="when")
    assert entries(ratings) == [("a", "x", 3.5), ("a", "y", 4.0), ("b", "x", 5.0)]
    assert ratings.time.tolist() == [10, 20, 30]
    assert ratings.time_kind == "timestamp"
    assert ratings.notes == ("Read 3 ratings of 2 users and 2 items from log.csv.",)
    assert (ratings.value.dtype, ratings.time.dtype, ratings.user.dtype) == (np.float32, np.int64, np.int32)


@pytest.mark.parametrize("separator", ["\t", "::", ";", ",", "|", " "])
@pytest.mark.parametrize("told", [True, False])
def test_every_separator_given_or_found(tmp_path, separator, told):
    path = write(tmp_path, "".join(separator.join(row) + "\n" for row in (["7", "30", "2.5"], ["8", "31", "4"])))
    ratings = read_table(path, 0, 1, 2, header=False, separator=separator if told else None)
    assert entries(ratings) == [(7, 30, 2.5), (8, 31, 4.0)]


def test_gzip_byte_order_mark_windows_line_ends_quotes_and_empty_lines(tmp_path):
    text = '\ufeffuser,item,rating\r\n"a, b",1,5\r\n\r\nc,2,4\r\n'
    path = write(tmp_path, gzip.compress(text.encode()), "log.csv.gz")
    assert entries(read_table(path)) == [("a, b", 1, 5.0), ("c", 2, 4.0)]


def test_latin_1(tmp_path):
    path = write(tmp_path, "user,item,rating\nZoë,1,5\n".encode("latin-1"))
    assert entries(read_table(path, encoding="latin-1")) == [("Zoë", 1, 5.0)]
    path = write(tmp_path, "user::item::rating\nZoë::1::5\n".encode("latin-1"))
    assert entries(read_table(path, encoding="latin-1")) == [("Zoë", 1, 5.0)]


def test_parquet_folder_and_glob(tmp_path):
    frame = pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [5, 4]})
    frame.to_parquet(tmp_path / "1.parquet")
    (frame.assign(user=["c", "d"])).to_parquet(tmp_path / "2.parquet")
    wanted = [("a", 1, 5.0), ("b", 2, 4.0), ("c", 1, 5.0), ("d", 2, 4.0)]
    assert entries(read_table(tmp_path)) == wanted
    assert entries(read_table(tmp_path / "*.parquet")) == wanted
    assert entries(read_table(tmp_path / "1.*")) == wanted[:2]


def test_files_of_a_folder_may_differ_in_ids_and_kinds_of_times(tmp_path):
    write(tmp_path, "user,item,rating,time\n1,x,5,7\n", "a.csv")
    write(tmp_path, "user,item,rating,time\nz,x,4,8.5\n", "b.csv")
    ratings = read_table(tmp_path, time="time")
    assert entries(ratings) == [("1", "x", 5.0), ("z", "x", 4.0)]
    assert ratings.time.tolist() == [7, 8]


def test_ids_stay_whole_numbers_only_where_all_are_written_so(tmp_path):
    ratings = read_table(write(tmp_path, "user,item,rating\n10,007,1\n9,7,1\n"))
    assert ratings.users.ids.tolist() == [9, 10]
    assert ratings.items.ids.tolist() == ["007", "7"]
    assert read_table(write(tmp_path, "user,item,rating\n1 ,a,1\n1,a ,1\n")).num_users == 1


def test_without_a_value_column_every_row_counts_one(tmp_path):
    ratings = read_table(write(tmp_path, "user,item\na,x\na,y\n"), value=None)
    assert ratings.value.tolist() == [1.0, 1.0]
    assert ratings.time is None and ratings.time_kind is None


def test_a_column_that_changes_kind_far_down_is_read(tmp_path):
    # The first block of the file (1 MiB) holds whole seconds only.
    lines = [f"{row},1,5,{row}" for row in range(120_000)] + ["500000,1,5,0.5"]
    ratings = read_table(write(tmp_path, "user,item,rating,time\n" + "\n".join(lines) + "\n"), time="time")
    assert len(ratings) == 120_001


@pytest.mark.parametrize(
    ("written", "unit", "seconds"),
    [
        ("1,2,3", "s", [1, 2, 3]),
        ("1.25,-0.5,3", "s", [1, -1, 3]),
        ("1500,2500,999", "ms", [1, 2, 0]),
        ("2020-01-01,1970-01-02,1970-01-01", "s", [1577836800, 86400, 0]),
        ("2020-01-01 00:00:01.5,1970-01-02 00:00:00,1970-01-01 00:00:00", "s", [1577836801, 86400, 0]),
        ("1970-01-01T01:00:00+01:00,1970-01-01T00:00:09Z,1970-01-01T00:00:01Z", "s", [0, 9, 1]),
        ("01-Jan-1970,02-Jan-1970,03-Jan-1970", "s", [0, 86400, 172800]),
    ],
)
def test_times(tmp_path, written, unit, seconds):
    rows = [f"{user};x;{time}" for user, time in zip("abc", written.split(","), strict=True)]
    path = write(tmp_path, "user;item;time\n" + "\n".join(rows) + "\n")
    assert read_table(path, value=None, time="time", time_unit=unit).time.tolist() == seconds


def test_fractions_of_a_second_order_events_within_it(tmp_path):
    path = write(tmp_path, "user,item,time\na,late,5.9\na,early,5.1\na,first,5\n")
    ratings = read_table(path, value=None, time="time")
    assert [item for _, item, _ in entries(ratings)] == ["first", "early", "late"]
    assert ratings.time.tolist() == [5, 5, 5]


def test_times_that_count_up_within_every_user_are_an_order(tmp_path):
    head = "user,item,time\n"
    assert read_table(write(tmp_path, head + "a,x,1\nb,x,0\na,y,0\n"), value=None, time="time").time_kind == "order"
    # User a's times are 0 and 2: not a permutation of 0, 1.
    assert read_table(write(tmp_path, head + "a,x,2\nb,x,0\na,y,0\n"), value=None, time="time").time_kind == "timestamp"


def test_events_and_weights_multiply(tmp_path):
    path = write(tmp_path, "user,item,kind,trust\na,x,view,2\na,y,buy,0.5\nb,x,view,1\n")
    names = {"value": None, "event": "kind"}
    ratings = read_table(path, **names, weight="trust", event_weights={"view": 1, "buy": 5})
    assert ratings.event_names == ("buy", "view")
    assert ratings.event.tolist() == [1, 0, 1]
    assert ratings.weight.tolist() == [2.0, 2.5, 1.0]  # 2 * 1, 0.5 * 5, 1 * 1
    assert read_table(path, **names, event_weights={"view": 1, "buy": 5}).weight.tolist() == [1, 5, 1]
    assert read_table(path, **names).weight is None


def test_item_table_is_aligned_with_the_vocabulary(tmp_path):
    log = write(tmp_path, "user,item,rating\na,30,1\na,4,2\na,5,3\n")
    items = write(tmp_path, 'id;name;kind\n5;"Five; or V";odd\n30;30;even\n99;Unrated;odd\n', "items.csv")
    ratings = read_table(log, item_table={"path": items, "item": "id", "columns": {"title": "name", "genres": "kind"}})
    assert ratings.items.ids.tolist() == [4, 5, 30]
    assert ratings.item_table["title"].fillna("-").tolist() == ["-", "Five; or V", "30"]
    assert ratings.item_table["genres"].fillna("-").tolist() == ["-", "odd", "even"]
    assert ratings.notes[-1] == "The item table has no row for 1 of the items."
    assert read_table(log, item_table={"path": None}).item_table is None
    stranger = write(tmp_path, "item,title\nz,Zed\n", "other.csv")
    with pytest.raises(DataError, match="none of the items"):
        read_table(log, item_table={"path": stranger})


def test_from_frame(tmp_path):
    frame = pd.DataFrame(
        {"u": ["2", "1"], "i": [8.0, 9.0], "r": [1, 2], "t": pd.to_datetime(["1970-01-03", "1970-01-02"])}
    )
    items = pd.DataFrame({"i": [9, 8], "title": ["nine", "eight"]})
    ratings = from_frame(frame, "u", "i", "r", time="t", items=items)
    assert entries(ratings) == [("1", 9, 2.0), ("2", 8, 1.0)]  # text ids of a frame stay text
    assert ratings.time.tolist() == [86400, 172800]
    assert ratings.item_table["title"].tolist() == ["eight", "nine"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=4),
            st.integers(-(10**12), 10**12),
            st.floats(-1000, 1000, width=32),
            st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([",", "\t", "::"]),
)
def test_reading_a_written_file_gives_what_the_frame_gives(tmp_path_factory, rows, separator):
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "time"])
    lines = [separator.join(map(str, row)) for row in [tuple(frame.columns), *rows]]
    path = write(tmp_path_factory.mktemp("log"), "\n".join(lines) + "\n")
    read, built = read_table(path, time="time", separator=separator), from_frame(frame, time="time")
    assert read.items == built.items
    for name in ("item", "value", "time"):
        assert sorted(getattr(read, name).tolist()) == sorted(getattr(built, name).tolist())
    assert {(str(user), item) for user, item, _ in entries(read)} == {(str(u), i) for u, i, _ in entries(built)}


# Bad input


def fails(path: str | Path, *parts: str, **settings) -> None:
    with pytest.raises(DataError) as raised:
        read_table(path, **settings)
    for part in parts:
        assert part in str(raised.value), str(raised.value)


def test_missing_file(tmp_path):
    fails(tmp_path / "no.csv", f"No such file: {tmp_path / 'no.csv'}", "data.source.path")
    fails(tmp_path, f"No file in the folder {tmp_path}")
    fails(tmp_path / "*.csv", "No such file")
    log = write(tmp_path, "user,item,rating\na,x,1\n")
    fails(log, "data.source.item_table.path", item_table={"path": tmp_path / "items.csv"})


def test_missing_column(tmp_path):
    path = write(tmp_path, "userId,movieId,rating\n1,2,3\n")
    fails(path, "log.csv has no column 'user'", "'userId', 'movieId', 'rating'", "Did you mean 'userId'?")
    fails(path, "has 3 columns; there is none at position 7", user=7)
    fails(path, "columns are positions", header=False)
    fails(write(tmp_path, "1,2,3\n"), "looks like data: set header=false")
    fails(write(tmp_path, "user,item,rating\na,x,1\n"), "Fields are separated by ';'", separator=";")
    pd.DataFrame({"userId": [1]}).to_parquet(tmp_path / "log.parquet")
    fails(tmp_path / "log.parquet", "no column 'user'", "Did you mean 'userId'?")
    with pytest.raises(DataError, match="The data frame has no column 'user'. Found: 'users'.*Did you mean 'users'"):
        from_frame(pd.DataFrame({"users": [1]}))


@pytest.mark.parametrize("content", ["", "\n\n", "user,item,rating\n", "\ufeff"])
def test_empty_file(tmp_path, content):
    fails(write(tmp_path, content), "log.csv", "empty" if content != "\ufeff" else "separator")


def test_malformed_line_is_named(tmp_path):
    head = "user,item,rating\n\na,x,1\n"
    fails(write(tmp_path, head + "b,y\n"), "log.csv, line 4: 2 fields", "has 3")
    fails(write(tmp_path, head + "b,y,2,3\n"), "log.csv, line 4: 4 fields")
    fails(write(tmp_path, head + "b,y,good\n"), "log.csv, line 4: the rating 'good' is not a number.")
    fails(write(tmp_path, head + 'b,y,"4,5"\n'), "the rating '4,5' is not a number. Decimals are written with a point.")
    fails(write(tmp_path, head + "b,y,\n"), "log.csv, line 4: the rating is empty")
    fails(
        write(tmp_path, "1::2::3\n1::2\n"), "line 2: 2 fields separated by '::'", user=0, item=1, value=2, header=False
    )
    fails(write(tmp_path, "hello\nworld\n"), "no separator found in 'hello'", user=0, header=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "the rating is empty or not a number (NaN)"),
        ("NaN", "the rating is empty or not a number (NaN)"),
        ("inf", "the rating is inf, which is not finite"),
        ("-inf", "the rating is -inf, which is not finite"),
        ("1e300", "not finite"),
    ],
)
def test_rating_that_is_not_finite(tmp_path, value, message):
    fails(write(tmp_path, f"user,item,rating\na,x,1\nb,x,{value}\n"), "line 3", message)


def test_rating_outside_the_scale(tmp_path):
    path = write(tmp_path, "user,item,rating\na,x,0.5\nb,x,5.5\n")
    fails(path, "line 3: the rating is 5.5; it must be between 0.5 and 5 (scale)", scale=[0.5, 5])
    assert len(read_table(path, scale=(0.5, 5.5))) == 2
    with pytest.raises(ConfigError, match=r"scale must be the lowest and the highest.*\[5, 1\]"):
        read_table(path, scale=[5, 1])


def test_empty_id(tmp_path):
    fails(write(tmp_path, "user,item,rating\na,x,1\n,x,1\n"), "line 3: the user id is empty")
    fails(write(tmp_path, "user,item,rating\na,x,1\nb,  ,1\n"), "line 3: the item id is empty")
    fails(write(tmp_path, "user,item,rating\n1,2,1\n1,,1\n"), "line 3: the item id is empty")
    fails(write(tmp_path, '1::""::1\n1::::1\n'), "line 2: the item id is empty", user=0, item=1, value=2, header=False)
    with pytest.raises(DataError, match="row 1 of the data frame: the user id is empty"):
        from_frame(pd.DataFrame({"user": [1, None], "item": [1, 2]}), value=None)


def test_weight_and_event(tmp_path):
    path = write(tmp_path, "user,item,kind,w\na,x,view,1\na,y,buy,-2\n")
    read = {"value": None, "event": "kind"}
    fails(path, "line 3: the weight is -2; it must be at least 0", value=None, weight="w")
    fails(
        path,
        "names the event 'click', which log.csv does not hold. Found: buy, view",
        **read,
        event_weights={"view": 1, "buy": 2, "click": 1},
    )
    fails(
        path,
        "holds the event 'buy', which event_weights does not name. It names: view",
        **read,
        event_weights={"view": 1},
    )
    with pytest.raises(ConfigError, match="set event"):
        read_table(path, value=None, event_weights={"view": 1})
    with pytest.raises(ConfigError, match="not negative"):
        read_table(path, **read, event_weights={"view": 1, "buy": -1})
    fails(write(tmp_path, "user,item,kind\na,x,\n"), "line 2: the event is empty", **read)
    fails(
        write(tmp_path, "user,item,w\na,x,nan\n"), "line 2: the weight is empty or not a number", value=None, weight="w"
    )


def test_time_that_cannot_be_read(tmp_path):
    def log(time: str) -> Path:
        return write(tmp_path, f"user,item,time\na,x,1970-01-01\na,y,{time}\n")

    fails(log("yesterday"), "line 3: the time 'yesterday' cannot be read", value=None, time="time")
    fails(log(""), "line 3: the time is empty", value=None, time="time")
    path = write(tmp_path, "user,item,time\na,x,1577836800000\n")
    fails(path, "line 2: the time 1577836800000 is not a moment in seconds", "time_unit", value=None, time="time")
    assert read_table(path, value=None, time="time", time_unit="ms").time.tolist() == [1577836800]
    with pytest.raises(ConfigError, match="time_unit must be one of s, ms, us, ns. Received: hours"):
        read_table(path, value=None, time="time", time_unit="hours")


def test_file_that_is_not_text(tmp_path):
    fails(write(tmp_path, b"PK\x03\x04\x00\x00\n\x00"), "line 1: not a text file", "It is a spreadsheet or a ZIP")
    fails(write(tmp_path, "user,item,rating\n".encode("utf-16")), "save UTF-16 text as UTF-8 first")
    fails(write(tmp_path, b"user,item,rating\ra,x,1\r"), "Save it with line ends of Unix or Windows.")
    fails(write(tmp_path, b"User,item,rating\na,x,1\n"), "Did you mean 'User'? Name it: data.source.user=<column>.")
    fails(write(tmp_path, b"user,item,rating\na,x,1\nb\x00,x,1\xff\n"), "line 3: not a text file")
    fails(
        write(tmp_path, b"user,item,rating\na,x,1\nZo\xeb,x,1\n"),
        "line 3: byte 0xeb is not utf-8 text",
        "encoding=latin-1",
    )
    with pytest.raises(ConfigError, match="no encoding 'klingon'"):
        read_table(write(tmp_path, "user,item,rating\na,x,1\n"), encoding="klingon")
    fails(write(tmp_path, b"not parquet", "log.parquet"), "log.parquet is not a Parquet file, or is damaged")
    fails(
        write(tmp_path, gzip.compress(b"user,item,rating\na,x,1\n" * 99)[:40], "cut.csv.gz"),
        "cut.csv.gz cannot be read",
    )
    pd.DataFrame({"user": [1], "item": [1], "rating": ["good"]}).to_parquet(tmp_path / "log.parquet")
    fails(tmp_path / "log.parquet", "column 'rating' does not hold numbers (rating)")


def test_line_numbers_in_several_files(tmp_path):
    write(tmp_path, "user,item,rating\na,x,1\na,y,2\n", "1.csv")
    write(tmp_path, "user,item,rating\nb,x,1\nb,y,nan\n", "2.csv")
    fails(tmp_path, f"{tmp_path / '2.csv'}, line 3: the rating is empty")

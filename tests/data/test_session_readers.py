from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.readers.sessions import clicks_from_frame, read_clicks
from tests.data.test_sessions import spelt

HEADER = "session,item,time\n"


@pytest.fixture
def log(tmp_path):
    """Writes a file and returns its path."""

    def write(text: str, name: str = "log.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_csv_file(log):
    sessions = read_clicks(log(HEADER + "7,x,30\n5,y,20\n7,z,10\n7,x,40\n"))
    assert list(spelt(sessions).items()) == [("7", "zxx"), ("5", "y")]
    assert (sessions.time.tolist(), sessions.time_kind) == ([10, 30, 40, 20], "timestamp")
    assert sessions.ids.ids.tolist() == [7, 5]
    assert sessions.notes == ("Read 4 events in 2 sessions, of 3 items, from log.csv.",)


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("s", ["1396437466.94", "1396438212"]),
        ("ms", ["1396437466940", "1396438212000"]),
        ("s", ["2014-04-02T11:17:46.940Z", "2014-04-02T11:30:12.000Z"]),
        ("s", ["2014-04-02 11:17:46.940", "2014-04-02 11:30:12"]),
    ],
)
def test_times(log, unit, times):
    sessions = read_clicks(log(HEADER + "".join(f"1,x,{time}\n" for time in times)), time_unit=unit)
    assert sessions.time.tolist() == pytest.approx([1396437466.94, 1396438212], abs=1e-6)


def test_days_are_times(log):
    sessions = read_clicks(log(HEADER + "1,x,2014-04-02\n1,y,2014-04-01\n"))
    assert sessions.time.tolist() == [1396310400, 1396396800]
    assert spelt(sessions) == {"1": "yx"}


def test_tsv_and_parquet_alike(log, tmp_path):
    frame = pd.DataFrame({"s": [3, 1, 3], "i": ["a", "b", "c"], "t": [5, 6, 4]})
    frame.to_parquet(tmp_path / "log.parquet")
    columns = {"session": "s", "item": "i", "time": "t"}
    one = read_clicks(tmp_path / "log.parquet", **columns)
    other = read_clicks(log(frame.to_csv(sep="\t", index=False), "log.tsv"), **columns)
    assert one.fingerprint() == other.fingerprint() == clicks_from_frame(frame, **columns).fingerprint()
    assert spelt(one) == {"3": "ca", "1": "b"}


def test_a_glob_of_files_without_header(log, tmp_path):
    log("1,5,a\n", "h_1.csv"), log("2,5,b\n", "h_0.csv"), log("not,to,be,read\n", "other.csv")
    sessions = read_clicks(tmp_path / "h_*.csv", session=0, item=2, time=1, header=False)
    assert list(spelt(sessions)) == ["2", "1"]  # equal times: by order of arrival


def test_without_times_rows_are_in_order(log):
    sessions = read_clicks(log("session,item\n2,x\n1,y\n2,z\n"), time=None)
    assert list(spelt(sessions).items()) == [("2", "xz"), ("1", "y")]
    assert sessions.time is None and sessions.time_kind is None


def test_positions_are_an_order(log):
    sessions = read_clicks(log(HEADER + "2,x,1\n1,y,0\n2,z,0\n"))
    assert sessions.time_kind == "order"
    assert list(spelt(sessions).items()) == [("2", "zx"), ("1", "y")]


def test_train_and_test_files_share_no_session(log):
    train, test = log(HEADER + "1,a,5\n2,b,6\n1,c,7\n"), log(HEADER + "1,d,8\n1,a,9\n", "test.csv")
    sessions = read_clicks(train, test_path=test)
    assert spelt(sessions) == {"1": "ac", "2": "b", "test:1": "da"}
    assert sessions.part.tolist() == [0, 0, 1]
    assert sessions.notes[0].endswith("from log.csv and test.csv.")


def test_ids_of_train_and_test_stay_where_they_differ(log):
    train, test = log(HEADER + "1,a,5\n1,b,6\n"), log(HEADER + "2,a,8\n", "test.csv")
    sessions = read_clicks(train, test_path=test)
    assert sessions.ids.ids.tolist() == [1, 2]
    assert sessions.part.tolist() == [0, 1]


def test_users_are_cut_at_pauses(log):
    # Pauses of u: 1800 s (no more than half an hour), 1801 s; of v: 0. The rows are in no order.
    rows = [("u", "b", 1800), ("v", "x", 900), ("u", "a", 0), ("u", "c", 3601), ("v", "y", 900)]
    path = log("who,item,time\n" + "".join(f"{who},{item},{time}\n" for who, item, time in rows))
    sessions = read_clicks(path, session=None, user="who")
    assert list(spelt(sessions).items()) == [("u-1", "ab"), ("v-1", "xy"), ("u-2", "c")]
    assert sessions.notes[1] == "Sessions end where a user pauses for more than 30 minutes."
    whole = read_clicks(path, session=None, user="who", gap_minutes=None)
    assert spelt(whole) == {"u": "abc", "v": "xy"}


def test_users_of_the_test_file_are_cut_by_themselves(log):
    train, test = log("user,item,time\n1,a,0\n1,b,60\n"), log("user,item,time\n1,c,120\n", "test.csv")
    sessions = read_clicks(train, session=None, user="user", test_path=test)
    assert spelt(sessions) == {"1-1": "ab", "test:1-1": "c"}
    assert sessions.part.tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=50), st.integers(1, 60))
def test_pauses(rows, gap):
    frame = pd.DataFrame(rows, columns=["user", "time"]).assign(item="x")
    frame["time"] = frame["time"] * 60 + 10**6
    sessions = clicks_from_frame(frame, session=None, user="user", time="time", gap_minutes=gap)
    same = np.diff(sessions.session) == 0
    assert (np.diff(sessions.time)[same] <= gap * 60).all()
    pauses = frame.sort_values("time").groupby("user")["time"].diff() > gap * 60
    assert sessions.num_sessions == pauses.sum() + frame["user"].nunique()
    assert len(sessions) == len(frame)


def test_kinds_of_events(log):
    path = log("session,item,time,kind\n1,a,1,view\n1,a,2,buy\n1,b,3,share\n2,b,4,share\n")
    everything = read_clicks(path, event="kind")
    assert everything.event_names == ("buy", "share", "view")
    some = read_clicks(path, event="kind", events=["view", "buy"])
    assert (some.event_names, some.event.tolist()) == (("view", "buy"), [0, 1])
    assert spelt(some) == {"1": "aa"}
    assert some.notes[1] == "Events other than view, buy: left out 2."


def test_item_table(log):
    items = log("sku,name\nb,Bee\na,Ay\nq,Queue\n", "items.csv")
    table = {"path": str(items), "item": "sku", "columns": {"title": "name"}}
    sessions = read_clicks(log(HEADER + "1,a,1\n1,b,2\n1,c,3\n"), item_table=table)
    assert sessions.item_table["title"].tolist()[:2] == ["Ay", "Bee"]
    assert "no row for 1 of the items" in sessions.notes[-1]


def test_items_that_nobody_clicked_are_kept_where_asked_for(log):
    items = log("sku,name\nb,Bee\nq,Queue\na,Ay\nq,Again\n", "items.csv")
    table = {"path": str(items), "item": "sku", "columns": {"title": "name"}}
    clicks = log(HEADER + "1,a,1\n1,b,2\n")
    sessions = read_clicks(clicks, item_table=table, new_items=True)
    assert sessions.items.ids.tolist() == ["a", "b", "q"]
    assert sessions.item_table["title"].tolist() == ["Ay", "Bee", "Queue"]
    assert sessions.support.tolist() == [1, 1, 0]
    assert "Items of the table without an event: 1." in sessions.notes
    numbers = log("sku,name\n3,Three\n1,One\n", "numbers.csv")
    for raw, expected in (("1", [1, 3]), ("x", ["1", "x", "3"])):
        mixed = log(HEADER + f"1,1,1\n1,{raw},2\n")
        found = read_clicks(mixed, item_table=table | {"path": str(numbers)}, new_items=True)
        assert found.items.ids.tolist() == expected
    with pytest.raises(ConfigError, match="new_items=true needs a table of items"):
        read_clicks(clicks, new_items=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log.csv is empty"),
        (HEADER, "log.csv is empty: it holds no row"),
        ("session,itm,time\n1,2,3\n", "has no column 'item'. Found: 'session', 'itm', 'time'. Did you mean 'itm'"),
        (HEADER + "1,2,3\n\n1,2\n", "line 4: 2 fields separated by ',' where the first line has 3: '1,2'"),
        (HEADER + "1,2,3\n,2,3\n", "line 3: the session id is empty"),
        (HEADER + "1,2,3\n1,,3\n", "line 3: the item id is empty"),
        (HEADER + "1,2,3\n1,2,\n", "line 3: the time is empty"),
        (HEADER + "1,2,3\n1,2,soon\n", "line 3: the time 'soon' cannot be read"),
        (HEADER + "1,2,3\n1,2,2014-13-01T00:00:00Z\n", "line 3: the time '2014-13-01T00:00:00Z' cannot be read"),
        (HEADER + "1,2,1396437466940\n", "line 2: the time 1396437466940 is not a moment in seconds since 1970"),
    ],
)
def test_files_that_cannot_be_used(log, text, message):
    with pytest.raises(DataError) as error:
        read_clicks(log(text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_places_in_the_test_file(log):
    train, test = log(HEADER + "1,a,5\n"), log(HEADER + "1,d,8\n1,,9\n", "test.csv")
    with pytest.raises(DataError, match="test.csv, line 3: the item id is empty"):
        read_clicks(train, test_path=test)


def test_missing_files(log, tmp_path):
    with pytest.raises(DataError, match="No such file: .*nothing.csv. Set data.source.path"):
        read_clicks(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="No such file: .*nothing.csv. Set data.source.test_path"):
        read_clicks(log(HEADER + "1,2,3\n"), test_path=tmp_path / "nothing.csv")


def test_settings_that_contradict(log):
    path = log("session,user,item,time\n1,1,a,5\n1,1,b,10\n")
    with pytest.raises(ConfigError, match="either the column of session ids .* give one of the two"):
        read_clicks(path, user="user")
    with pytest.raises(ConfigError, match="either the column of session ids"):
        read_clicks(path, session=None)
    with pytest.raises(ConfigError, match="needs their times: set data.source.time"):
        read_clicks(path, session=None, user="user", time=None)
    with pytest.raises(ConfigError, match="gap_minutes must be above 0"):
        read_clicks(path, session=None, user="user", gap_minutes=0)
    with pytest.raises(ConfigError, match="set data.source.event"):
        read_clicks(path, events=["view"])
    with pytest.raises(DataError, match="names 'view', which the data do not hold. Found: a, b"):
        read_clicks(path, event="item", events=["view"])
    with pytest.raises(ConfigError, match="must name each kind of event once"):
        read_clicks(path, event="item", events=["a", "a"])


def test_pauses_need_moments(log):
    path = log("user,item,time\n1,a,0\n1,b,1\n2,a,0\n")
    with pytest.raises(DataError, match="only the order within each user. data.source.gap_minutes=null takes"):
        read_clicks(path, session=None, user="user")


def test_frames_that_cannot_be_used():
    with pytest.raises(DataError, match="The data frame has no column 'session'"):
        clicks_from_frame(pd.DataFrame({"item": [1]}))
    with pytest.raises(DataError, match="The data frame is empty: it holds no event"):
        clicks_from_frame(pd.DataFrame({"item": [], "session": []}))
    with pytest.raises(DataError, match="row 1 of the data frame: the item id is empty"):
        clicks_from_frame(pd.DataFrame({"item": ["a", None], "session": [1, 1]}))

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import get_method

from nnrec.core.errors import DataError
from nnrec.data.filters.sessions import filter_sessions
from nnrec.data.load import load
from nnrec.data.readers.ratings import from_frame
from nnrec.data.sources.clickstreams import as_clicks, read_diginetica, read_movielens_clicks, read_yoochoose
from nnrec.splits.sessions import GivenSessions, LastDays
from tests.data.test_load import data_config
from tests.data.test_movielens import ml_100k, ml_dat
from tests.data.test_sessions import spelt

NAMES = [
    "clicks", "yoochoose", "yoochoose1_64", "yoochoose-100k", "diginetica", "diginetica-sample", "retailrocket",
    "globo", "ml-1m-clicks", "ml-100k-clicks",
]  # fmt: skip


def loaded(name: str, root: Path, *overrides: str):
    config = data_config(name, f"+data_root={root}", "data.filters.min_item_support=1", *overrides)
    assert (config.data.name, config.data.family) == (name, "sessions")
    return load(config.data)


@pytest.fixture
def write(tmp_path):
    def write(path: str, *lines: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def by_item(sessions) -> dict[str, list[int]]:
    words = np.split(sessions.items.ids[sessions.item], sessions.offsets[1:-1])
    return {str(name): word.tolist() for name, word in zip(sessions.ids.ids, words, strict=True)}


@pytest.fixture
def yoochoose(write):
    write(
        "yoochoose/yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,21,0",
        "1,2014-04-07T10:57:09.868Z,22,S",
        "2,2014-04-06T13:56:37.614Z,23,0",
        "2,2014-04-06T13:57:29.420Z,21,0",
    )
    write(
        "yoochoose/yoochoose-buys.dat",
        "1,2014-04-07T10:55:00.000Z,21,1046,1",
        "9,2014-04-07T10:55:00.000Z,99,1046,1",
    )


def test_yoochoose(yoochoose, tmp_path):
    sessions = loaded("yoochoose", tmp_path)
    assert list(by_item(sessions).items()) == [("2", [23, 21]), ("1", [21, 22])]
    assert sessions.event is None
    # 2014-04-06 is 16166 days after 1970-01-01; 13:56:37.614
    assert sessions.time[0] == pytest.approx(16166 * 86400 + 13 * 3600 + 56 * 60 + 37.614, abs=1e-4)


def test_yoochoose_buys(yoochoose, tmp_path):
    buys = f"data.source.buys={tmp_path}/yoochoose/yoochoose-buys.dat"
    sessions = loaded("yoochoose", tmp_path, buys)
    assert by_item(sessions) == {"2": [23, 21], "1": [21, 21, 22]}
    assert (sessions.event_names, sessions.event.tolist()) == (("click", "buy"), [0, 0, 0, 1, 0])
    assert "Sessions with a buy but no click: left out 1." in sessions.notes
    once = loaded("yoochoose", tmp_path, buys, "data.filters.collapse_repeats=true")
    assert once.event.tolist() == [0, 0, 1, 0]


def test_yoochoose_without_its_file(tmp_path):
    with pytest.raises(DataError, match="No such file: .*yoochoose-clicks.dat. Set data.source.clicks"):
        loaded("yoochoose", tmp_path)


def test_yoochoose_with_a_bad_line(write):
    path = write("clicks.dat", "1,2014-04-07T10:51:09.277Z,21,0", "1,yesterday,21,0")
    with pytest.raises(DataError, match="clicks.dat, line 2: the time 'yesterday' cannot be read"):
        read_yoochoose(path)


@pytest.fixture
def diginetica(write):
    """DIGINETICA files; session 4 lasts past midnight."""
    write(
        "diginetica/train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate",
        "3;NA;31;90000;2016-05-09",
        "3;NA;32;1500;2016-05-09",
        "4;7;32;200;2016-05-08",
        "4;7;33;100;2016-05-07",
    )
    write(
        "diginetica/train-purchases.csv",
        "sessionId;userId;timeframe;eventdate;ordernumber;itemId",
        "4;7;300;2016-05-08;1;32",
        "8;NA;300;2016-05-08;1;32",
    )
    write("diginetica/product-categories.csv", "itemId;categoryId", "32;5", "31;6", "33;5")


def test_diginetica(diginetica, tmp_path):
    sessions = loaded("diginetica", tmp_path)
    assert list(by_item(sessions).items()) == [("4", [33, 32]), ("3", [32, 31])]
    # 2016-05-07 is 16928 days after 1970-01-01
    day = 16928 * 86400
    assert sessions.time == pytest.approx([day + 0.1, day + 0.2, day + 2 * 86400 + 1.5, day + 2 * 86400 + 90])


def test_diginetica_purchases_and_categories(diginetica, tmp_path):
    folder = tmp_path / "diginetica"
    sessions = loaded(
        "diginetica",
        tmp_path,
        f"data.source.purchases={folder}/train-purchases.csv",
        f"data.source.categories={folder}/product-categories.csv",
    )
    assert by_item(sessions) == {"4": [33, 32, 32], "3": [32, 31]}
    assert sessions.event.tolist() == [0, 0, 1, 0, 0]
    assert sessions.item_table["category"].tolist() == [6, 5, 5]


def test_the_other_way_to_name_the_columns(write):
    path = write("views.csv", "session_id;user_id;item_id;timeframe;eventdate", "1;NA;5;20;2016-05-09")
    assert by_item(read_diginetica(path)) == {"1": [5]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1;NA;5;late;2016-05-09", "line 2: the time 'late' cannot be read"),
        ("1;NA;5;20;the ninth", "line 2: the time 'the ninth' cannot be read"),
        ("1;NA;5;20", "line 2: 4 fields separated by ';' where the first line has 5"),
    ],
)
def test_diginetica_with_a_bad_line(write, line, message):
    path = write("views.csv", "sessionId;userId;itemId;timeframe;eventdate", line)
    with pytest.raises(DataError, match=message):
        read_diginetica(path)


def test_diginetica_without_a_column(write):
    with pytest.raises(DataError, match="has no column 'itemId'. Found: 'sessionId', 'timeframe', 'eventdate'"):
        read_diginetica(write("views.csv", "sessionId;timeframe;eventdate", "1;2;2016-05-09"))


def test_retailrocket(write, tmp_path):
    start = 1433221332117
    write(
        "retailrocket/events.csv",
        "timestamp,visitorid,event,itemid,transactionid",
        f"{start + 60_000},7,view,12,",
        f"{start},7,view,11,",
        f"{start + 61_000},7,transaction,12,4000",
        f"{start + 3_600_000},7,view,13,",
        f"{start + 3_660_000},7,view,11,",
    )
    sessions = loaded("retailrocket", tmp_path)
    assert list(by_item(sessions).items()) == [("7-1", [11, 12]), ("7-2", [13, 11])]
    assert sessions.time[0] == pytest.approx(start / 1000)
    strong = loaded("retailrocket", tmp_path, "data.source.events=[view,transaction]")
    assert by_item(strong)["7-1"] == [11, 12, 12]
    assert strong.event.tolist() == [0, 0, 1, 0, 0]


def test_globo(write, tmp_path):
    header = "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,click_environment"
    write("globo/clicks/clicks_hour_000.csv", header, "0,1506825423271737,1506825423000,2,119592,1506826828020,4")
    write(
        "globo/clicks/clicks_hour_001.csv", header,
        "0,1506825423271737,1506825423000,2,30970,1506826858020,4",
        "3,9,1506825423000,2,1,1506820000000,4", "3,9,1506825423000,2,2,1506820001000,4",
    )  # fmt: skip
    write("globo/clicks_sample.csv", "not to be read")
    sessions = loaded("globo", tmp_path)
    assert list(by_item(sessions).items()) == [("9", [1, 2]), ("1506825423271737", [119592, 30970])]
    assert sessions.time[2] == pytest.approx(1506826828.02)


def test_yoochoose1_64(write, tmp_path):
    header = "session_id\titem_id\tposition"
    write("yoochoose1_64/train.tsv", header, "1\t5\t0", "1\t6\t1", "2\t6\t0", "2\t5\t1")
    write("yoochoose1_64/test.tsv", header, "1\t6\t0", "1\t5\t1", "1\t9\t2")
    sessions = loaded("yoochoose1_64", tmp_path)
    assert by_item(sessions) == {"1": [5, 6], "2": [6, 5], "test:1": [6, 5, 9]}
    assert (sessions.part.tolist(), sessions.time) == ([0, 0, 1], None)


def test_yoochoose_100k(write, tmp_path):
    header = "SessionId\tItemId\tTime"
    write("yoochoose-100k/yoochoose-clicks-100k_train_full.txt", header, "3\t5\t1396437466.94", "3\t6\t1396437467.0")
    write("yoochoose-100k/yoochoose-clicks-100k_test.txt", header, "4\t5\t1396860669.277", "4\t6\t1396860886.9")
    sessions = loaded("yoochoose-100k", tmp_path)
    assert by_item(sessions) == {"3": [5, 6], "4": [5, 6]}
    assert (sessions.part.tolist(), sessions.time_kind) == ([0, 1], "timestamp")


def test_movielens_configs(tmp_path):
    ml_100k(tmp_path / "ml-100k"), ml_dat(tmp_path / "ml-1m")
    for name in ("ml-100k-clicks", "ml-1m-clicks"):
        sessions = loaded(name, tmp_path, "data.filters.min_session_length=1")
        assert sessions.num_items == 2
        assert "title" in sessions.item_table


def ratings(times):
    frame = pd.DataFrame({"user": [1, 1, 1, 2], "item": list("cabc"), "rating": [2, 5, 4, 3], "time": times})
    return from_frame(frame, time="time", items=pd.DataFrame({"item": ["a", "c"], "title": ["Ay", "See"]}))


def test_ratings_as_clicks():
    sessions = as_clicks(ratings([9000, 5000, 5060, 4000]))
    assert list(spelt(sessions).items()) == [("2", "c"), ("1", "abc")]
    assert sessions.item_table["title"].tolist()[::2] == ["Ay", "See"]
    assert list(spelt(as_clicks(ratings([9000, 5000, 5060, 4000]), gap_minutes=30)).items()) == [
        ("2-1", "c"), ("1-1", "ab"), ("1-2", "c"),
    ]  # fmt: skip


def test_low_ratings_are_left_out():
    sessions = as_clicks(ratings([9000, 5000, 5060, 4000]), min_rating=4)
    assert spelt(sessions) == {"1": "ab"}
    assert "Ratings below 4: left out 2." in sessions.notes
    with pytest.raises(DataError, match="min_rating=6 leaves no rating: the highest is 5"):
        as_clicks(ratings([9000, 5000, 5060, 4000]), min_rating=6)


@pytest.mark.parametrize("min_rating", [None, 4])
def test_an_order_stays_one(min_rating):
    """Times that are only an order remain one, also if dropped ratings leave gaps in it."""
    ordered = ratings([0, 2, 1, 0])
    sessions = as_clicks(ordered, min_rating=min_rating)
    assert sessions.time_kind == "order"
    assert spelt(sessions)["1"] == ("cba" if min_rating is None else "ba")
    with pytest.raises(DataError, match="only the order within each user. data.source.gap_minutes=null"):
        as_clicks(ordered, min_rating=min_rating, gap_minutes=30)
    with pytest.raises(DataError, match="needs timestamps"):
        LastDays()(sessions, 0)


def test_ratings_without_times():
    with pytest.raises(DataError, match="Ratings without times cannot be read as clickstreams"):
        as_clicks(from_frame(pd.DataFrame({"user": [1], "item": [1], "rating": [1]})))


@pytest.mark.parametrize("name", NAMES)
def test_configs_show_every_setting(name):
    config = data_config(name, "+data_root=x").data
    assert list(config.filters) == list(inspect.signature(filter_sessions).parameters)[1:]
    known = inspect.signature(get_method(config.source._target_)).parameters
    assert set(config.source) - {"_target_"} <= set(known)
    if name == "clicks":
        assert set(config.source) - {"_target_"} == set(known)


def test_real_yoochoose1_64(real_data):
    sessions = loaded("yoochoose1_64", real_data("yoochoose1_64").parent)
    train, test = (sessions.take(sessions.part == part) for part in (0, 1))
    assert (len(train), train.num_sessions) == (486_026, 116_167)
    assert (len(test), test.num_sessions) == (71_222, 15_324)
    positions = loaded("yoochoose1_64", real_data("yoochoose1_64").parent, "data.source.time=position")
    assert positions.time_kind == "order"
    assert (positions.item == sessions.item).all()
    split = GivenSessions()(sessions, 0)
    assert split.merged().train.fingerprint() == train.fingerprint()


def test_real_yoochoose_100k(real_data):
    sessions = loaded("yoochoose-100k", real_data("yoochoose-100k").parent)
    given = GivenSessions()(sessions, 0)
    assert (len(given.merged().train), len(given.test)) == (70_278, 13_568)
    # The publisher's test file is the last day.
    assert LastDays()(sessions, 0).test.fingerprint() == given.test.fingerprint()


def test_real_diginetica_sample(real_data):
    folder = real_data("diginetica-sample")
    sessions = loaded("diginetica-sample", folder.parent, "data.filters.min_session_length=1")
    assert (len(sessions), sessions.num_sessions) == (12_391, 2_986)
    assert sessions.item_table["category"].notna().all()
    bought = loaded(
        "diginetica-sample", folder.parent, "data.filters.min_session_length=1",
        f"data.source.purchases={folder}/train-purchases.csv",
    )  # fmt: skip
    assert (bought.num_sessions, int(bought.event.sum())) == (2_986, 256)


def test_real_movielens(real_data):
    sessions = read_movielens_clicks("ml-1m", real_data("ml-1m"))
    assert (len(sessions), sessions.num_sessions, sessions.time_kind) == (1_000_209, 6_040, "order")
    with pytest.raises(DataError, match="only the order within each user"):
        read_movielens_clicks("ml-1m", real_data("ml-1m"), min_rating=4, gap_minutes=30)

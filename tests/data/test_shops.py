from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.sources.shops import read_bundlerec, read_retailrocket
from tests.data.test_clickstreams import by_item, loaded


@pytest.fixture
def write(tmp_path):
    def write(path: str, *lines: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


@pytest.fixture
def bundlerec(write, tmp_path):
    write("bundlerec/food/session_item.csv", "session ID,item ID", "7,21", "7,9", "3,21", "3,22", "3,50", "4,22", "4,9")
    write("bundlerec/food/user_session.csv", "user ID,session ID,timestamp", "0,7,1404864000", "0,3,1404000000")
    write("bundlerec/food/item_titles.csv", "item ID,titles", '9,"Tea &amp; Milk, 18 Bags"', "21,Crisps", "22,Pretzels")
    write(
        "bundlerec/food/item_categories.csv", "item ID,categories",
        '9,"[[Grocery,Beverages,Coffee, Tea &amp; Cocoa,Tea],[Grocery,Gifts]]"', '21,"[[Grocery,Snacks]]"', "22,[[]]",
    )  # fmt: skip
    return tmp_path / "bundlerec/food"


def test_bundlerec(bundlerec, tmp_path):
    sessions = loaded("bundlerec-food", tmp_path)
    # by date; session 4 has none, item 50 no title
    assert by_item(sessions) == {"3": [21, 22], "7": [21, 9]}
    assert sessions.time_kind == "timestamp"
    assert sessions.item_table.to_dict("list") == {
        "title": ["Tea & Milk, 18 Bags", "Crisps", "Pretzels"],
        "category": ["Grocery > Beverages > Coffee, Tea & Cocoa > Tea", "Grocery > Snacks", ""],
    }
    assert "Events of sessions without a date: left out 2." in sessions.notes
    assert "Events of items without a title: left out 1." in sessions.notes
    whole = read_bundlerec(bundlerec, described=False)
    assert by_item(whole)["3"] == [21, 22, 50]


def test_a_broken_line_of_bundlerec_is_named(bundlerec, write):
    write("bundlerec/food/session_item.csv", "session ID,item ID", "7,21", "4,9", "7,")
    with pytest.raises(DataError, match=r"session_item\.csv, line 4: "):
        read_bundlerec(bundlerec, described=False)
    write("bundlerec/food/user_session.csv", "user ID,session ID,timestamp", "0,100,1404864000")
    with pytest.raises(DataError, match="no event of session_item.csv has a date"):
        read_bundlerec(bundlerec)


@pytest.mark.parametrize("name", ["clothing", "electronic", "food"])
def test_the_real_bundlerec(name, real_data):
    sessions = loaded(f"bundlerec-{name}", real_data("bundlerec").parent)
    assert sessions.num_sessions > 900 and sessions.lengths.min() >= 2
    assert (sessions.item_table["title"].str.len() > 0).all()


@pytest.fixture
def retailrocket(write):
    write(
        "retailrocket/events.csv", "timestamp,visitorid,event,itemid,transactionid",
        "1433221332117,1,view,10,", "1433221342117,1,view,20,", "1433221352117,1,addtocart,10,",
        "1433221332117,2,view,20,", "1433221392117,2,view,30,",
    )  # fmt: skip
    header = "timestamp,itemid,property,value"
    write(
        "retailrocket/item_properties_part1.csv", header, "1435460400000,10,categoryid,5", "1433000000000,20,790,n9.500"
    )
    write(
        "retailrocket/item_properties_part2.csv", header,
        "1433041200000,10,categoryid,7", "1433041200000,20,categoryid,5",
        "1433041200000,99,categoryid,5", "1434041200000,20,790,n12.000", "1433041200000,30,790,n480.000",
    )  # fmt: skip
    return write("retailrocket/category_tree.csv", "categoryid,parentid", "5,2", "2,1", "1,", "7,1").parent


SOURCE = "data.source."


def test_retailrocket_items_have_the_earliest_of_their_properties(retailrocket, tmp_path):
    parts = [f"{SOURCE}{name}={retailrocket / file}" for name, file in
             {"properties": "item_properties_part*.csv", "category_tree": "category_tree.csv"}.items()]  # fmt: skip
    sessions = loaded("retailrocket", tmp_path, *parts, f'+{SOURCE}columns.price="790"')
    assert by_item(sessions) == {"1-1": [10, 20], "2-1": [20, 30]}
    table = sessions.item_table
    assert table["category"].fillna("").tolist() == ["1 > 7", "1 > 2 > 5", ""]
    np.testing.assert_array_equal(table["price"], [np.nan, 9.5, 480.0])
    assert loaded("retailrocket", tmp_path).item_table is None


def test_settings_of_retailrocket_that_do_not_go_together(retailrocket):
    events = retailrocket / "events.csv"
    with pytest.raises(ConfigError, match="category_tree needs"):
        read_retailrocket(events, category_tree=retailrocket / "category_tree.csv")
    with pytest.raises(DataError, match="no item has the property '888'"):
        read_retailrocket(events, retailrocket / "item_properties_part1.csv", columns={"brand": "888"})

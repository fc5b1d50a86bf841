from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import nnrec.data.files.streams as streams
from nnrec.core.errors import ConfigError, DataError
from nnrec.core.stored_arrays import StoredArray
from nnrec.data.files.streams import TableFiles
from nnrec.data.impressions import Impressions
from nnrec.data.readers.impression_columns import Meaning, collected, opened
from nnrec.data.readers.impressions import from_frame, read_impressions
from nnrec.data.schema import Schema

LOG = """clicked,who,what,colours,price,at
1,5,007,red|blue,3.5,2020-01-01 05:00:00
0,,x,,,2020-01-02 23:30:00

1,5,x,blue| |green,7,2020-01-03 00:00:00
"""
ARGUMENTS = {
    "label": "clicked",
    "numeric": ["price"],
    "multi": ["colours"],
    "user": "who",
    "item": "what",
    "item_columns": ["colours", "price"],
    "time": "at",
    "time_features": ["hour", "weekday"],
}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def read(path, **changes) -> Impressions:
    return read_impressions(path, **{**ARGUMENTS, **changes})


def same(one: Impressions, other: Impressions) -> None:
    assert one.fingerprint() == other.fingerprint() and one.schema == other.schema
    a, b = (each.rows(np.arange(len(each))) for each in (one, other))
    for left, right in ((a.codes, b.codes), (a.numbers, b.numbers), (one.label, other.label)):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))
    for left, right in zip(a.bags, b.bags, strict=True):
        np.testing.assert_array_equal(left.offsets, right.offsets)
        np.testing.assert_array_equal(left.value, right.value)
    for name in one.levels:
        assert one.levels[name].strings.to_pylist() == other.levels[name].strings.to_pylist()


def test_a_table_by_hand(log):
    data = read(log)
    assert data.schema.categorical == ("who", "what", "hour", "weekday") and data.schema.context == ("hour", "weekday")
    assert data.label.tolist() == [1, 0, 1] and data.label.dtype == np.float32
    assert data.codes.tolist() == [[0, 0, 0, 0], [-1, 1, 1, 1], [0, 1, 2, 2]]
    assert [levels.strings.to_pylist() for levels in data.levels.values()] == [
        ["5"], ["007", "x"], ["5", "23", "0"], ["2", "3", "4"], ["red", "blue", "green"]
    ]  # fmt: skip
    assert data.bags[0].offsets.tolist() == [0, 2, 2, 4] and data.bags[0].value.tolist() == [0, 1, 1, 2]
    assert data.numbers.ravel().tolist()[::2] == [3.5, 7] and np.isnan(data.numbers[1, 0])
    assert data.time.tolist() == [1577854800, 1578007800, 1578009600]
    assert data.users.ids.tolist() == [5] and data.items.ids.tolist() == ["007", "x"]
    assert data.codes_of("who").tolist() == [0, -1, 0] and data.codes_of("what", np.array([2])).tolist() == [1]
    assert data.notes == ("Read 3 rows from log.csv.",)


def test_columns_that_are_named_nowhere_else_are_categorical(log):
    data = read_impressions(log, label="clicked", time="at")
    assert data.schema.categorical == ("who", "what", "colours", "price")


@pytest.mark.parametrize("kind", ["tsv", "gz", "parquet", "folder", "glob", "positions"])
def test_other_layouts_hold_the_same(log, tmp_path, kind):
    frame = pd.read_csv(log, dtype={"what": str, "who": str})
    path, changes = tmp_path / "other", {}
    if kind == "tsv":
        frame.to_csv(path, sep="\t", index=False)
    elif kind == "gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(LOG.encode()))
    elif kind == "parquet":
        path = path.with_suffix(".parquet")
        frame["colours"] = [["red", "blue"], None, ["blue", "green"]]
        frame.astype({"at": "datetime64[ns]"}).to_parquet(path)
    elif kind == "positions":
        frame.to_csv(path, header=False, index=False)
        changes = {"header": False, "names": ["clicked", "who", "what", "colours", "price", "at"]}
    else:
        path.mkdir()
        frame[:1].to_csv(path / "1.csv", index=False)
        frame[1:][["at", "price", "colours", "what", "who", "clicked"]].to_csv(path / "2.csv", index=False)
        path = path if kind == "folder" else path / "*.csv"
    same(read(log), read(path, **changes))


@pytest.mark.parametrize("block", [64, 2**24])
def test_from_files_as_from_memory(log, tmp_path, block, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", block)
    log.write_text(LOG + "0,6,y,red,1,2020-01-04 00:00:00\n" * 20)
    cached = read(log, cache=tmp_path / "cache")
    assert isinstance(cached.codes, StoredArray) and cached.notes[1].startswith("Arrays in ")
    same(read(log, cache=None), cached)
    assert replace(cached, hash=None).fingerprint() == cached.fingerprint()
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.name.startswith("log-") and (folder / "about.json").is_file()


def test_arrays_are_made_once_until_the_source_changes(log, tmp_path):
    cache = tmp_path / "cache"
    first = read(log, cache=cache)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    same(first, read(log, cache=cache))
    assert before == {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    read(log, cache=cache, threshold=0.5)
    assert len(list(cache.iterdir())) == 2
    log.write_text(LOG.replace("3.5", "4.5"))
    os.utime(log, (1, 1))
    assert read(log, cache=cache).numbers.take(np.array([0]))[0, 0] == 4.5
    assert len(list(cache.iterdir())) == 3


def test_what_a_killed_process_left_is_removed(log, tmp_path):
    read(log, cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    alive, dead = (folder.with_name(f".{folder.name}.{pid}.tmp") for pid in (os.getppid(), 2**22 + 1))
    for place in (alive, dead):
        shutil.copytree(folder, place)
    shutil.rmtree(folder)
    read(log, cache=tmp_path / "cache")
    assert sorted((tmp_path / "cache").iterdir()) == sorted([folder, alive])


def test_a_cache_that_cannot_be_written(log, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"Cannot write to .*: Not a directory. Choose another data.source.cache"):
        read(log, cache=tmp_path / "cache")


def test_a_column_of_another_kind(tmp_path):
    pd.DataFrame({"label": [1], "c": [["a", "b"]]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(
        DataError, match=r"x.parquet, row 1: column 'c' holds list<.*>, no texts or numbers. List it in"
    ):
        read_impressions(tmp_path / "x.parquet")


def test_what_was_broken_off_leaves_nothing(log, tmp_path):
    log.write_text(LOG + "1,2,3\n")
    with pytest.raises(DataError):
        read(log, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("harm", ["remove", "shorten"])
def test_a_damaged_cache_is_named(log, tmp_path, harm):
    read(log, cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    if harm == "remove":
        (folder / "levels.0.arrow").unlink()
    else:
        (folder / "codes.bin").write_bytes(b"1234")
    with pytest.raises(DataError, match="damaged: remove"):
        read(log, cache=tmp_path / "cache")


def test_small_files_need_no_cache(log, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert isinstance(read(log).codes, np.ndarray)
    monkeypatch.setattr("nnrec.data.readers.impressions.IN_MEMORY_BYTES", 10)
    assert isinstance(read(log).codes, StoredArray)
    assert len(list((tmp_path / "home" / "nnrec").iterdir())) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,5,x", r"log.csv, line 6: 3 fields separated by ',' where the first line has 6: '1,5,x'"),
        ("1,5,x,b,7x,2020-01-03 00:00:00", r"log.csv, line 6: the price '7x' is not a number"),
        ("1,5,x,b,inf,2020-01-03 00:00:00", r"log.csv, line 6: the price is inf, which is not finite"),
        ("1,5,x,b,7,soon", r"log.csv, line 6: the time 'soon' cannot be read"),
        ("yes,5,x,b,7,2020-01-03 00:00:00", r"log.csv, line 6: the label \(clicked\) 'yes' is not a number"),
        (",5,x,b,7,2020-01-03 00:00:00", r"log.csv, line 6: the label \(clicked\) is empty"),
        ("1,5,\udcff,b,7,2020-01-03", r"log.csv, line 6: byte 0xff is not utf-8 text"),
    ],
)
@pytest.mark.parametrize("block", [64, 2**24])
def test_a_line_that_cannot_be_used_is_named(log, line, message, block, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", block)
    log.write_text(LOG + line + "\n", errors="surrogateescape")
    with pytest.raises(DataError, match=message):
        read(log)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label": "click"}, DataError, "has no column 'click'. Found: .*Did you mean 'clicked'"),
        ({"user": "whom"}, ConfigError, r"column 'whom' must be one of the cat.*: who, .*Did you mean who\?"),
        ({"user_columns": ["colour"]}, ConfigError, "user_columns names 'colour', which is none of"),
        ({"user": None, "user_columns": ["price"]}, ConfigError, "user_columns needs the column of users: set user"),
        ({"user_columns": ["price"]}, ConfigError, "'price' cannot go with the user and with the item"),
        ({"numeric": ["price", "what"], "categorical": ["who", "what"]}, ConfigError, "'what' is listed twice"),
        ({"time": None}, ConfigError, "time_features needs the column of times"),
        ({"time_features": ["month"]}, ConfigError, "time_features may list hour, weekday. Received: 'month'"),
        ({"separator": "::"}, ConfigError, "a separator of one character"),
        ({"path": "no.csv"}, DataError, "Set data.source.path"),
        ({"test_path": "no.csv"}, DataError, "Set data.source.test_path"),
        ({"header": False, "names": ["a"]}, DataError, "line 1: 6 fields where there should be 1"),
    ],
)
def test_settings_that_do_not_fit(log, changes, error, message):
    with pytest.raises(error, match=message):
        read(**{"path": log, **changes})


@pytest.mark.parametrize("content", ["", "clicked,who,what,colours,price,at\n"])
def test_an_empty_file(log, content):
    log.write_text(content)
    with pytest.raises(DataError, match="is empty"):
        read(log)


def test_the_publishers_files(log, tmp_path):
    for name, row in {"valid": "1,9,z,red,1,2020-01-05", "test": "0,9,z,red,1,2020-01-06"}.items():
        (tmp_path / f"{name}.csv").write_text(LOG.splitlines()[0] + f"\n{row}\n")
    data = read(log, validation_path=tmp_path / "valid.csv", test_path=tmp_path / "test.csv")
    assert data.part.tolist() == [0, 0, 0, 1, 2]
    assert data.label.tolist() == [1, 0, 1, 1, 0]
    assert read(log).part is None


def test_threshold_and_words_for_missing_values(log):
    log.write_text("stars,who,n\n3,NA,NA\n4,x,2\n")
    data = read_impressions(log, label="stars", numeric=["n"], threshold=4, missing=["NA"])
    assert data.label.tolist() == [0, 1] and data.codes.tolist() == [[-1], [0]] and np.isnan(data.numbers[0, 0])


def test_an_item_table(log, tmp_path):
    (tmp_path / "items.csv").write_text("id,title\nx,An X\n")
    table = {"path": tmp_path / "items.csv", "item": "id"}
    data = read(log, item_table=table)
    assert data.item_table["title"].tolist()[1:] == ["An X"] and data.item_table["title"].isna()[0]
    assert "has no row for 1 of the items" in data.notes[1]
    with pytest.raises(ConfigError, match="needs the column of items"):
        read(log, item=None, item_columns=[], item_table=table)


def test_frames_by_type():
    frame = pd.DataFrame(
        {"label": [1, 0], "user": [1.0, np.nan], "item": ["a", "b"], "tags": [["x"], ["x", "y"]], "price": [1.5, 2.0]}
    )
    data = from_frame(frame)
    assert data.schema == Schema(("user", "item"), ("tags",), ("price",), "user", "item")
    assert data.codes.tolist() == [[0, 0], [-1, 1]] and data.users.ids.tolist() == [1]
    assert data.bags[0].value.tolist() == [0, 0, 1]
    again = from_frame(frame, categorical=["item"], numeric=["price", "user"], multi=[])
    assert again.schema == Schema(("item",), (), ("price", "user"), None, "item")


def test_frames_that_do_not_fit():
    with pytest.raises(ConfigError, match="has no column 'label'. It has: user"):
        from_frame(pd.DataFrame({"user": [1]}))
    with pytest.raises(DataError, match=r"row 1 of the data frame: the label \(label\) 'x' is not a number"):
        from_frame(pd.DataFrame({"label": ["1", "x"], "user": [1, 2]}))


def test_parquet_that_is_damaged(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match=r"x.parquet is not a Parquet file, or is damaged"):
        read(tmp_path / "x.parquet")


def test_stored_arrays_take_what_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("nnrec.core.stored_arrays.BLOCK_ROWS", 4)
    array = np.arange(60, dtype=np.int32).reshape(20, 3)
    array.tofile(tmp_path / "x.bin")
    stored = StoredArray(tmp_path / "x.bin", np.int32, (20, 3))
    for rows in ([3, 4, 5], [3, 5, 9], [0, 19], [7], [5, 3, 3], [19, 0, 1, 1], []):
        np.testing.assert_array_equal(stored.take(np.array(rows, np.int64)), array[np.array(rows, np.int64)])
    np.testing.assert_array_equal(np.asarray(stored), array)
    with pytest.raises(DataError, match="missing or damaged"):
        StoredArray(tmp_path / "x.bin", np.int32, (21, 3))


def test_chunks_say_where_their_rows_stand(log, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", 64)
    chunks = list(TableFiles(log).chunks({"who": "who"}))
    assert len(chunks) > 1
    assert chunks[-1].where(0) == f"{log}, line 5"
    with pytest.raises(DataError, match=f"{log} is empty: it holds no row"):
        collected([], Meaning(Schema(("who",))), str(log))
    with pytest.raises(DataError, match="is damaged"):
        opened(log.parent)

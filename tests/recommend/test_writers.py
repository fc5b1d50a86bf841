from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError, DataError, RunError
from nnrec.recommend.writers import FORMATS, format_of, writer

TABLE = pa.table(
    {
        "user_id": pa.array([7, 7, 9]),
        "item_id": pa.array(["a", "b", "a"]),
        "rank": pa.array([1, 2, 1], pa.int32()),
        "score": pa.array(np.array([4.1, 0.1, 350], np.float32)),
        "title": pa.array(['Say "Hi", Bob', None, "Çok\tiyi"]),
        "source": pa.array(["model", "model", "popular"]),
    }
)
RECORDS = [
    {"user_id": 7, "item_id": "a", "rank": 1, "score": 4.1, "title": 'Say "Hi", Bob', "source": "model"},
    {"user_id": 7, "item_id": "b", "rank": 2, "score": 0.1, "title": None, "source": "model"},
    {"user_id": 9, "item_id": "a", "rank": 1, "score": 350.0, "title": "Çok\tiyi", "source": "popular"},
]


def written(path: Path, *tables: pa.Table) -> str:
    with writer(path, format_of(path), tables[0].schema) as append:
        for table in tables:
            append(table)
    return path.read_text(encoding="utf-8")


def test_csv(tmp_path):
    assert written(tmp_path / "x.csv", TABLE) == (
        "user_id,item_id,rank,score,title,source\n"
        '7,a,1,4.1,"Say ""Hi"", Bob",model\n'
        "7,b,2,0.1,,model\n"
        "9,a,1,350.0,Çok\tiyi,popular\n"
    )


def test_tsv(tmp_path):
    text = written(tmp_path / "x.tsv", TABLE)
    assert text.splitlines()[0] == "user_id\titem_id\trank\tscore\ttitle\tsource"
    lines = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert [line["title"] for line in lines] == ['Say "Hi", Bob', "", "Çok\tiyi"]


def test_jsonl(tmp_path):
    assert [json.loads(line) for line in written(tmp_path / "x.jsonl", TABLE).splitlines()] == RECORDS


def test_parquet(tmp_path):
    with writer(tmp_path / "x.parquet", "parquet", TABLE.schema) as append:
        append(TABLE)
        append(TABLE)
    assert pq.read_table(tmp_path / "x.parquet").equals(pa.concat_tables([TABLE, TABLE]))


def test_dsstne(tmp_path):
    assert written(tmp_path / "x.dsstne", TABLE) == "7\ta,4.1:b,0.1:\n9\ta,350.0:\n"


def test_blocks_follow_one_another_under_one_header(tmp_path):
    assert written(tmp_path / "two.csv", TABLE.slice(0, 2), TABLE.slice(2)) == written(tmp_path / "one.csv", TABLE)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_scores_come_back_exactly(tmp_path_factory, score):
    table = TABLE.slice(0, 1).set_column(3, "score", pa.array([score], pa.float32()))
    text = written(tmp_path_factory.getbasetemp() / "score.jsonl", table)
    assert np.float32(json.loads(text)["score"]) == np.float32(score)


@pytest.mark.parametrize("bad", ["a:b", "a,b", "a\tb"])
def test_dsstne_refuses_ids_with_its_marks(tmp_path, bad):
    table = TABLE.slice(0, 1).set_column(1, "item_id", pa.array([bad]))
    with pytest.raises(DataError, match="cannot hold the id"):
        written(tmp_path / "x.dsstne", table)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), writer(path, "csv", TABLE.schema) as append:
        append(TABLE)
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_suffix_chooses_and_format_overrides():
    assert [format_of(Path(f"x.{name}")) for name in FORMATS] == list(FORMATS)
    assert format_of(Path("x.CSV")) == "csv"
    assert format_of(Path("x.txt"), "dsstne") == "dsstne"


def test_an_unknown_suffix_or_format_is_refused():
    with pytest.raises(ConfigError, match=r"The suffix of x\.xlsx does not tell how to write it\. Use \.csv, \.tsv"):
        format_of(Path("x.xlsx"))
    with pytest.raises(ConfigError, match="format must be one of csv, tsv, jsonl, parquet, dsstne. Received: xml"):
        format_of(Path("x.csv"), "xml")


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="part of its path is a file"):
        written(tmp_path / "file" / "x.csv", TABLE)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RunError, match=r"Cannot write .*folder\.csv: it is a folder"):
        written(tmp_path / "folder.csv", TABLE)

"""Spark writes the same files as the single-machine commands; needs the extra `spark` and Java."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyspark")

from nnrec.api import load
from nnrec.commands import prepare
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError
from nnrec.splits.shards import shard_files

pytestmark = pytest.mark.slow  # a JVM takes seconds to start, and each of its jobs more


@pytest.fixture(scope="module")
def spark():
    from nnrec.spark.session import spark_session

    session = spark_session("tests")
    session.conf.set("spark.sql.shuffle.partitions", 3)
    yield session
    session.stop()


def log(folder: Path, kind: str = "csv", text: bool = False) -> str:
    """2,000 ratings in three files: repeated pairs, equal and fractional times, events, blanks around ids."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "who": rng.integers(-5, 55, 2000),
            "what": rng.integers(0, 40, 2000) ** 2,
            "stars": rng.integers(1, 11, 2000) / 2,
            "when": 1_000_000_000 + rng.integers(0, 400, 2000) / 4,
            "kind": rng.choice(["view", "buy"], 2000),
        }
    )
    if text:
        frame["who"] = [f" ü{number}" if number % 2 else f"u {number}" for number in frame["who"]]
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(2000), 3)):
        rows = frame.iloc[part]
        if kind == "parquet":
            rows.to_parquet(folder / f"{number}.parquet", index=False)
        elif kind == "jsonl":
            rows.to_json(folder / f"{number}.jsonl", orient="records", lines=True)
        else:
            rows.to_csv(folder / f"{number}.csv.gz" if number == 1 else folder / f"{number}.csv", index=False)
    return str(folder)


COLUMNS = ("user=who", "item=what", "value=stars", "time=when", "event=kind", "event_weights={view: 1, buy: 5}")


def config(path: str, output: Path, *settings: str):
    columns = [f"data.source.{column}" for column in COLUMNS]
    return compose("prepare", ["data=table", f"data.source.path={path}", *columns, *settings, f"output={output}"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def both(tmp_path: Path, path: str, *settings: str) -> dict[str, bytes]:
    """Checks that Spark and the single-machine command write the same files, and returns them."""
    from nnrec.spark.preparation import execute

    prepare.execute(config(path, tmp_path / "one", *settings))
    execute(config(path, tmp_path / "spark", *settings))
    one, other = contents(tmp_path / "one"), contents(tmp_path / "spark")
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] == other[name], name
    return one


FILTERS = ("data.filters.min_ratings_per_user=12", "data.filters.min_ratings_per_item=20", "data.filters.min_value=1.5")


@pytest.mark.parametrize(
    "settings",
    [
        ("split=hashed", "seed=7"),
        ("split=hashed", *FILTERS),
        ("split=hashed_users", *FILTERS, "data.filters.duplicates=first"),
        ("split=user_time", *FILTERS, "data.filters.outlier_users=1.5", "data.filters.outlier_items=2"),
        ("split=time", "data.filters.min_ratings_per_user=0", "data.filters.min_value=5"),
        ("split=leave_one_out", "split.which=last"),
    ],
)
def test_shards_are_those_of_one_machine(spark, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(shard_files, "SHARD_ROWS", 60)
    found = both(tmp_path, log(tmp_path / "log"), *settings)
    assert sum(name.startswith("train/") for name in found) >= 2
    assert json.loads(found["about.json"])["columns"] == ["user", "item", "value", "time", "weight", "event"]


@pytest.mark.parametrize(("kind", "text"), [("csv", True), ("parquet", False), ("parquet", True)])
def test_kinds_of_files_and_ids(spark, tmp_path, kind, text):
    both(tmp_path, log(tmp_path / "log", kind, text), "split=hashed", *FILTERS)


def test_a_reader_named_as_in_0_1(spark, tmp_path):
    both(tmp_path, log(tmp_path / "log"), "split=hashed", "data.source._target_=nnrec.data.readers.read_table")


def test_another_encoding(spark, tmp_path):
    file = tmp_path / "log.csv"
    lines = [f"ü{n % 7},é{n % 5},{n % 5 + 1},{n},view" for n in range(60)]
    file.write_text("\n".join(["who,what,stars,when,kind", *lines]), encoding="latin-1")
    settings = ("data.source.encoding=latin-1", "data.source.event=null", "data.source.event_weights=null")
    both(tmp_path, str(file), *settings, "split=hashed", "split.test=0.3", "split.validation=0.3")


def test_json_lines_are_read_as_csv_is(spark, tmp_path):
    from nnrec.spark.preparation import execute

    for kind in ("csv", "jsonl"):
        execute(config(log(tmp_path / kind, kind), tmp_path / f"of_{kind}", "split=user_time"))
    one, other = contents(tmp_path / "of_csv"), contents(tmp_path / "of_jsonl")
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one if name != "about.json")


def test_titles_and_a_stoplist(spark, tmp_path):
    titles = pd.DataFrame(
        {"id": np.arange(40) ** 2, "name": [f"Film {n}, {'gory' if n % 7 == 0 else 'mild'}" for n in range(40)]}
    )
    titles.to_csv(tmp_path / "items.csv", index=False)
    table = ("path=" + str(tmp_path / "items.csv"), "item=id", "columns={title: name}")
    settings = [f"data.source.item_table.{setting}" for setting in table]
    found = both(tmp_path, log(tmp_path / "log"), *settings, "data.filters.stoplist=[gory]")
    assert "item_table.parquet" in found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,lots,5,view", r"log\.csv: the rating 'lots' cannot be used in 1 rows, the first of them: .*user=1"),
        (",2,3,5,view", r"log\.csv: the user id is empty in 1 rows"),
        ("1,2,3,yesterday,view", r"log\.csv: the time 'yesterday' cannot be used"),
        ("1,2,3", r"log\.csv cannot be read: .*1,2,3"),
    ],
)
def test_bad_lines(spark, tmp_path, line, message):
    from nnrec.spark.preparation import execute

    file = tmp_path / "log.csv"
    file.write_text("who,what,stars,when,kind\n1,1,3,5,view\n2,1,4,6,buy\n" + line + "\n")
    with pytest.raises(DataError, match=message):
        execute(config(str(file), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_splits_and_sources_that_spark_refuses(spark, tmp_path):
    from nnrec.spark.preparation import execute

    path = log(tmp_path / "log")
    for settings, message in [
        (("split=random",), "Use split=hashed, which draws by a hash"),
        (("split=heldout_users",), "Use split=hashed_users"),
        (("split=leave_one_out",), "With Spark use split.which=last"),
        (("data=ml-1m",), "data=ml-1m has a reader of its own"),
    ]:
        columns = [f"data.source.{column}" for column in COLUMNS] if "data" not in settings[0] else []
        source = ["data=table", f"data.source.path={path}", *columns] if columns else []
        with pytest.raises(ConfigError, match=message):
            execute(compose("prepare", [*source, *settings, f"output={tmp_path / 'out'}"]))


def test_lists_are_those_of_predict(spark, run_folder, tmp_path):
    from nnrec.spark.recommendation import execute, top_n

    run = load(run_folder)
    expected = run.recommend(top_n=7)
    found = top_n(spark, run, 7).toPandas().sort_values(["user_id", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    settings = [f"run={run_folder}", f"output={tmp_path / 'lists'}", "users=[3,5]", "top_n=2"]
    execute(compose("predict", settings))
    found = pd.read_parquet(tmp_path / "lists").sort_values(["user_id", "rank"])
    assert found["user_id"].tolist() == [3, 3, 5, 5]
    with pytest.raises(ConfigError, match="already holds something"):
        execute(compose("predict", settings))
    with pytest.raises(ConfigError, match="Spark recommends to everybody.* histories= is for python predict.py"):
        execute(compose("predict", [f"run={run_folder}", "histories=new.csv"]))


@pytest.mark.parametrize("split", ["hashed", "hashed_users", "user_time"])
def test_movielens(spark, real_data, tmp_path, split):
    ratings = real_data("ml-1m") / "ratings.dat"
    columns = ("user=0", "item=1", "value=2", "time=3", "header=false", "event=null", "event_weights=null")
    settings = [f"data.source.{column}" for column in columns]
    filters = ("min_ratings_per_user=30", "min_ratings_per_item=25", "min_value=3")
    both(tmp_path, str(ratings), *settings, *(f"data.filters.{setting}" for setting in filters), f"split={split}")

"""The session shards that Spark writes are those of the single-machine commands; needs the extra `spark` and Java."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyspark")

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


def log(folder: Path, text: bool = False) -> str:
    """3,000 events in three files: equal and fractional times, consecutive events of one item."""
    rng = np.random.default_rng(0)
    visit = rng.integers(0, 500, 3000)
    frame = pd.DataFrame(
        {
            "visit": [f"ü{number}" if number % 2 else f"v {number}" for number in visit] if text else visit * 7,
            "thing": (rng.random(3000) ** 2 * 12).astype(int) ** 2,
            "at": 1_000_000_000 + 600 * visit + rng.integers(0, 40_000, 3000) / 4,
            "kind": rng.choice(["view", "cart", "buy"], 3000),
        }
    )
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(3000), 3)):
        frame.iloc[part].to_csv(folder / f"{number}.csv", index=False)
    return str(folder)


COLUMNS = ("session=visit", "item=thing", "time=at", "event=kind")
SPLIT = ("split=last_sessions",)
RARE = ("data.filters.min_item_support=190", "data.filters.min_session_length=3")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def both(tmp_path: Path, path: str, *settings: str, columns=COLUMNS) -> dict[str, bytes]:
    """Checks that Spark and the single-machine command write the same files, and returns them."""
    from nnrec.spark.preparation import execute

    made = ["data=clicks", f"data.source.path={path}", *(f"data.source.{column}" for column in columns), *settings]
    prepare.execute(compose("prepare", [*made, f"output={tmp_path / 'one'}"]))
    execute(compose("prepare", [*made, f"output={tmp_path / 'spark'}"]))
    one, other = contents(tmp_path / "one"), contents(tmp_path / "spark")
    assert one.keys() == other.keys()
    assert one["about.json"].decode() == other["about.json"].decode()
    for name in one:
        assert one[name] == other[name], name
    return one


@pytest.mark.parametrize(
    "settings",
    [
        SPLIT,
        (
            "split=last_days",
            "split.test=0.5",
            "split.validation=0.5",
            "data.filters.min_item_support=190",
            "data.filters.min_session_length=3",
        ),
        ("split=usual_sessions", "data.filters.collapse_repeats=true", "data.filters.max_session_length=8"),
        (*SPLIT, "data.source.events=[buy,view]", "data.filters.min_session_length=3"),
        (*SPLIT, "data.source.session=null", "data.source.user=visit", "data.source.gap_minutes=20"),
        (*SPLIT, "data.source.time=null", "data.source.event=null"),
    ],
)
def test_shards_are_those_of_one_machine(spark, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(shard_files, "SHARD_ROWS", 150)
    found = both(tmp_path, log(tmp_path / "log"), *settings)
    assert sum(name.startswith("train/") for name in found) >= 2
    assert json.loads(found["about.json"])["family"] == "sessions"


def test_ids_that_are_text_and_a_table_of_items(spark, tmp_path):
    titles = pd.DataFrame({"id": np.arange(12) ** 2, "name": [f"Film {n} {'gore' * (n == 3)}" for n in range(12)]})
    titles.to_csv(tmp_path / "items.csv", index=False)
    table = (f"path={tmp_path / 'items.csv'}", "item=id", "columns={title: name}")
    settings = [f"data.source.item_table.{setting}" for setting in table]
    path = log(tmp_path / "log", text=True)
    found = both(tmp_path, path, *SPLIT, *settings, "data.filters.stoplist=[gore]")
    assert "item_table.parquet" in found and json.loads(found["about.json"])["session_id_bytes"] == 5


def test_what_spark_refuses_of_sessions(spark, tmp_path):
    from nnrec.spark.preparation import execute

    path = log(tmp_path / "log")
    clicks = ["data=clicks", f"data.source.path={path}", *(f"data.source.{column}" for column in COLUMNS)]
    for settings, message in [
        (("split=given_sessions",), "GivenSessions does not split sessions on Spark"),
        ((*SPLIT, f"data.source.test_path={path}"), "Spark reads one log"),
        ((*SPLIT, "data.source.user=visit"), "give one of the two"),
    ]:
        with pytest.raises(ConfigError, match=message):
            execute(compose("prepare", [*clicks, *settings, f"output={tmp_path / 'out'}"]))
    few = ("data.filters.min_item_support=4000", *SPLIT)
    with pytest.raises(DataError, match=r"leave none of the 3,000 events"):
        execute(compose("prepare", [*clicks, *few, f"output={tmp_path / 'out'}"]))


@pytest.mark.parametrize("split", ["last_days", "last_sessions"])
def test_yoochoose(spark, real_data, tmp_path, split):
    file = real_data("yoochoose-100k") / "yoochoose-clicks-100k_train_full.txt"
    columns = ("session=SessionId", "item=ItemId", "time=Time")
    both(tmp_path, str(file), f"split={split}", "data.filters.min_item_support=5", columns=columns)

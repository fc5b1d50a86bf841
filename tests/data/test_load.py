from __future__ import annotations

import inspect
import os
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.filters.sessions import filter_sessions
from nnrec.data.load import load
from nnrec.data.preprocessing import Preprocessing
from nnrec.data.readers.impressions import from_frame as from_shown
from nnrec.data.readers.ratings import from_frame
from nnrec.data.readers.sessions import clicks_from_frame

CONF = Path(__file__).resolve().parents[2] / "conf"
RELEASES = ["ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small"]


def data_config(name: str, *overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+data={name}", *overrides])


def frame() -> pd.DataFrame:
    return pd.DataFrame({"user": [1, 1, 2], "item": ["x", "x", "y"], "rating": [1, 2, 3], "time": [1, 2, 3]})


def own_ratings():
    return from_frame(frame(), time="time")


def wrong_kind():
    return [1, 2]


def broken():
    raise LookupError("mine")


def source(name: str, **arguments) -> dict:
    return {"source": {"_target_": f"{__name__}.{name}", **arguments}}


def test_table_config(tmp_path):
    (tmp_path / "log.csv").write_text("who;item;stars;kind\n1;10;5;buy\n1;20;4;view\n2;10;3;view\n")
    (tmp_path / "items.csv").write_text("item,title\n10,Ten\n20,Twenty\n")
    config = data_config(
        "table",
        f"data.source.path={tmp_path}/log.csv",
        "data.source.user=who",
        "data.source.value=stars",
        "data.source.event=kind",
        "data.source.event_weights={buy: 5, view: 1}",
        f"data.source.item_table.path={tmp_path}/items.csv",
        "data.filters.min_ratings_per_item=2",
    )
    ratings = load(config.data)
    assert ratings.value.tolist() == [5, 3]
    assert ratings.weight.tolist() == [5, 1]
    assert ratings.item_table["title"].tolist() == ["Ten"]


def test_dsstne_config(tmp_path):
    (tmp_path / "gl").write_text("1\t10,3:20\n")
    assert load(data_config("dsstne", f"data.source.path={tmp_path}/gl").data).value.tolist() == [3, 1]


@pytest.mark.parametrize("release", RELEASES)
def test_movielens_configs(tmp_path, release):
    from tests.data.test_movielens import ml_100k, ml_csv, ml_dat

    write = {"ml-100k": ml_100k, "ml-1m": ml_dat, "ml-10m": ml_dat}.get(release, ml_csv)
    write(tmp_path / release)
    config = data_config(release, f"+data_root={tmp_path}")
    assert (config.data.name, config.data.family) == (release, "ratings")
    assert load(config.data).num_items == 2


def test_every_data_config_names_itself_and_its_filters():
    for path in sorted(CONF.glob("data/[!_]*.yaml")):
        content = data_config(path.stem).data
        assert content.name == path.stem
        if content.name == "shards":
            assert "filters" not in content  # they are applied when shards are made
        elif content.family == "ratings":
            assert list(content.filters) == list(inspect.signature(apply_filters).parameters)[1:], path
            assert content.half_life_days is None, path
        elif content.family == "impressions":
            assert list(content.preprocessing) == list(inspect.signature(Preprocessing).parameters), path
        else:
            assert list(content.filters) == list(inspect.signature(filter_sessions).parameters)[1:], path


def test_own_loader_may_return_ratings_or_a_frame():
    assert load(source("own_ratings")).value.tolist() == [2, 3]
    from_a_frame = load(source("frame"))
    assert from_a_frame.value.tolist() == [2, 3]
    assert from_a_frame.time.tolist() == [2, 3]
    assert load({**source("own_ratings"), "filters": {"duplicates": "first"}}).value.tolist() == [1, 3]


def clicks() -> pd.DataFrame:
    return pd.DataFrame({"session": [1, 1, 2], "item": ["x", "y", "x"], "time": [5, 4, 1]})


def own_sessions():
    return clicks_from_frame(clicks(), time="time")


def test_clickstreams():
    family = {"family": "sessions", "filters": {"min_session_length": 1}}
    for sessions in (
        load(source("own_sessions") | family),
        load(source("clicks") | family),
        load(family, clicks()),
        load(family, own_sessions()),
    ):
        assert sessions.items.ids[sessions.item].tolist() == ["x", "y", "x"]
        assert sessions.time.tolist() == [1, 4, 5]
        assert sessions.ids.ids.tolist() == [2, 1]
    assert load({"family": "sessions"}, clicks()).num_sessions == 1


def test_bad_clickstreams():
    with pytest.raises(ConfigError, match="must return Sessions or a data frame .*session and item. Received: Ratings"):
        load(source("own_ratings") | {"family": "sessions"})
    with pytest.raises(ConfigError, match="must return Ratings .* Received: Sessions"):
        load(source("own_sessions"))
    with pytest.raises(ConfigError, match="no filter 'min_value'. Known: collapse_repeats"):
        load(source("clicks") | {"family": "sessions", "filters": {"min_value": 1}})
    with pytest.raises(DataError, match="The data frame has no column 'session'"):
        load(source("frame") | {"family": "sessions"})


def test_bad_sources(tmp_path):
    with pytest.raises(ConfigError, match="must return Ratings or a data frame.*Received: list"):
        load(source("wrong_kind"))
    with pytest.raises(LookupError, match="mine"):
        load(source("broken"))
    with pytest.raises(ConfigError, match="data.source .*cannot be called.*'colour'"):
        load(source("own_ratings", colour="red"))
    with pytest.raises(ConfigError, match="cannot be called.*no_such_function"):
        load(source("no_such_function"))
    with pytest.raises(ConfigError, match="needs a _target_"):
        load({"source": {"path": "x"}})
    with pytest.raises(ConfigError, match=r"data.source.path has no value.*data.source.path=<value>"):
        load(data_config("table").data)
    with pytest.raises(DataError, match="No such file.*data.source.path"):
        load(data_config("table", f"data.source.path={tmp_path}/no.csv").data)
    with pytest.raises(ConfigError, match="no filter 'min_user'. Known: min_ratings_per_user"):
        load({**source("own_ratings"), "filters": {"min_user": 1}})


def test_importing_the_package_is_light():
    import subprocess
    import sys

    code = "import sys, nnrec.data.load; print([name for name in ('pandas', 'numpy', 'hydra') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(CONF.parent)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[]"


def shown() -> pd.DataFrame:
    return pd.DataFrame({"label": [1, 0], "user": [1, 2], "price": [1.5, 2.5]})


def own_impressions():
    return from_shown(shown(), user="user")


def test_own_loader_may_return_impressions_or_a_frame_of_them():
    config = {"name": "own", "family": "impressions", "preprocessing": {"ignore": ["price"]}}
    for name in ("own_impressions", "shown"):
        data = load({**config, "source": {"_target_": f"{__name__}.{name}"}})
        assert data.schema.user == "user" and data.schema.numeric == ("price",)
        assert data.preprocessing == Preprocessing(ignore=["price"])
    assert load({"family": "impressions"}, shown()).label.tolist() == [1, 0]
    with pytest.raises(ConfigError, match=r"no setting data.preprocessing.min. Known: ignore, min_count"):
        load({"family": "impressions", "preprocessing": {"min": 3}}, shown())
    with pytest.raises(ConfigError, match="ignore names 'colour', which is no column of these data. They have: user"):
        load({"family": "impressions", "preprocessing": {"ignore": ["colour"]}}, shown())
    with pytest.raises(
        ConfigError, match="must return Impressions or a data frame with a column label. Received: list"
    ):
        load({"family": "impressions"}, [1, 2])

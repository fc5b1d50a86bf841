from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError
from nnrec.data.load import load
from nnrec.data.readers.impressions import read_impressions
from nnrec.data.simulators.impressions import SCHEMA, draw_store, simulate_impressions, write_impressions


@pytest.fixture(scope="module")
def default():
    return simulate_impressions()


@pytest.fixture(scope="module")
def drawn():
    """The default users and apps, and rows with the terms of their logit."""
    store = draw_store(1_000, 200)
    frame, chance = store.draw(200_000, np.random.default_rng(7))
    gender = (frame["gender"] == "male").to_numpy().astype(int)
    user, category = frame["user"].to_numpy() - 1, store.category[frame["app"].to_numpy() - 1]
    third = store.by_person[category, gender, store.age[user]]
    hour = frame["time"].to_numpy() // 3_600 % 24
    second = store.by_hour[category, hour]
    return frame.assign(category=category, hour=hour), chance, second, third


def test_shape_and_reproducibility(default):
    assert len(default) == 300_000 and (default.num_users, default.num_items) == (1_000, 200)
    assert default.schema == SCHEMA and (np.diff(default.time) >= 0).all()
    again = simulate_impressions()
    assert again.fingerprint() == default.fingerprint() and np.array_equal(again.expected, default.expected)
    assert simulate_impressions(1_000).fingerprint() != simulate_impressions(1_000, seed=1).fingerprint()
    assert default.item_table.columns.tolist() == ["title", "category"] and default.item_table["title"].is_unique


def test_columns_agree_with_each_other(default):
    columns = default.schema.categorical
    hour = default.codes[:, columns.index("hour")]
    told = np.array(default.levels["hour"].strings.to_pylist(), int)[hour]
    assert np.array_equal(told, default.time // 3_600 % 24)
    for whole, part in (("user", "gender"), ("user", "age_group"), ("app", "category")):
        pairs = np.unique(default.codes[:, [columns.index(whole), columns.index(part)]], axis=0)
        assert len(pairs) == len(default.levels[whole])
    assert np.diff(default.bags[0].offsets).max() == 3
    category = np.array(default.levels["category"].strings.to_pylist())[default.codes[:, columns.index("category")]]
    assert (default.item_table["category"].to_numpy()[default.codes[:, columns.index("app")]] == category).all()


def test_clicks_are_draws_with_the_expected_probability(default):
    expected = default.expected.astype(np.float64)
    bins = np.argsort(expected).reshape(30, -1)
    off = default.label[bins].mean(axis=1) - expected[bins].mean(axis=1)
    allowed = 4 * np.sqrt((expected * (1 - expected))[bins].mean(axis=1) / bins.shape[1])
    assert (np.abs(off) < allowed).all()
    auc = roc_auc_score(default.label, expected)
    assert f"best reachable AUC {auc:.4f}" in default.notes[0]


def test_the_third_order_part_shows_in_no_pair_of_columns(drawn):
    frame, _, _, third = drawn
    assert third.std() == pytest.approx(0.9, abs=0.1)
    frame = frame.assign(third=third)
    for one, other in (
        ("category", "gender"),
        ("category", "age_group"),
        ("gender", "age_group"),
        ("category", "hour"),
    ):
        assert frame.groupby([one, other])["third"].transform("mean").std() < 0.08, (one, other)
    assert frame.groupby(["category", "gender", "age_group"])["third"].transform("mean").std() == pytest.approx(
        third.std(), rel=1e-4
    )


def test_each_order_is_worth_something(drawn):
    frame, chance, second, third = drawn
    best, without_third, first = (
        roc_auc_score(frame["click"], logit(chance) - off) for off in (0, third, third + second)
    )
    assert 0.80 < best < 0.83
    assert without_third < 0.93 * best and first < 0.93 * without_third


def test_other_sizes_and_no_signal():
    data = simulate_impressions(2_000, 30, 12, first=0, second=0, third=0)
    price = data.numbers[:, data.schema.numeric.index("price")]
    visit = data.numbers[:, data.schema.numeric.index("recency")]
    told = -1.2 - 0.3 * np.log1p(price) + 0.3 * (2.5 - np.log1p(visit))
    assert logit(data.expected.astype(np.float64)) == pytest.approx(told.astype(np.float64), abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_rows": 0}, "at least one row. Received: num_rows=0"),
        ({"num_items": 11}, "an app of each of the 12 categories. Received: num_users=1000, num_items=11"),
        ({"third": -1}, "third is a standard deviation, 0 to 5. Received: -1"),
        ({"popularity_exponent": 3}, "popularity_exponent must be 0 to 2"),
    ],
)
def test_impossible_shapes_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        simulate_impressions(**wrong)


def test_configuration_repeats_the_defaults():
    config = compose("train", ["data=simulated_impressions"]).data
    defaults = {name: value.default for name, value in inspect.signature(simulate_impressions).parameters.items()}
    assert {name: value for name, value in config.source.items() if name != "_target_"} == defaults
    assert load({**config, "source": {**config.source, "num_rows": 100}}).preprocessing.ignore == ["user"]


def test_a_file_that_is_written_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr("nnrec.data.simulators.impressions.CHUNK_ROWS", 400)
    write_impressions(tmp_path / "log.csv", 1_000, 50, 20)
    data = read_impressions(
        tmp_path / "log.csv", label="click", multi=["interests"], numeric=["price", "recency"], time="time",
        time_features=["hour"], user="user", item="app",
    )  # fmt: skip
    assert len(data) == 1_000 and data.num_users == 50 and set(data.schema.columns) == set(SCHEMA.columns)
    assert (np.diff(data.bags[0].offsets) == 0).mean() == pytest.approx(0.25, abs=0.15)
    again = tmp_path / "again.csv"
    write_impressions(again, 1_000, 50, 20)
    assert again.read_bytes() == (tmp_path / "log.csv").read_bytes()

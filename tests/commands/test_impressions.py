"""Impression models through the pipeline: training, prediction, reports, comparison, and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.commands import predict as predict_command
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.families import IMPRESSIONS
from nnrec.evaluation import metrics
from nnrec.reports.html.write import write_report
from tests.conftest import TINY_DATA

pytestmark = pytest.mark.neural

TINY = (
    "model=deepfm", "model.embedding_dim=4", "model.hidden_units=[8]", "trainer.epochs=2", "trainer.batch_size=128",
    "data.source.num_rows=3000", "data.source.num_users=60", "data.source.num_items=25",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return nnrec.train(*TINY, f"run_dir={tmp_path_factory.mktemp('impressions') / 'run'}")


def predict(run, *overrides: object) -> None:
    predict_command.execute(compose("predict", [f"run={run.folder.path}", *map(str, overrides)]))


def test_a_finished_run(run):
    assert run.family is IMPRESSIONS
    test = run.metrics["test"]
    assert {"auc", "log_loss", "gauc", "calibration_error"} == set(test)
    assert test["auc"] > 0.55
    assert test["auc"] < run.metrics["data"]["best_reachable"]["auc"]
    low, high = run.metrics["test_intervals"]["auc"]
    assert low < test["auc"] < high
    files = {path.name for path in run.folder.path.iterdir()}
    assert {"encoder.npz", "sides.npz", "weights.npz", "histories", "test_impressions.parquet", "report.html"} <= files
    assert run.evaluate()["auc"] == pytest.approx(test["auc"])
    kept = pd.read_parquet(run.folder["test_impressions.parquet"])
    assert metrics.auc(kept["label"].to_numpy(), kept["prediction"].to_numpy()) == pytest.approx(test["auc"])


def test_probabilities_of_rows(run):
    rows = pd.DataFrame({"user": [1, 2], "app": [3, 4], "hour": [8, 20], "interests": [["Games"], []]})
    found = run.predict(rows)
    assert found.shape == (2,) and ((found > 0) & (found < 1)).all()
    assert run.predict(rows.assign(hour=[20, 20]))[0] != found[0]
    np.testing.assert_allclose(run.predict(rows.assign(interests=["Games", ""])), found)
    with pytest.raises(DataError, match="No column of the data is there. Expected some of: user, gender"):
        run.predict(pd.DataFrame({"thing": [1]}))


def test_lists_are_the_best_of_what_rows_score(run):
    """The score of an item in a user's list is the prediction for the row of user, item and context."""
    lists = run.recommend(user=7, top_n=25, context={"hour": 18, "device": "phone"})
    assert lists["rank"].tolist() == list(range(1, len(lists) + 1))
    data = run.sides
    user, items = np.full(len(lists), run.users.indices([7])[0]), run.items.indices(lists["item_id"].tolist())
    given = pd.DataFrame({"hour": ["18"] * len(lists), "device": ["phone"] * len(lists)})
    row = data.batch("user", user, given)
    of_items = data.batch("item", items, pd.DataFrame(index=range(len(lists))))
    for name in ("app", "category"):
        place = data.encoder.fields.categorical.index(name)
        row["categorical"][:, place] = of_items["categorical"][:, place]
    place = data.encoder.fields.numeric.index("price")
    row["numeric"][:, place] = of_items["numeric"][:, place]
    np.testing.assert_allclose(run.model.estimate(row), lists["score"], rtol=1e-4)
    other = run.recommend(user=7, top_n=25, context={"hour": 3})
    assert not np.allclose(
        other.set_index("item_id")["score"].sort_index(), lists.set_index("item_id")["score"].sort_index()
    )


def test_who_has_clicked_what_is_left_out_if_asked(run):
    clicked = run.histories.take(run.users.indices([7])).ids
    every = run.recommend(user=7, top_n=100)
    left = run.recommend(user=7, top_n=100, exclude_seen=True)
    assert len(clicked) and set(every["item_id"]) - set(left["item_id"]) == set(run.items.ids[clicked])
    chosen = run.items.ids[[2, 5]].tolist()
    assert set(run.recommend(user=7, candidates=chosen)["item_id"]) == set(chosen)


def test_the_command_line(run, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("user,app,hour,note\n1,3,8,a\n2,,,b\nnobody,4,20,c\n")
    predict(run, f"rows={tmp_path / 'rows.csv'}", f"output={tmp_path / 'scored.csv'}")
    scored = pd.read_csv(tmp_path / "scored.csv")
    assert scored.columns.tolist() == ["user", "app", "hour", "note", "prediction"]
    assert scored["note"].tolist() == ["a", "b", "c"] and scored["prediction"].between(0, 1).all()
    assert "Wrote 3 scored rows" in capsys.readouterr().out
    predict(run, f"rows={tmp_path / 'rows.csv'}")
    assert "The first 3 rows" in capsys.readouterr().out
    (tmp_path / "requests.csv").write_text("user,hour\n1,8\n1,20\nnobody,8\n")
    output = tmp_path / "lists.parquet"
    predict(run, f"requests={tmp_path / 'requests.csv'}", f"output={output}", "top_n=2", "context={device: phone}")
    lists = pd.read_parquet(output)
    assert lists["user_id"].tolist() == ["1"] * 4 + ["nobody"] * 2
    assert lists["hour"].tolist() == ["8"] * 2 + ["20"] * 2 + ["8"] * 2
    assert set(lists["device"]) == {"phone"}
    predict(run, "user=7", "context={hour: 18}")
    assert "hour 18" in capsys.readouterr().out
    predict(run)
    assert "of 60 users" in capsys.readouterr().out


def test_a_situation_that_the_data_do_not_know(run):
    with pytest.raises(ConfigError, match="'weather' is no column of users or context in the data of the run"):
        run.recommend(user=7, context={"weather": "rain"})
    with pytest.raises(ConfigError, match="'category' is no column of users or context"):
        run.recommend(user=7, context={"category": "News"})
    with pytest.raises(DataError, match="Unknown users: nobody"):
        run.recommend(user="nobody")


def test_a_report_and_a_comparison(run, tmp_path):
    page = write_report(run.folder).read_text()
    assert "Calibration" in page and "recency" in page
    shared = [setting for setting in TINY if not setting.startswith("model")]
    table = nnrec.compare(*shared, "data=simulated_impressions", "evaluation=ctr", "split=usual_rows",
                          f"output={tmp_path}", models=["linear", "fm model.embedding_dim=4"])  # fmt: skip
    assert set(table["model"]) == {"linear", "fm"}
    assert table["auc"].is_monotonic_decreasing


def test_ratings(tmp_path):
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 20, 1500), rng.integers(0, 15, 1500)
    frame = pd.DataFrame({"user": user, "item": item, "label": np.clip(np.round(1 + user / 8 + item / 10), 1, 5)})
    settings = ["model=deepfm", "data=impressions", "model.task=rating", "model.hidden_units=[8]", "trainer.epochs=8"]
    settings += ["trainer.learning_rate=0.02", f"run_dir={tmp_path / 'run'}"]
    rated = nnrec.train(*settings, data=frame)
    assert rated.metrics["test"]["rmse"] < 0.5 * frame["label"].std()
    assert set(rated.metrics["test"]) == {"rmse", "mae"}
    with pytest.raises(DataError, match="between 1 and 5, and model.task=click needs 0 and 1"):
        nnrec.train("model=deepfm", "data=impressions", f"run_dir={tmp_path / 'clicks'}", data=frame)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model=popularity", "data=simulated_impressions", *TINY[5:]],
            "model=popularity learns from ratings, and data=",
        ),
        (["model=deepfm", *TINY_DATA], "model=deepfm learns from impressions, and data=simulated_ratings are ratings"),
    ],
)
def test_what_does_not_go_together(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        nnrec.train(*settings, f"run_dir={tmp_path / 'run'}")

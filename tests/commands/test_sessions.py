"""Session models through the pipeline: training, comparison, prediction, and refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.commands import predict as predict_command
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError, Interrupted, RunError
from nnrec.data.families import SESSIONS
from nnrec.reports.html.write import write_report
from nnrec.runs.folder import RunFolder

# Sessions cycle through items 1, 2, 3 or through 11, 12, 13. Item 99 occurs only in the last session.
ROWS = [(f"s{n}", item) for n in range(40) for item in ([1, 2, 3, 1] if n % 2 else [11, 12, 13])] + [("s40", 99)]
FRAME = pd.DataFrame(ROWS, columns=["session", "item"])
SMALL = ("split.test=0.2", "split.validation=0.2", "data.filters.min_session_length=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions") / "run"
    return nnrec.train("model=markov", "data=clicks", *SMALL, f"run_dir={folder}", data=FRAME)


def test_a_finished_run(run):
    assert run.family is SESSIONS
    # every next item in the cycles is certain
    assert run.metrics["test"]["recall@1"] == run.metrics["validation"]["mrr@20"] == 1
    assert run.metrics["data"]["test_events"] == 26  # of s33 to s39, 4 + 3 + ... and s40
    assert "Left out: 1 of" in run.metrics["test_notes"][0]
    files = {path.name for path in run.folder.path.iterdir()}
    assert {"config.yaml", "weights.npz", "items.parquet", "item_counts.npz", "test_sessions.parquet"} <= files
    assert "histories" not in files
    assert run.evaluate(FRAME)["recall@1"] == 1


def test_next_items_from_a_list_and_a_frame(run):
    one = run.recommend(history=[1, 2], top_n=2)
    assert one.columns.tolist() == ["session_id", "item_id", "rank", "score", "source"]
    assert one["item_id"].tolist()[0] == 3
    frame = pd.DataFrame({"session": ["b", "b", "a"], "item": [12, 11, 2], "time": [50.0, 40.0, 10.0]})
    both = run.recommend(history=frame, top_n=1).set_index("session_id")
    assert both["item_id"].to_dict() == {"b": 13, "a": 3}
    assert run.recommend(user="a", history=frame, top_n=1)["item_id"].tolist() == [3]


def test_nobody_gets_an_item_without_a_training_event(run):
    every = run.recommend(history=[1], top_n=100)
    assert sorted(every["item_id"]) == [1, 2, 3, 11, 12, 13]


def test_seen_items_come_back_unless_they_are_excluded(run):
    assert run.recommend(history=[1, 2, 3], top_n=1)["item_id"].tolist() == [1]
    left = run.recommend(history=[1, 2, 3], exclude_seen=True, top_n=100)
    assert sorted(left["item_id"]) == [11, 12, 13]
    assert 11 not in run.recommend(history=[1], stoplist=[11], top_n=100)["item_id"].tolist()


def test_unknown_items_are_left_out_and_told(run, capsys):
    assert run.recommend(history=[5, 1, 7], top_n=1)["item_id"].tolist() == [2]
    assert "Sessions: left out 2 of 3 events (items unknown to the run: 2)." in capsys.readouterr().out
    nothing = run.recommend(history=[5], top_n=3)
    assert nothing["source"].tolist() == ["popular"] * 3
    assert nothing["item_id"].tolist()[0] == 1  # twice in each of its sessions


def test_event_by_event(run):
    session = run.session()
    assert session.recommend(1)["item_id"].tolist() == [1]
    assert [session.add(item) for item in (1, 5, 2)] == [True, False, True]
    assert session.recommend(1)["item_id"].tolist() == [3]
    again = run.session(exclude_seen=True)
    for item in (1, 2, 3):
        again.add(item)
    assert not {1, 2, 3} & set(again.recommend(10)["item_id"])


def predict(run, *overrides: object) -> None:
    predict_command.execute(compose("predict", [f"run={run.folder.path}", *map(str, overrides)]))


def test_the_command_line(run, tmp_path, capsys):
    (tmp_path / "running.csv").write_text("session,item\na,1\na,2\nb,12\n")
    predict(run, f"histories={tmp_path / 'running.csv'}", f"output={tmp_path / 'next.csv'}", "top_n=1")
    found = pd.read_csv(tmp_path / "next.csv")
    assert found[["session_id", "item_id"]].to_numpy().tolist() == [["a", 3], ["b", 13]]
    assert "Wrote 2 recommendations for 2 sessions" in capsys.readouterr().out
    predict(run, f"histories={tmp_path / 'running.csv'}", "user=a")
    shown = capsys.readouterr().out
    assert "Session a so far:" in shown and "Recommended by markov:" in shown
    predict(run)
    assert "of 7 sessions" in capsys.readouterr().out  # those of the test that could be predicted


def test_times_put_events_in_order(run, tmp_path):
    (tmp_path / "running.csv").write_text("visit,thing,at\na,3,30\na,1,10\na,2,20\n")
    columns = ["table.session=visit", "table.item=thing", "table.time=at"]
    predict(run, f"histories={tmp_path / 'running.csv'}", f"output={tmp_path / 'next.csv'}", "top_n=1", *columns)
    assert pd.read_csv(tmp_path / "next.csv")["item_id"].tolist() == [1]


def test_a_report(run):
    page = write_report(run.folder).read_text()
    assert "What sessions get" in page and "As a session goes on" in page


def test_a_comparison(run, tmp_path):
    settings = ["data=clicks", *SMALL, f"output={tmp_path}", "people=[s34]"]
    table = nnrec.compare(*settings, models=["markov", "session_popularity"], data=FRAME)
    assert table["model"].tolist() == ["markov", "session_popularity"]
    assert table["recall@1"][0] == 1 > table["recall@1"][1]
    page = (tmp_path / "comparison.html").read_text()
    assert "s34" in page


def test_without_histories_no_session_is_kept(tmp_path):
    settings = ["model=markov", "data=clicks", *SMALL, f"run_dir={tmp_path / 'run'}", "keep_histories=false"]
    bare = nnrec.train(*settings, data=FRAME)
    assert bare.recommend(history=[1], top_n=1)["item_id"].tolist() == [2]
    with pytest.raises(RunError, match=r"keeps no sessions \(keep_histories=false\): give some with histories="):
        bare.recommend()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model=popularity"], "model=popularity learns from ratings, and data=frame are sessions"),
        (["model=markov", "split=random"], "RandomSplit does not split sessions, which data=frame are. Choose split=l"),
        (["model=markov", "evaluation=top_n"], "Evaluation measures models of ratings, and data=frame are sessions"),
    ],
)
def test_what_does_not_go_together(settings, message, tmp_path):
    # The family of the data takes precedence over the model's defaults.
    with pytest.raises(ConfigError, match=message):
        nnrec.train("data=clicks", *settings, f"run_dir={tmp_path / 'run'}", data=FRAME)
    assert not (tmp_path / "run").exists()


def test_ratings_are_no_sessions(tmp_path):
    with pytest.raises(ConfigError, match="model=markov learns from sessions, and data=simulated_ratings are ratings"):
        nnrec.train("model=markov", "data=simulated_ratings", f"run_dir={tmp_path / 'run'}")


def test_a_history_without_the_columns(run):
    with pytest.raises(DataError, match=r"'item'.*Name the columns with table\.session, table\.item and table\.time"):
        run.recommend(history=pd.DataFrame({"session": ["a"], "thing": [1]}))
    with pytest.raises(DataError, match="Unknown sessions: x. They are not among the 1 sessions given"):
        run.recommend(user="x", history=[1])


def test_a_cut_short_run_resumes(tmp_path, monkeypatch):
    from nnrec.training.experiment import Learning

    settings = ["model=markov", "data=clicks", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(Learning, "_test", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(Interrupted):
            nnrec.train(*settings, f"run_dir={tmp_path / 'run'}", data=FRAME)
    resumed = nnrec.train(f"resume={tmp_path / 'run'}", data=FRAME)
    assert resumed.metrics["test"]["recall@1"] == 1
    assert json.loads(RunFolder(tmp_path / "run")["data.json"].read_text())["events"] == len(FRAME)
    assert np.isfinite(list(resumed.metrics["test"].values())).all()


PARAMETERS = "loss=bpr-max,layers=8,batch_size=4,learning_rate=0.05,momentum=0.1,n_sample=4,n_epochs=2,bpreg=0.5"


def test_the_authors_settings_run_as_they_stand(tmp_path):
    (tmp_path / "tuned.txt").write_text("gru4rec_params = OrderedDict([('loss', 'bpr-max'), ('layers', [8])])\n")
    settings = ["data=clicks", *SMALL, f"run_dir={tmp_path / 'run'}", f"model.parameters='{PARAMETERS}'"]
    run = nnrec.train("model=gru4rec", *settings, data=FRAME)
    trainer = run.config.trainer
    assert (trainer.epochs, trainer.batch_size, trainer.learning_rate, trainer.optimizer) == (2, 4, 0.05, "adagrad")
    assert trainer.optimizer_options.momentum == 0.1
    assert (run.config.model.loss, run.config.model.bpreg, list(run.config.model.hidden_units)) == ("bpr-max", 0.5, [8])
    assert run.metrics["training"]["epochs"] == 4 - (2 - run.metrics["training"]["best_epoch"])
    assert len(nnrec.load(tmp_path / "run").recommend(history=[1], top_n=2)) == 2
    projector = (tmp_path / "run" / "tensorboard" / "metadata.tsv").read_text().splitlines()
    assert projector[0].startswith("item_id") and len(projector) == 7


@pytest.mark.neural
def test_items_that_nobody_clicked_can_be_recommended(tmp_path):
    """Lamps are clicked after lamps, tables after tables; a new lamp and a new table are in the item table only."""
    colours = ["red", "blue", "green", "white", "black", "brown", "pink"]
    titles = {f"{kind}{n}": f"{colour} {kind}" for n, colour in enumerate(colours) for kind in ("lamp", "table")}
    rows = [(s, f"{('lamp', 'table')[s % 2]}{(3 * s + step) % 7}") for s in range(80) for step in range(5)]
    pd.DataFrame(rows, columns=["session", "item"]).to_csv(tmp_path / "log.csv", index=False)
    table = pd.DataFrame([*titles.items(), ("n1", "grey lamp"), ("n2", "grey table")], columns=["item", "title"])
    table.to_csv(tmp_path / "items.csv", index=False)
    run = nnrec.train(
        "model=cnn3d", "data=clicks", f"data.source.path={tmp_path}/log.csv", "data.source.time=null",
        f"data.source.item_table.path={tmp_path}/items.csv", "data.source.new_items=true",
        "data.filters.min_item_support=0", f"run_dir={tmp_path}/run", "trainer.epochs=6", "trainer.batch_size=32",
        "trainer.learning_rate=5e-3", "model.texts=[title]", "model.characters=12", "model.clicks=3",
        "model.embedding_dim=8", "model.hidden_units=[12]",
        "model.convolutions=[{filters: 16, kernel: [1, 3, 1], pool: [1, 2, 1]}, "
        "{filters: 8, kernel: [2, 3, 1], pool: [1, 2, 1]}]",
    )  # fmt: skip
    history = pd.DataFrame({"session": ["a", "a", "b"], "item": ["lamp1", "lamp2", "table4"]})
    new = run.recommend(history=history, candidates=["n1", "n2"], top_n=1).set_index("session_id")["item_id"]
    assert new.to_dict() == {"a": "n1", "b": "n2"}
    everything = run.recommend(history=history, top_n=100)
    assert {"n1", "n2"} <= set(everything["item_id"]) and (everything["source"] == "model").all()
    live = run.session()
    assert live.add("n1") and "n2" in set(live.recommend(100)["item_id"])
    predict_command.execute(
        compose("predict", [f"run={run.folder.path}", f"output={tmp_path}/next.csv", "candidates=[n1,n2]"])
    )
    assert set(pd.read_csv(tmp_path / "next.csv")["item_id"]) == {"n1", "n2"}

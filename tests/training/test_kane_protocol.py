"""The course's protocol: three models, one run."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.commands import inputs
from nnrec.core.config.build import build
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, Interrupted, RunError
from nnrec.evaluation.outcomes.ratings import Outcome
from nnrec.evaluation.ratings import Evaluation
from nnrec.models.base.build import build_model
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.users import LeaveOneOut
from nnrec.training.experiment import Learning
from nnrec.training.kane_protocol import Course
from tests.conftest import ROOT, TINY_DATA

SETTINGS = (*TINY_DATA, "evaluation=course", "seed=1")
# The metrics of each part. All others, which compare lists with held-out ratings, come from the part of hit rates.
ACCURACY = {"rmse", "mae"}
LISTS = {"catalogue_coverage", "gini", "diversity", "novelty", "popularity_rank", "popularity_share", "user_coverage"}
EVALUATION = Evaluation(cutoffs=(10,), threshold=4.0)


def train(folder, *settings: str, **arguments) -> nnrec.Run:
    return nnrec.train(*SETTINGS, *settings, f"run_dir={folder}", **arguments)


def stem(name: str) -> str:
    return name.partition("@")[0]


def by_hand(*settings: str) -> dict[str, Outcome]:
    """The outcomes of the three models, each trained and evaluated without a run."""
    config = compose("train", [*SETTINGS, *settings])
    ratings = inputs.load_data(config.data).data
    splits = {"accuracy": RandomSplit(0.25, 0.05)(ratings, 1), "hit_rates": LeaveOneOut("random")(ratings, 1)}
    found = {}
    for part in ("accuracy", "hit_rates", "everything"):
        split = splits[part].merged() if part in splits else None
        learnt_from = ratings if split is None else split.train
        model = build_model(config.model, config.seed, ratings.sizes)
        model.fit(learnt_from)
        model.prepare(learnt_from)
        found[part] = (
            EVALUATION.describe(model, ratings) if split is None else EVALUATION(model, split.train, split.test)
        )
    return found


@pytest.fixture(scope="module")
def bias(tmp_path_factory) -> nnrec.Run:
    return train(tmp_path_factory.mktemp("course") / "bias", "model=bias")


@pytest.fixture(scope="module")
def popularity(tmp_path_factory) -> nnrec.Run:
    return train(tmp_path_factory.mktemp("course") / "popularity", "model=popularity")


@pytest.mark.parametrize("name", ["bias", "popularity"])
def test_figures_are_those_of_three_models_by_hand(name, request):
    metrics, parts = request.getfixturevalue(name).metrics, by_hand(f"model={name}")
    expected = parts["hit_rates"].figures | parts["everything"].figures
    expected |= {key: value for key, value in parts["accuracy"].figures.items() if key in ACCURACY}
    assert metrics["test"] == pytest.approx(expected, rel=1e-6)
    assert {"hit_rate@10", "arhr@10", "catalogue_coverage@10", "diversity@10", "novelty@10"} <= set(metrics["test"])
    rated = {"rmse", "mae", "cumulative_hit_rate@10", "user_coverage@10"}
    assert rated & set(metrics["test"]) == (rated if name == "bias" else set())
    # not by coincidence: the metrics that parts share have different values
    both = {"catalogue_coverage@10", "novelty@10", "gini@10"}
    assert all(parts["hit_rates"].figures[key] != parts["everything"].figures[key] for key in both)
    if name == "bias":
        assert parts["hit_rates"].figures["rmse"] != parts["accuracy"].figures["rmse"]

    intervals = {
        key: part.intervals(1)[key]
        for key in expected
        for part in [parts["accuracy" if key in ACCURACY else "everything" if stem(key) in LISTS else "hit_rates"]]
        if key in part.intervals(1)
    }
    assert set(metrics["test_intervals"]) == set(intervals)
    for key, bounds in intervals.items():
        assert metrics["test_intervals"][key] == pytest.approx(bounds, rel=1e-6), key
    rates = {
        kind: {str(value): list(pair) for value, pair in found.items()}
        for kind, found in parts["hit_rates"].by_rating.items()
    }
    assert metrics["test_by_rating"] == rates
    assert list(rates) == (["true", "predicted"] if name == "bias" else ["true"])


def test_notes_are_told_once(popularity, bias):
    (note,) = popularity.metrics["test_notes"]
    assert note.startswith("No user coverage and no cumulative hit rate")
    assert bias.metrics["test_notes"] == []


def test_validation_figures_come_from_the_same_parts(bias, popularity):
    parts = {name: RunFolder(bias.folder[name]).read_json("selection.json") for name in ("accuracy", "hit_rates")}
    validation = bias.metrics["validation"]
    assert {name: validation[name] for name in ACCURACY} == parts["accuracy"]["validation"]
    expected = parts["hit_rates"]["validation"]
    assert {name: validation[name] for name in expected if name not in ACCURACY} == {
        name: value for name, value in expected.items() if name not in ACCURACY
    }
    assert not (popularity.folder["accuracy"]).exists()
    assert not ACCURACY & set(popularity.metrics["validation"])


def test_the_run_is_that_of_the_model_trained_on_everything(bias):
    ratings = inputs.load_data(bias.config.data).data
    model = build_model(bias.config.model, bias.config.seed, ratings.sizes)
    model.fit(ratings)
    for name, array in model.state().items():
        np.testing.assert_array_equal(bias.model.state()[name], array)
    np.testing.assert_array_equal(bias.item_counts, np.bincount(ratings.item, minlength=ratings.num_items))
    assert bias.histories.lengths.sum() == len(ratings)
    assert bias.metrics["data"]["training_ratings"] == len(ratings) == 800
    assert bias.metrics["data"]["test_ratings"] == 200
    recommended = bias.recommend(top_n=10)
    seen = set(zip(ratings.users.ids[ratings.user], ratings.items.ids[ratings.item], strict=True))
    assert not seen & set(zip(recommended["user_id"], recommended["item_id"], strict=True))


def test_files_come_from_the_parts_that_measured_them(bias):
    result, parts = Result(bias.folder), by_hand("model=bias")
    assert result.lists is not None and result.ratings is not None and result.per_user is not None
    np.testing.assert_array_equal(result.lists.items, parts["everything"].lists)
    np.testing.assert_allclose(result.ratings["prediction"], parts["accuracy"].predictions, rtol=1e-6)
    assert len(result.ratings) == 200
    for column in result.per_user:
        key = stem(column)
        errors = ("squared_error", "absolute_error", "weight")
        part = parts["accuracy" if key in errors else "everything" if key in LISTS else "hit_rates"]
        expected = pd.Series(part.per_user[column], part.users).reindex(result.per_user.index)
        np.testing.assert_allclose(result.per_user[column], expected, rtol=1e-6, err_msg=column)
    assert set(result.per_user) == set().union(*(part.per_user for part in [*parts.values()][1:]))
    # the lists leave out the items that their model was trained on
    seen = result.seen(result.lists.users)
    assert seen is not None and len(seen.ids) == 800


def test_weights_are_kept_once(bias):
    found = sorted(path.relative_to(bias.folder.path).as_posix() for path in bias.folder.path.rglob("*.np[yz]"))
    parts = [f"{part}/test_lists.npz" for part in ("accuracy", "hit_rates")]
    histories = [f"histories/{name}.npy" for name in ("ids", "offsets", "values")]
    assert found == sorted([*parts, *histories, "item_counts.npz", "test_lists.npz", "weights.npz"])


def test_nothing_is_kept_of_anybody_where_histories_are_not(tmp_path):
    run = train(tmp_path / "run", "model=bias", "keep_histories=false")
    assert not [path for path in run.folder.path.rglob("*") if path.name.startswith(("test_", "histories"))]
    assert run.folder["weights.npz"].is_file()


def test_evaluating_again_is_refused(bias):
    with pytest.raises(RunError, match="keeps the model that was trained on everything"):
        bias.evaluate()


def test_users_with_few_ratings_stay_in_training(tmp_path):
    rows = [(user, item, 1 + (user * item) % 5) for user in range(20) for item in range(12) if (user + item) % 3]
    rows += [(99, 0, 4), (99, 1, 5)]
    run = train(tmp_path / "run", "model=bias", data=pd.DataFrame(rows, columns=["user", "item", "rating"]))
    (few,) = run.users.indices([99])
    per_user = Result(run.folder).per_user
    assert per_user is not None
    assert np.isnan(per_user.loc[few, "hit_rate@10"]) and not np.isnan(per_user.loc[few, "novelty@10"])
    assert per_user["hit_rate@10"].notna().sum() == 20
    assert run.metrics["training"].keys() == {"seconds", "users_per_second"}
    assert "test 20 ratings" in run.metrics["data"]["split"]


# Neural models

NEURAL = (
    "model=autorec",
    "model.hidden_units=[4]",
    "model.input_dropout=0.2",
    "trainer.batch_size=8",
    "trainer.epochs=4",
    "trainer.learning_rate=0.02",
    "trainer.checkpoint_seconds=0",
    "trainer/schedule=cosine",
)


@pytest.fixture(scope="module")
def neural(tmp_path_factory) -> nnrec.Run:
    return train(tmp_path_factory.mktemp("course") / "neural", *NEURAL)


def test_the_last_model_takes_epochs_and_rates_from_the_accuracy_part(neural):
    from nnrec.training.loop import Stage, compile_model

    parts = {name: RunFolder(neural.folder[name]).read_json("selection.json") for name in ("accuracy", "hit_rates")}
    best = parts["accuracy"]["best_epoch"]
    trainer, ratings = build(neural.config.trainer, "trainer"), inputs.load_data(neural.config.data).data
    model = build_model(neural.config.model, neural.config.seed, ratings.sizes)
    model.adapt(ratings)
    compile_model(model, trainer)
    rates = [row["learning_rate"] for row in parts["accuracy"]["history"]]
    assert len(set(rates)) == 4
    Stage("refit", trainer, model, ratings, seed=1, epochs=best, rates=rates).run()
    model.prepare(ratings)
    for name, array in model.state().items():
        np.testing.assert_array_equal(neural.folder.read_arrays("weights.npz")[name], array)
    training = neural.metrics["training"]
    assert training["best_epoch"] == best
    # a selection and a refit where something is held out, and the last refit
    assert training["epochs"] == (4 + best) + (4 + parts["hit_rates"]["best_epoch"]) + best
    history = pd.read_csv(neural.folder["history.csv"])
    pd.testing.assert_frame_equal(history, pd.read_csv(neural.folder["accuracy"] / "history.csv"))


def comparable(run: nnrec.Run) -> dict:
    metrics = json.loads(run.folder["metrics.json"].read_text())
    for name in ("seconds", "users_per_second", "examples_per_second"):
        metrics["training"].pop(name, None)
    return metrics


def resumed(folder, monkeypatch) -> tuple[nnrec.Run, list[str]]:
    """The resumed run, and the parts that were started for it."""
    begun, run = [], Learning.run
    monkeypatch.setattr(Learning, "run", lambda part, folder: begun.append(folder.path.name) or run(part, folder))
    return nnrec.train(f"resume={folder}"), begun


def same_files(run: nnrec.Run, whole: nnrec.Run) -> None:
    assert comparable(run) == comparable(whole)
    for name in ("weights.npz", "test_lists.npz"):
        arrays, expected = run.folder.read_arrays(name), whole.folder.read_arrays(name)
        assert arrays.keys() == expected.keys()
        for key in expected:
            np.testing.assert_array_equal(arrays[key], expected[key])
    for name in ("test_users.parquet", "test_ratings.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(run.folder[name]), pd.read_parquet(whole.folder[name]))
    assert not list(run.folder.path.rglob("checkpoint.npz"))


@pytest.mark.parametrize(
    ("stopped", "left"),
    [("accuracy", ["accuracy", "hit_rates", "everything"]), ("hit_rates", ["hit_rates", "everything"])],
)
def test_killed_at_the_beginning_of_a_part(stopped, left, tmp_path, monkeypatch, bias):
    def kill(learning, folder):
        if folder.path.name == stopped:
            raise KeyboardInterrupt
        return run(learning, folder)

    run = Learning.run
    with monkeypatch.context() as patch:
        patch.setattr(Learning, "run", kill)
        with pytest.raises(Interrupted, match=f"Continue with: python train.py resume={tmp_path / 'run'}"):
            train(tmp_path / "run", "model=bias")
    again, begun = resumed(tmp_path / "run", monkeypatch)
    assert begun == left
    same_files(again, bias)


def test_killed_while_files_are_gathered(tmp_path, monkeypatch, bias):
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Course, "_gathered", kill)  # files have been moved, but the figures are not written
        with pytest.raises(Interrupted):
            train(tmp_path / "run", "model=bias")
    again, begun = resumed(tmp_path / "run", monkeypatch)
    assert begun == []
    same_files(again, bias)


@pytest.mark.parametrize(("part", "stage"), [("hit_rates", "select"), ("everything", "refit")])
def test_killed_in_the_middle_of_a_part(part, stage, tmp_path, monkeypatch, neural):
    from nnrec.training.loop import Stage

    epochs: list[tuple[str, str]] = []

    def counted(training, epoch, bar):
        epochs.append((training.folder.path.name, training.name))
        if len(epochs) > 1 and epochs[-2:] == [(part, stage)] * 2 and not resuming:
            raise KeyboardInterrupt
        return run_epoch(training, epoch, bar)

    run_epoch, resuming = Stage._epoch, False
    monkeypatch.setattr(Stage, "_epoch", counted)
    with pytest.raises(Interrupted):
        train(tmp_path / "run", *NEURAL)
    before, resuming = len(epochs), True
    again, begun = resumed(tmp_path / "run", monkeypatch)
    assert begun == (["hit_rates", "everything"] if part == "hit_rates" else ["everything"])
    # The epoch that was interrupted is done again, those before it are not.
    best = {name: RunFolder(again.folder[name]).read_json("selection.json") for name in ("accuracy", "hit_rates")}
    rest = {
        "select": 3 + best["hit_rates"]["best_epoch"] + best["accuracy"]["best_epoch"],
        "refit": best["accuracy"]["best_epoch"] - 1,
    }
    assert len(epochs) - before == rest[stage]
    same_files(again, neural)


# The command line


def test_another_split_is_not_used_and_that_is_said(tmp_path, capsys, bias):
    run = train(tmp_path / "run", "model=bias", "split=kfold")
    screen = " ".join(capsys.readouterr().out.split())
    assert "evaluation=course brings its own split; the other one (KFold) is not used." in screen
    assert "Split: Accuracy: A random 25% of the ratings for test, 5% of the rest for validation, seed 1" in screen
    assert "Fold" not in run.metrics["data"]["split"]
    assert run.config.split == bias.config.split
    assert comparable(run) == comparable(bias)


def test_shares_of_the_courses_split(tmp_path):
    run = train(tmp_path / "run", "model=bias", "split.test=0.5")
    assert run.metrics["data"]["test_ratings"] == 400
    with pytest.raises(ConfigError, match=r"split\.test must be a share above 0 and below 1\. Received: 25"):
        train(tmp_path / "other", "model=bias", "split.test=25")


def test_the_courses_split_alone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"split=course is the split of evaluation=course"):
        nnrec.train(*TINY_DATA, "model=bias", "split=course", f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_one_command(tmp_path, bias):
    folder = tmp_path / "run"
    command = [sys.executable, "train.py", *SETTINGS, "model=bias", f"run_dir={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert comparable(nnrec.load(folder)) == comparable(bias)
    screen = done.stdout
    for text in ("Part: accuracy", "Part: hit rates", "Part: everything", f"tensorboard --logdir {folder}\n"):
        assert screen.count(text) == 1, text
    assert screen.count("bias on simulated_ratings") == 1
    for name in ("rmse", "hit_rate", "arhr", "cumulative_hit_rate", "catalogue_coverage", "diversity", "novelty"):
        assert f" {name} " in screen, name
    assert "Hit rate@10 by true rating (users): 1: " in screen
    assert "Hit rate@10 by predicted rating (users): " in screen


def test_the_run_needs_no_network_file(tmp_path):
    network = {
        "Name": "tiny",
        "Kind": "AutoEncoder",
        "Layers": [
            {"Name": "Input", "Kind": "Input", "N": "auto", "DataSet": "input", "Sparse": True},
            {"Name": "Hidden", "Kind": "Hidden", "Type": "FullyConnected", "N": 4, "Activation": "Sigmoid"},
            {"Name": "Output", "Kind": "Output", "Type": "FullyConnected", "DataSet": "output", "N": "auto",
             "Activation": "Sigmoid", "Sparse": True},
        ],
        "ErrorFunction": "ScaledMarginalCrossEntropy",
    }  # fmt: skip
    file = tmp_path / "network.json"
    file.write_text(json.dumps(network))
    run = train(tmp_path / "run", "model=dsstne", f"model.config={file}", "trainer.epochs=1")
    file.unlink()
    assert run.config.model.config["Name"] == "tiny" and run.config.trainer.monitor == "val_ndcg@10"
    assert len(nnrec.load(tmp_path / "run").recommend(top_n=2)) > 0

"""Run folders of release 0.1 are read, evaluated, compared and resumed; runs_0_1/README.md says how they were made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.commands import export, predict, prepare, train
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError
from nnrec.reports.comparison import grouped
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result
from nnrec.runs.trained import load_run
from nnrec.splits import read_shards
from tests.conftest import ROOT

OWN = Path(__file__).with_name("runs_0_1")
RATINGS = (
    "data=simulated_ratings",
    "data.source.num_users=20",
    "data.source.num_items=12",
    "data.source.num_ratings=150",
    "data.source.min_ratings_per_user=5",
)
# What the comparison and the sweep were asked for.
SHARED = (*RATINGS, "evaluation.cutoffs=[5]", "trainer.refit=false")

# Settings of predict.py that give lists the meaning they had in 0.1. A release that changes a default adds the old one.
AS_IN_0_1: tuple[str, ...] = ()

SESSIONS = ("histories={folder}/sessions.csv",)
EVENING = ("context={{hour: 18}}",)
# Models whose scores come out the same on every processor.
CLASSICAL = ("item_knn", "ease", "svd", "vsknn")
OF_REAL_FOLDERS = {
    "autorec": (), "blend": (), "cnn3d": SESSIONS, "deepfm": EVENING, "dsstne": (), "ease": (), "gru4rec": SESSIONS,
    "item_knn": (), "mult_vae": (), "rbm": (), "svd": (), "vsknn": SESSIONS,
}  # fmt: skip
OF_OWN_FOLDERS = {"autorec": (), "blend": (), "comparison/runs/item_knn": (), "deepfm": EVENING, "gru4rec": SESSIONS}


def settings(folder: Path, name: str, output: Path, top_n: int, own: tuple[str, ...]) -> list[str]:
    """What the command line of predict.py says."""
    told = [f"run={folder / name}", f"top_n={top_n}", f"output={output}"]
    return [*told, *(text.format(folder=folder) for text in own), *AS_IN_0_1]


def check_same(found: Path, expected: Path, exact: bool) -> None:
    """The same bytes; of neural networks the same lists, with scores that are equal but for rounding.

    In what order a processor adds up a matrix product depends on how wide its registers are, and with the order the
    last digits of a float32. A score near zero is a difference of larger ones, whose rounding it inherits.
    """
    if exact or found.read_bytes() == expected.read_bytes():
        assert found.read_text() == expected.read_text()
        return
    one, other = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (found, expected))
    pd.testing.assert_frame_equal(one.drop(columns="score"), other.drop(columns="score"))
    scores, wanted = (table["score"].to_numpy(float) for table in (one, other))
    np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("name", OF_REAL_FOLDERS)
def test_lists_of_recorded_folders(real_data, tmp_path, name):
    folder, found = real_data("runs-0.1"), tmp_path / "found.csv"
    predict.execute(compose("predict", settings(folder, name, found, 10, OF_REAL_FOLDERS[name])))
    check_same(found, folder / f"{name}.expected.csv", name in (*CLASSICAL, "blend"))  # of classical members


@pytest.mark.parametrize("name", OF_OWN_FOLDERS)
def test_lists(tmp_path, name):
    found = tmp_path / "found.csv"
    predict.execute(compose("predict", settings(OWN, name, found, 3, OF_OWN_FOLDERS[name])))
    name = Path(name).name
    check_same(found, OWN / f"{name}.csv", name in CLASSICAL)


def test_lists_by_the_command_line(tmp_path):
    found = tmp_path / "found.csv"
    command = [sys.executable, "predict.py", *settings(OWN, "gru4rec", found, 3, SESSIONS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr  # TensorFlow may print there what it thinks of the processor
    check_same(found, OWN / "gru4rec.csv", exact=False)


@pytest.mark.parametrize("name", OF_OWN_FOLDERS)
def test_figures_on_the_test_part(name):
    run = nnrec.load(OWN / name)
    found = run.evaluate()
    assert found == pytest.approx(run.metrics["test"], rel=1e-5)
    assert found


def test_settings_bear_current_names():
    config = load_run(OWN / "autorec").config
    assert config.trainer.schedule._target_ == "nnrec.training.Cosine"
    assert config.split._target_ == "nnrec.splits.RandomSplit"


def test_runs_beside_new_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = train.execute(compose("train", [*SHARED, "model=popularity", "run_dir=new"]))
    frame = nnrec.compare(runs=[OWN / "comparison/runs/item_knn", OWN / "autorec", OWN / "blend", new.path], quiet=True)
    assert set(frame["entry"]) == {"item_knn", "autorec", "blend", "popularity"}
    told = frame.set_index("entry")["ndcg@5"]
    for name in ("autorec", "blend"):
        assert told[name] == RunFolder(OWN / name).read_json("metrics.json")["test"]["ndcg@5"]


def test_the_same_training_is_one_entry(tmp_path):
    """Two seeds of one experiment, an old one and a new one, are one line of the table."""
    new = train.execute(compose("train", [*SHARED, "model=item_knn", "seed=1", f"run_dir={tmp_path / 'new'}"]))
    results = [Result(folder) for folder in (RunFolder(OWN / "comparison/runs/item_knn"), new)]
    (entry,) = grouped(results)
    assert entry.results == results


def test_a_blend_of_an_old_and_a_new_run(tmp_path):
    new = train.execute(compose("train", [*SHARED, "model=ease", f"run_dir={tmp_path / 'ease'}"]))
    runs = f"model.runs=[{OWN / 'autorec'},{new.path}]"
    blend = train.execute(compose("train", [*SHARED, "model=blend", runs, f"run_dir={tmp_path / 'blend'}"]))
    assert blend.read_json("metrics.json")["test_notes"] == []
    with pytest.raises(ConfigError, match=r"The run .*blend is a blend itself"):
        runs = f"model.runs=[{OWN / 'blend'}]"
        train.execute(compose("train", [*SHARED, "model=blend", runs, f"run_dir={tmp_path / 'again'}"]))


def test_a_comparison_goes_on(tmp_path):
    """What is there was asked for with the same settings, whose import paths were others."""
    shutil.copytree(OWN / "comparison", tmp_path / "comparison")
    kept = (OWN / "comparison/runs/item_knn/metrics.json").read_bytes()
    told = (*SHARED, f"output={tmp_path / 'comparison'}")
    frame = nnrec.compare(*told, "models=[item_knn,popularity]", quiet=True)
    assert set(frame["entry"]) == {"item_knn", "popularity"}
    assert (tmp_path / "comparison/runs/item_knn/metrics.json").read_bytes() == kept
    with pytest.raises(ConfigError, match=r"item_knn with split\.test=0\.1, and split\.test=0\.2 is asked"):
        nnrec.compare(*told, "models=[item_knn]", "split.test=0.2", quiet=True)


def test_a_sweep_goes_on(tmp_path):
    pytest.importorskip("optuna")
    shutil.copytree(OWN / "sweep", tmp_path / "sweep")
    searched = ["model=ease", "model.l2=choice(1,10,100)", "sweep=default", "sweep.storage=journal", "sweep.trials=3"]
    command = [sys.executable, "train.py", "-m", *SHARED, *searched, f"sweep.folder={tmp_path / 'sweep'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 trials of 3 are there." in done.stdout
    trials = pd.read_csv(tmp_path / "sweep" / "trials.csv")
    assert list(trials["state"]) == ["complete"] * 3
    for number in (0, 1):
        place = Path("sweep", "trials", f"{number:03d}", "selection.json")
        assert (tmp_path / place).read_bytes() == (OWN / place).read_bytes()


@pytest.mark.parametrize(
    ("name", "whole"),
    [("autorec", "autorec"), ("gru4rec", "gru4rec"), ("item_knn", "comparison/runs/item_knn")],
    ids=["selecting", "refitting", "a baseline"],
)
def test_a_killed_training_goes_on(tmp_path, name, whole):
    """It ends as that which nobody killed."""
    shutil.copytree(OWN / "killed" / name, tmp_path / name)
    folder = train.execute(compose("train", [f"resume={tmp_path / name}"]))
    assert not folder["checkpoint.npz"].exists()
    found, expected = (RunFolder(path).read_arrays("weights.npz") for path in (folder.path, OWN / whole))
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[key], array)
    told, wanted = (RunFolder(path).read_json("metrics.json") for path in (folder.path, OWN / whole))
    assert told["test"] == pytest.approx(wanted["test"], rel=1e-4)
    assert told["training"].get("best_epoch") == wanted["training"].get("best_epoch")


def test_an_export(tmp_path):
    """A SavedModel; it is checked against the run's own lists when it is written."""
    export.execute(compose("export", [f"run={OWN / 'autorec'}", f"output={tmp_path / 'served'}"]))
    assert (tmp_path / "served" / "saved_model.pb").is_file()


def test_shards(tmp_path):
    """They hold what is prepared from the same data today."""
    prepare.execute(compose("prepare", [*RATINGS, "split=random", f"output={tmp_path / 'shards'}"]))
    old, new = read_shards(OWN / "shards"), read_shards(tmp_path / "shards")
    assert old.definition == new.definition
    assert old.fingerprint() == new.fingerprint()

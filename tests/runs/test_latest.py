"""`latest` instead of a run folder: which run it names, and that all commands accept it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import nnrec
from nnrec.commands import compare as bakeoff
from nnrec.commands import predict as prediction
from nnrec.commands import train as pipeline
from nnrec.core.config.compose import compose
from nnrec.core.errors import RunError
from nnrec.runs import latest
from nnrec.runs.folder import RunFolder
from nnrec.runs.latest import folder_of_runs, run_named
from tests.conftest import TINY_DATA


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(path: str, when: int, *names: str) -> Path:
    """Makes a folder with these files, all with this modification time."""
    for name in names or ("config.yaml", "data.json", "metrics.json"):
        file = Path(path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
        os.utime(file, (when, when))
    return Path(path)


def test_the_run_that_finished_last(capsys):
    make("runs/ease/ml-1m/b", 100)
    newest = make("runs/autorec/ml-1m/a", 300)
    make("runs/als/ml-1m/z", 400, "config.yaml", "data.json", "checkpoint.npz")  # it has not finished
    make("elsewhere/runs/c", 500)
    assert run_named("latest") == newest
    assert capsys.readouterr().out == f"The latest run: {newest}\n"
    os.utime(newest / "metrics.json", (50, 50))
    assert run_named("latest") == Path("runs/ease/ml-1m/b")


def test_a_path_is_taken_as_it_is(capsys):
    make("latest", 100)
    assert run_named("./latest") == "./latest" and run_named(Path("latest")) == Path("latest")
    assert run_named("runs/some") == "runs/some"
    assert not capsys.readouterr().out


def test_trials_of_sweeps_and_parts_of_runs_are_no_runs():
    make("runs/sweeps/svd/ml-1m/1", 100, "sweep.json")
    make("runs/sweeps/svd/ml-1m/1/trials/001", 900)
    make("runs/sweeps/svd/ml-1m/1/trials/002/1", 900, "config.yaml", "data.json", "checkpoint.npz")
    make("runs/course/ml-1m/a", 200)
    make("runs/course/ml-1m/a/accuracy", 800)
    assert run_named("latest") == Path("runs/course/ml-1m/a")
    winner = make("runs/sweeps/svd/ml-1m/1/best_001", 300)
    assert run_named("latest") == winner
    make("runs/sweeps/svd/ml-1m/1/best_001", 300, "checkpoint.npz")
    (winner / "metrics.json").unlink()
    with pytest.raises(RunError, match="There is no unfinished run below"):
        run_named("latest", unfinished=True)


def test_the_unfinished_run_that_got_on_last(capsys):
    make("runs/a/b/1", 100, "config.yaml", "data.json", "checkpoint.npz")
    make("runs/a/b/2", 200, "config.yaml", "data.json", "checkpoint.npz")
    make("runs/a/b/3", 900)  # finished
    make("runs/a/b/4", 900, "config.yaml")  # its data were never read
    assert run_named("latest", unfinished=True) == Path("runs/a/b/2")
    assert capsys.readouterr().out == "The latest unfinished run: runs/a/b/2\n"
    make("runs/a/b/1", 300, "checkpoint.npz")  # it was resumed and killed again
    assert run_named("latest", unfinished=True) == Path("runs/a/b/1")


def test_where_there_is_none(tmp_path):
    with pytest.raises(RunError, match=rf"^There is no finished run below {tmp_path}/runs, so that latest names none"):
        run_named("latest")
    with pytest.raises(RunError, match=rf"^There is no unfinished run below {tmp_path}/runs to resume\."):
        pipeline.execute(compose("train", ["resume=latest"]))


@pytest.mark.parametrize(
    ("default", "folder"),
    [
        ("runs/${model.name}/${now:%Y}", "runs"),
        ("/data/my runs/run_${seed}", "/data/my runs"),
        ("${oc.env:NNREC_TEST_RUNS,runs}/${model.name}", "/here"),
        ("${model.name}", "."),
    ],
)
def test_runs_lie_where_the_default_says(default, folder, tmp_path, monkeypatch):
    (tmp_path / "train.yaml").write_text(f"run_dir: {default} # where the run is kept\n")
    monkeypatch.setattr(latest, "config_folder", lambda: tmp_path)
    monkeypatch.setenv("NNREC_TEST_RUNS", "/here")
    assert folder_of_runs() == Path(folder)


# Wherever a run is named


@pytest.fixture
def newest(run_folder, tmp_path) -> Path:
    """A finished run in runs/, next to an older one with other settings."""
    older = shutil.copytree(run_folder, tmp_path / "runs" / "autorec" / "simulated_ratings" / "b")
    os.utime(older / "metrics.json", (100, 100))
    return shutil.copytree(run_folder, tmp_path / "runs" / "autorec" / "simulated_ratings" / "a").relative_to(tmp_path)


def test_load_and_predict(newest, capsys):
    assert nnrec.load("latest").folder.path == newest
    capsys.readouterr()
    prediction.execute(compose("predict", ["run=latest", "user=1"]))
    shown = capsys.readouterr().out
    assert shown.startswith(f"The latest run: {newest}\n") and "Recommended by autorec:" in shown


def test_compare(newest, run_folder, tmp_path, capsys):
    other = str(run_folder)
    comparison = bakeoff.execute(compose("compare", [f"runs=[latest,{newest},{other}]", f"output={tmp_path}/out"]), [])
    assert sorted(comparison.frame()["run"]) == sorted([str(newest), other])  # the same run counts once
    assert f"The latest run: {newest}" in capsys.readouterr().out


def test_export(newest, tmp_path, monkeypatch):
    from nnrec.commands import export as command

    taken: list[object] = []
    monkeypatch.setattr("nnrec.serving.export.start", lambda: None)
    monkeypatch.setattr("nnrec.serving.export.plan", lambda run, *_: taken.append(run.folder.path) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.execute(compose("export", ["run=latest", f"output={tmp_path}/model"]))
    assert taken == [newest]


def test_a_blend_keeps_its_members_for_good(tmp_path, capsys):
    for name in ("popularity", "ease"):
        nnrec.train(f"model={name}", *TINY_DATA, "trainer.refit=false", f"run_dir=runs/{name}")
    runs = "model.runs=[latest,runs/popularity]"
    blend = nnrec.train("model=blend", runs, *TINY_DATA, "trainer.refit=false", "run_dir=runs/blend")
    assert "The latest run: runs/ease" in capsys.readouterr().out
    assert blend.config.model.runs == ["runs/ease", "runs/popularity"]
    assert OmegaConf.load("runs/blend/config.yaml").model.runs == ["runs/ease", "runs/popularity"]


def test_resume(run_folder, capsys):
    folder = RunFolder.create("runs/autorec/simulated_ratings/cut")
    for name in ("config.yaml", "data.json", "users.parquet", "items.parquet", "item_table.parquet"):
        shutil.copy(run_folder / name, folder[name])  # what there is before the first epoch
    assert pipeline.execute(compose("train", ["resume=latest"])).path == folder.path
    assert "The latest unfinished run: runs/autorec/simulated_ratings/cut" in capsys.readouterr().out
    assert folder["metrics.json"].is_file()

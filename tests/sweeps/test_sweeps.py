"""Sweeps: spaces, draws, and the real command line with trials in processes of their own."""

from __future__ import annotations

import json
import math
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT, TINY_DATA

pytest.importorskip("optuna")

import optuna
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import nnrec
from nnrec.core.config.compose import compose, config_folder
from nnrec.core.errors import ConfigError
from nnrec.runs.folder import RunFolder
from nnrec.sweeps import planning, studies
from nnrec.sweeps.pruning import GainPruner
from nnrec.sweeps.space import Space
from nnrec.sweeps.sweep import sweep as run_sweep

LOADER = ConfigLoaderImpl(create_config_search_path(str(config_folder())))
FOLDER_OF_SWEEPS = config_folder() / "sweep"
SETTINGS = OmegaConf.load(FOLDER_OF_SWEEPS / "default.yaml")


def space(told: dict[str, str], *overrides: str) -> Space:
    return Space.of(told, overrides, LOADER)


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def sweep(capfd, *arguments: object) -> str:
    """Runs train.py -m in this process; returns its output, or the error that it stops with."""
    sys.argv = ["train.py", "-m", *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    except SystemExit as stop:
        return str(stop.code)
    return capfd.readouterr().out


def test_a_space_is_written_as_hydra_writes_sweeps():
    found = space(
        {
            "a": "interval(1,2)",
            "b": "tag(log,interval(0.1,10))",
            "c": "int(interval(1,9))",
            "d": "choice([8],[16,8])",
            "e": "range(0.0,0.55,0.1)",
            "f": "range(2,9,3)",
        }
    )
    assert found.dimensions == {
        "a": FloatDistribution(1, 2),
        "b": FloatDistribution(0.1, 10, log=True),
        "c": IntDistribution(1, 9),
        "d": CategoricalDistribution(["[8]", "[16,8]"]),
        "e": FloatDistribution(0, 0.5, step=0.1),
        "f": IntDistribution(2, 8, step=3),
    }


def test_the_command_line_widens_replaces_and_narrows_a_space():
    found = space(
        {"model.l2": "interval(1,2)", "model.by": "choice(user,item)"}, "model.l2=7", "seed=3", "trainer.xla=true,false"
    )
    assert list(found.dimensions) == ["model.by", "trainer.xla"]
    assert found.overrides({"model.by": "user"}) == ["model.l2=7", "seed=3", "model.by=user"]
    assert space({"model.l2": "interval(1,2)"}, "model.l2=interval(3,4)").dimensions["model.l2"] == FloatDistribution(
        3, 4
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "nothing to search"),
        ({"model.l2": "3"}, r"model\.l2=3 leaves nothing to choose"),
        ({"model.l2": "interval(1"}, "sweep.space"),
        ({"model.l2": "interval(2,1)"}, r"model\.l2"),
        ({"model.l2": "tag(log,interval(0,1))"}, r"model\.l2"),
        ({"seed": "choice(1,2)"}, "seed has to be the same in all trials"),
        ({"split.fold": "choice(1,2)"}, "has to be the same"),
        ({"data": "choice(a,b)"}, "has to be the same"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(told, message):
    with pytest.raises(ConfigError, match=message):
        space(told)


def test_a_grid_goes_from_end_to_end_of_each_dimension():
    points = space({"a": "tag(log,interval(1,100))", "b": "choice(x,y)", "c": "range(1,4)"}).grid(3)
    # 1, 10 and 100 by two choices by the whole numbers 1, 2 and 3
    assert len(points) == 18
    assert sorted({point["a"] for point in points}) == pytest.approx([1, 10, 100])
    assert {(point["b"], point["c"]) for point in points} == {(b, c) for b in "xy" for c in (1, 2, 3)}


def test_steps_add_up_to_what_one_would_write():
    added = 0.2 + 0.2 + 0.2
    assert added != 0.6
    assert space({"model.dropout": "range(0.0,0.9,0.2)"}).overrides({"model.dropout": added}) == ["model.dropout=0.6"]


def test_the_settings_as_they_stand_are_a_point_where_the_space_holds_them():
    settings = ["model.l2=30", "model.hidden_units=[300]", "model.input_dropout=0.95", "model.dropout=0.0"]
    config = compose("train", ["model=autorec", *settings])
    found = space(
        {
            "model.l2": "tag(log,interval(1,100))",
            "model.dropout": "tag(log,interval(0.1,0.5))",
            "model.hidden_units": "choice([100],[300])",
            "model.input_dropout": "interval(0,0.9)",
        }
    )
    assert found.present(config, LOADER) == {"model.l2": 30, "model.hidden_units": "[300]"}


@pytest.mark.parametrize("path", sorted(FOLDER_OF_SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_sweep_fits_its_model(path: Path):
    if path.stem == "default":
        return
    config = compose("train", [f"model={path.stem}", f"sweep={path.stem}"])
    studies.check(config.sweep)
    found = space(config.sweep.space)
    composed = compose("train", [f"model={path.stem}", *found.overrides(found.lowest())])
    assert OmegaConf.select(composed, next(iter(found.dimensions))) is not None


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes"])
def test_a_sweep_that_is_resumed_draws_what_it_would_have_drawn(name, tmp_path):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    settings = OmegaConf.merge(SETTINGS, {"sampler": name, "study": "s", "storage": "journal"})
    dimensions = {"a": FloatDistribution(0, 1), "b": FloatDistribution(1, 10, log=True), "c": IntDistribution(1, 9)}

    def tried(folder: Path, *pieces: int) -> list[dict[str, float]]:
        folder.mkdir()
        for until in pieces:
            study = studies.open_study(settings, folder, "minimize", 10)  # as after a kill
            for number in range(len(study.trials), until):
                study.sampler = studies.sampler(settings, 7, number, dimensions)
                trial = study.ask()
                studies.suggest(trial, dimensions)
                study.tell(trial, (trial.params["a"] - 0.3) ** 2 + trial.params["c"])
        return [trial.params for trial in study.trials]

    whole = tried(tmp_path / "whole", 16)
    assert tried(tmp_path / "pieces", 5, 13, 16) == whole
    assert len({tuple(params.items()) for params in whole}) == 16


def test_cma_es_comes_nearer_than_chance(tmp_path):
    pytest.importorskip("cmaes")
    dimensions = {
        "a": FloatDistribution(-5, 5),
        "b": FloatDistribution(1e-4, 1, log=True),
        "c": IntDistribution(0, 100),
    }
    nearest = {}
    for name in ("cmaes", "random"):
        settings = OmegaConf.merge(SETTINGS, {"sampler": name, "study": name, "storage": "journal"})
        study = studies.open_study(settings, tmp_path, "maximize", 1)
        for number in range(100):
            study.sampler = studies.sampler(settings, 0, number, dimensions)
            trial = study.ask()
            studies.suggest(trial, dimensions)
            a, b, c = (trial.params[key] for key in "abc")
            assert -5 <= a <= 5 and 1e-4 <= b <= 1 and isinstance(c, int) and 0 <= c <= 100
            study.tell(trial, -((a - 2) ** 2 + math.log10(b / 0.01) ** 2 + (c / 10 - 7) ** 2))
        nearest[name] = study.best_value
        assert not any(trial.system_attrs for trial in study.trials)  # nothing is pickled into the study
    assert nearest["cmaes"] > -0.01 > nearest["random"]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_trial_is_stopped_where_the_largest_gain_would_not_bring_it_to_the_front(direction):
    sign = 1 if direction == "minimize" else -1
    study = optuna.create_study(direction=direction, pruner=GainPruner(1.5, 2, warmup_epochs=2, epochs=4))

    def pruned_after(*curve: float) -> int | None:
        trial = study.ask()
        for epoch, value in enumerate(curve, 1):
            trial.report(sign * value, epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return epoch
        study.tell(trial, sign * min(curve))
        return None

    assert pruned_after(9, 9, 9, 9) is None  # nothing to compare with
    assert pruned_after(5, 4, 3, 2) is None  # one trial has ended, two are to
    # From epoch 2 on the largest gain is 4 - 2, times 1.5 is 3; the best is 2: 5 may go on, 5.1 may not.
    # From epoch 3 on the gain is 1: 3.5 may go on, and nothing is stopped after the last epoch.
    assert pruned_after(9, 5.1, 2) == 2
    assert pruned_after(9, 5, 3.6, 2) == 3
    assert pruned_after(9, 5, 3.5, 2.1) is None


def test_a_setting_that_means_nothing_is_refused():
    for wrong, message in (({"sampler": "tep"}, "sampler must be one of tpe"), ({"workers": 0}, "workers must be")):
        with pytest.raises(ConfigError, match=message):
            studies.check(OmegaConf.merge(SETTINGS, wrong))
    with pytest.raises(ConfigError, match=r"python train\.py -m"):
        nnrec.train("model=bias", "sweep=default")


def test_a_trial_does_not_look_at_the_test_part(tmp_path, monkeypatch):
    config = compose("train", ["model=bias", *TINY_DATA])
    learning, _ = planning.learning_of(config)
    measured = []

    def measure(model, train, held_out, depth=None):
        measured.append(held_out)
        return learning_evaluation(model, train, held_out, depth)

    learning_evaluation = learning.evaluation
    monkeypatch.setattr(learning, "evaluation", measure)
    found = learning.try_out(RunFolder(tmp_path / "trial"))
    assert found["value"] == found["validation"]["rmse"]
    assert measured and all(part is learning.split.validation for part in measured)
    assert not (tmp_path / "trial" / "metrics.json").exists()


def test_a_trial_that_was_stopped_stays_so_wherever_it_was_killed(tmp_path, monkeypatch):
    config = compose("train", ["model=autorec", *TINY_DATA, "trainer.epochs=4", "model.hidden_units=[4]"])
    folder, told = RunFolder(tmp_path / "trial"), []

    def report(epoch: int, value: float) -> bool:
        told.append(epoch)
        return epoch < 2

    def killed(name, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(folder, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            planning.try_out(config, folder, report)
    for _ in range(2):  # from the checkpoint, and from selection.json
        found = planning.try_out(config, folder, report)
        assert found["stopped"] and len(found["history"]) == 2
    assert told == [1, 2]


BIAS = (
    "model=bias",
    "sweep=default",
    *TINY_DATA,
    "trainer.monitor=val_rmse",
    "model.l2_user=tag(log,interval(0.1,100))",
)


def test_a_killed_sweep_goes_on_to_its_end(tmp_path, capfd):
    folder = tmp_path / "sweep"
    wanted = (*BIAS, "model.l2_item=interval(0,50)", "sweep.trials=4", f"sweep.folder={folder}")
    first = start(*wanted)
    until = time.monotonic() + 60
    while not (folder / "trials" / "001").is_dir() and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    stored = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}").trials
    assert 1 <= len(stored) < 4

    screen = sweep(capfd, *wanted, "sweep.workers=2")
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["trial"].tolist() == [0, 1, 2, 3] and set(trials["state"]) == {"complete"}, screen
    assert (trials["model.l2_user"][0], trials["model.l2_item"][0]) == (5, 5)  # the settings as they stood
    assert trials["model.l2_user"][: len(stored)].tolist() == [trial.params["model.l2_user"] for trial in stored]
    best = trials.sort_values("value").iloc[0]
    run = json.loads((folder / f"best_{best['trial']:03d}" / "metrics.json").read_text())
    assert run["validation"]["rmse"] == pytest.approx(best["value"]) and "rmse" in run["test"]
    found = OmegaConf.load(folder / "bias_simulated_ratings.yaml").get("model") or {}
    assert found.get("l2_user", 5) == pytest.approx(best["model.l2_user"])
    page = (folder / "sweep.html").read_text()
    assert 'id="parallel-' in page and "Every trial" in page

    assert "Choose another sweep.folder" in sweep(capfd, *wanted, "model.l2_item=interval(0,60)")


def test_a_trial_is_judged_by_its_mean_over_folds(tmp_path, capfd):
    folder = tmp_path / "sweep"
    sweep(capfd, *BIAS, "sweep.folds=3", "sweep.trials=1", f"sweep.folder={folder}")
    values = []
    for fold in (1, 2, 3):
        config = compose("train", ["model=bias", *TINY_DATA, "trainer.monitor=val_rmse", f"split.validation={fold}/3"])
        values.append(planning.try_out(config, RunFolder(tmp_path / str(fold)))["value"])
    trials = pd.read_csv(folder / "trials.csv")
    assert len(set(values)) == 3 and trials["value"].tolist() == pytest.approx([sum(values) / 3])
    assert sorted(os.listdir(folder / "trials" / "000")) == ["1", "2", "3"]
    assert "sweep.folds" in sweep(capfd, *BIAS, "sweep.trials=1", f"sweep.folder={folder}")
    other = sweep(capfd, *BIAS, "split=user_time", "sweep.folds=3", f"sweep.folder={tmp_path / 'other'}")
    assert "split.validation" in other and "needs a split that draws its validation part at random" in other


def test_a_sweep_does_not_go_on_with_other_data(tmp_path, capfd):
    folder, log = tmp_path / "sweep", tmp_path / "log.csv"
    frame = pd.DataFrame([(user, item, 1 + (user * item) % 5) for user in range(20) for item in range(15)])
    frame.columns = ["user", "item", "rating"]
    wanted = ("model=bias", "sweep=default", "data=table", f"data.source.path={log}", "trainer.monitor=val_rmse")
    wanted += ("model.l2_user=interval(1,9)", "sweep.trials=1", f"sweep.folder={folder}", "data.source.value=rating")
    for rows in (300, 299):
        frame[:rows].to_csv(log, index=False)
        said = sweep(capfd, *wanted)
        assert ("The data have changed" in said) == (rows == 299), said


def test_a_sweep_in_which_nothing_works_says_why(tmp_path, capfd):
    wanted = ("model.l2_item=choice(a,b)", "sweep.trials=9", f"sweep.folder={tmp_path / 'sweep'}")
    said = sweep(capfd, *BIAS, *wanted)
    assert "The first 3 trials have all failed" in said and "Traceback" not in said


def test_without_optuna_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'nnrec\[sweep\]'"):
        run_sweep(None, None, [])


@pytest.mark.slow
def test_a_trial_gives_the_same_alone_and_after_another(tmp_path):
    # Precision, devices and seeds of earlier trials would change the result.
    same = ("model=autorec", "sweep=default", *TINY_DATA, "trainer.epochs=2", "sweep.sampler=grid")
    values = []
    for name, precisions in (("alone", "choice(float32)"), ("after", "choice(mixed_bfloat16,float32)")):
        folder = tmp_path / name
        assert start(*same, f"trainer.precision={precisions}", f"sweep.folder={folder}").wait() == 0
        trials = pd.read_csv(folder / "trials.csv").set_index("trainer.precision")["value"]
        values.append(trials["float32"])
    assert values[0] == values[1] != trials["mixed_bfloat16"]


@pytest.mark.slow
def test_a_pruned_trial_ends_early_and_as_pruned(tmp_path):
    folder = tmp_path / "sweep"
    done = start(
        "model=autorec", "sweep=default", *TINY_DATA, "trainer.epochs=6", "sweep.trials=3", "sweep.sampler=grid",
        "sweep.startup_trials=1", "sweep.warmup_epochs=2", "trainer.learning_rate=choice(1e-2,1e-7)",
        "sweep.pruner=median", f"sweep.folder={folder}",
    )  # fmt: skip
    assert done.wait() == 0
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["state"].tolist() == ["complete", "pruned"]
    assert trials["epochs"].tolist() == [6, 2]
    assert os.listdir(folder / "trials" / "001" / "tensorboard")

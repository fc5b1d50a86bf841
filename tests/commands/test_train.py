"""The real train.py, end to end; starting the backend takes seconds, so few processes."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

import nnrec
from nnrec.runs.folder import RunFolder
from tests.conftest import ROOT, TINY_DATA


def start(*arguments: object, script: str = "train.py", cwd: Path = ROOT, **environment: object) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    variables = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        # Where the tests run in the background of a script, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out, err


def main(capsys, *arguments: object) -> str:
    """Runs train.py in this process; returns its output, or the error that it stops with."""
    sys.argv = ["train.py", *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    except SystemExit as stop:
        assert isinstance(stop.code, str), stop.code  # Python prints it to stderr and exits with status 1
        return stop.code
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _own_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))


# A finished run


def test_the_run_folder_is_complete(run_folder):
    found = {path.name for path in run_folder.iterdir()}
    files = {"config.yaml", "weights.npz", "users.parquet", "items.parquet", "item_table.parquet", "item_counts.npz"}
    files |= {"data.json", "metrics.json", "history.csv", "selection.json", "user_table.parquet", "report.html"}
    files |= {f"test_{name}" for name in ("lists.npz", "ratings.parquet", "users.parquet")}
    assert found == files | {"histories", "tensorboard"}
    history = pd.read_csv(run_folder / "history.csv")
    assert list(history) == ["epoch", "loss", "learning_rate", "val_rmse", "val_mae", "examples_per_second"]
    assert len(history) == 2


def test_metrics(run_folder):
    metrics = json.loads((run_folder / "metrics.json").read_text())
    parts = ["validation", "test", "test_intervals", "test_by_rating", "test_notes", "training", "data"]
    assert list(metrics) == parts
    ranking = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "arhr", "serendipity")
    lists = ("catalogue_coverage", "gini", "diversity", "novelty", "popularity_rank", "popularity_share")
    figures = {"rmse", "mae"} | {f"{name}@{k}" for name in ranking for k in (10, 20)}
    assert set(metrics["validation"]) == figures
    figures |= {f"{name}@{k}" for name in lists for k in (10, 20)} | {"responsiveness@10", "lists_changed@10"}
    assert set(metrics["test"]) == figures
    assert all(low <= metrics["test"][name] <= high for name, (low, high) in metrics["test_intervals"].items())
    assert {"rmse", "ndcg@10", "diversity@20"} <= set(metrics["test_intervals"])
    assert metrics["test_notes"] == []
    assert all(np.isfinite(value) for part in ("validation", "test") for value in metrics[part].values())
    times = {"seconds", "examples_per_second", "users_per_second"}
    assert set(metrics["training"]) == {"epochs", "best_epoch"} | times
    # two epochs of selection, then as many as were best
    assert metrics["training"]["epochs"] == 2 + metrics["training"]["best_epoch"]
    assert (metrics["data"]["users"], metrics["data"]["items"]) == (60, 40)
    # 10% of 800 for test; validation is trained on in the end
    assert (metrics["data"]["test_ratings"], metrics["data"]["training_ratings"]) == (80, 720)
    assert 0 < metrics["data"]["best_reachable"]["rmse"] < metrics["test"]["rmse"]


def test_the_screen(finished_run):
    screen, metrics = finished_run.screen, json.loads((finished_run.folder / "metrics.json").read_text())
    assert "60 users, 40 items, 800 ratings" in screen
    assert "Split: A random 10% of the ratings for test" in screen
    assert "autorec on simulated_ratings" in screen
    row = re.search(r"rmse\W+([\d.]+)\W+([\d.]+)\W+([\d.]+) to ([\d.]+)\W+([\d.]+)", screen.split("autorec on")[1])
    assert row is not None, screen
    test, best = metrics["test"]["rmse"], metrics["data"]["best_reachable"]["rmse"]
    expected = metrics["validation"]["rmse"], test, *metrics["test_intervals"]["rmse"], best
    assert row.groups() == tuple(f"{value:.4f}" for value in expected)
    excess = 100 * (test / best - 1)
    assert f"The test rmse is {excess:.1f}% above the best that anybody could reach on these data." in screen
    assert f"python predict.py run={finished_run.folder} output=recommendations.csv" in screen
    assert screen.rstrip().endswith(f"Done. The run is in {finished_run.folder}")
    assert "Traceback" not in screen and "Warning" not in screen


def test_tensorboard_shows_curves_and_settings(run_folder):
    events = EventAccumulator(str(run_folder / "tensorboard"))
    events.Reload()
    history = pd.read_csv(run_folder / "history.csv")
    for name in ("loss", "learning_rate", "val_rmse", "examples_per_second"):
        logged = events.Scalars(f"select/{name}")
        assert [event.step for event in logged] == [1, 2]
        np.testing.assert_allclose([event.value for event in logged], history[name], rtol=1e-5)
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert [event.step for event in events.Scalars("refit/loss")][0] == 3
    (test,) = events.Scalars("test/rmse")
    assert (test.step, test.value) == (metrics["training"]["epochs"], pytest.approx(metrics["test"]["rmse"]))
    content = events.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    shown = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown["trainer.epochs"].number_value == 2
    assert shown["model.hidden_units"].string_value == "[8]"
    assert shown["data"].string_value == "simulated_ratings"
    content = events.SummaryMetadata(hparams_metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == api_pb2.STATUS_SUCCESS


# Killed and resumed

LONG = (
    *TINY_DATA,
    "model=autorec",
    "model.hidden_units=[8]",
    "model.dropout=0.2",
    "model.input_dropout=0.4",
    "trainer.epochs=14",
    "trainer.monitor=loss",
    "trainer.batch_size=4",
    "trainer/schedule=plateau",
    "trainer.schedule.patience=1",
    "trainer.schedule.factor=0.7",
    "trainer.learning_rate=2e-2",
    "trainer.checkpoint_seconds=0",
    "seed=3",
)


def wait_for(process: subprocess.Popen, folder: Path, stage: str, after: int = 0) -> dict:
    """Waits for a checkpoint of this stage with more than `after` epochs; returns its description."""
    path = folder / "checkpoint.npz"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file():
            about = json.loads(str(RunFolder(folder).read_arrays("checkpoint.npz")["about"]))
            if about["stage"] == stage and len(about["progress"]["history"]) > after:
                return about
        time.sleep(0.002)
    raise AssertionError(f"no checkpoint of {stage}: {finish(process)}")


def comparable(folder: Path) -> tuple[dict, pd.DataFrame]:
    """Figures and history without what depends on the clock."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("seconds", "examples_per_second", "users_per_second"):
        del metrics["training"][name]
    return metrics, pd.read_csv(folder / "history.csv").drop(columns="examples_per_second")


def test_killed_twice_interrupted_once_and_resumed_it_ends_like_an_uninterrupted_run(tmp_path):
    folder = tmp_path / "killed"
    process = start(*LONG, f"run_dir={folder}")
    wait_for(process, folder, "select", after=2)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    first = json.loads(str(RunFolder(folder).read_arrays("checkpoint.npz")["about"]))
    assert (first["stage"], (folder / "metrics.json").exists()) == ("select", False)

    (folder / ".checkpoint.1.tmp.npz").write_bytes(b"what a kill in the middle of writing leaves")
    process = start(f"resume={folder}")
    wait_for(process, folder, "select", after=len(first["progress"]["history"]) + 2)
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert (status, err) == (1, f"error: Interrupted. Continue with: python train.py resume={folder}\n"), out

    process = start(f"resume={folder}")
    wait_for(process, folder, "refit", after=1)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    assert not (folder / "metrics.json").exists()

    status, out, err = finish(start(f"resume={folder}"))
    assert (status, err) == (0, ""), out
    assert not (folder / "checkpoint.npz").exists()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []

    whole = nnrec.train(*LONG, f"run_dir={tmp_path / 'whole'}").folder.path
    (metrics, history), (expected, expected_history) = comparable(folder), comparable(whole)
    assert metrics == expected
    pd.testing.assert_frame_equal(history, expected_history, check_exact=True)
    weights, expected_weights = (RunFolder(run).read_arrays("weights.npz") for run in (folder, whole))
    for name in expected_weights:
        np.testing.assert_array_equal(weights[name], expected_weights[name])
    assert history["learning_rate"].nunique() > 1
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("select/loss")] == list(range(1, len(history) + 1))


def test_a_finished_run_is_not_resumed(run_folder, capsys):
    assert (
        main(capsys, f"resume={run_folder}") == f"error: The run {run_folder} has finished: there is nothing to resume."
    )


def test_a_folder_in_use_is_refused(run_folder, capsys):
    before = (run_folder / "weights.npz").read_bytes()
    assert main(capsys, *TINY_DATA, f"run_dir={run_folder}") == (
        f"error: The run folder {run_folder} is already in use. Choose another run_dir, remove it, or continue it with "
        f"resume={run_folder}."
    )
    assert (run_folder / "weights.npz").read_bytes() == before


def test_resume_needs_a_run(tmp_path, capsys):
    assert "There is no run folder" in main(capsys, f"resume={tmp_path / 'gone'}")
    assert "is no run folder: it holds no config.yaml" in main(capsys, f"resume={tmp_path}")


def test_resume_notices_changed_data(run_folder, tmp_path, capsys):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_text("config.yaml", (run_folder / "config.yaml").read_text().replace("seed: 0", "seed: 1"))
    folder.write_text("data.json", (run_folder / "data.json").read_text())
    assert "The data are not those that the run began with" in main(capsys, f"resume={folder.path}")


# Bad input

GOOD = "user,item,rating\n" + "".join(f"{u},{i},{1 + (u + i) % 5}\n" for u in range(12) for i in range(10))
ORDERED = "user,item,rating,place\n" + "".join(f"{u},{i},{1 + (u + i) % 5},{i}\n" for u in range(12) for i in range(10))


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], r"No such file: .*/log\.csv\. Set data\.source\.path to a file"),
        ("userid,item,rating\n1,2,3\n", [], r"log\.csv has no column 'user'\. Found: .*Did you mean 'userid'\?"),
        ("", [], r"log\.csv is empty\."),
        ("user,item,rating\n", [], r"log\.csv is empty: it holds no row of data\."),
        ("user,item,rating\n1,1,3\n1,2\n", [], r"log\.csv, line 3: 2 fields separated by ',' where the first"),
        ("user,item,rating\n1,1,3\n1,2,good\n", [], r"log\.csv, line 3: the rating 'good' is not a number\."),
        ("user,item,rating\n1,1,3\n1,2,nan\n", [], r"log\.csv, line 3: the rating is empty or not a number \(NaN\)\."),
        ("user,item,rating\n1,1,3\n,2,4\n", [], r"log\.csv, line 3: the user id is empty\."),
        (
            GOOD.replace("3,7,1\n", "3,7,11\n"),
            ["data.source.scale=[1,5]"],
            r"log\.csv, line 39: the rating is 11; it must be between 1 and 5 \(scale\)\.",
        ),
        ("user,item,rating\n1,1,3\n1,2,4\n2,1,5\n", [], r"The split leaves no ratings for validation and test"),
        (GOOD, ["data.filters.min_ratings_per_user=11"], r"min_ratings_per_user=11 .*leave none of the 120 ratings"),
        (GOOD, ["split=time"], r"needs timestamps; these data have no times\. Use split=random\."),
        (
            ORDERED,
            ["split=time", "data.source.time=place"],
            r"needs timestamps; these data have only the order within each user\. Use split=user_time",
        ),
        (re.sub(r"\d\n", "1\n", GOOD), [], r"All ratings are 1: .*model\.masked=false"),
        (GOOD, ["evaluation.relevant=6"], r"No held-out rating reaches evaluation\.relevant=6"),
        (GOOD, ["trainer.monitor=val_rsme"], r"trainer\.monitor=val_rsme is not measured\. Choose one of: loss"),
        (GOOD, ["trainer.optimizer=adamm"], r"trainer\.optimizer: there is no 'adamm'\. Did you mean adam\? Choose"),
        (GOOD, ["trainer.epochs=0"], r"trainer\.epochs must be at least 1\. Received: 0"),
        (GOOD, ["+model.hidden_unit=3"], r"model \(nnrec\.models\.AutoRec\) cannot be called: .*hidden_unit"),
        (GOOD, ["model.activation=sigmoyd"], r"model \(nnrec\.models\.AutoRec\) cannot be called: .*sigmoyd"),
        (GOOD, ["model.by=users"], r"model\.by must be one of item, user\. Received: 'users'"),
        (GOOD, ["model._target_=nnrec.models.Autorec"], r"model \(.*\.Autorec\) cannot be called: .*Autorec"),
        (GOOD, ["seed=-1"], r"seed must be a whole number, 0 or more and below 2\^32\. Received: -1"),
        (GOOD, ["seed=one"], r"seed must be a whole number, 0 or more and below 2\^32\. Received: 'one'"),
        (GOOD, ["trainer.devices=tpu"], r"trainer\.devices must be a whole number or one of auto, cpu, all\. .* 'tpu'"),
        (GOOD, ["model.hidden_units=[]"], r"model\.hidden_units must list at least one positive size"),
        (GOOD, ["trainer.learning_rate=1e30", "trainer.batch_size=2"], r"The loss is (inf|nan) at step \d+ of epoch 1"),
    ],
)  # fmt: skip
def test_bad_input_is_named_in_one_line(content, arguments, message, tmp_path, capsys):
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    tiny = ("model.hidden_units=[4]", "trainer.epochs=2", f"run_dir={tmp_path / 'run'}")
    told = main(capsys, "data=table", f"data.source.path={path}", *tiny, *arguments)
    assert told.startswith("error: ")
    assert "\n" not in told
    assert re.search(message, told), told


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    told = main(capsys, *TINY_DATA, "model.hidden_units=[4]", "trainer.epochs=1", f"run_dir={tmp_path / 'run'}")
    assert told == (
        f"error: Cannot write {tmp_path / 'run' / 'checkpoint.npz'}: the disk is full. Free some space and try again."
    )
    assert not list((tmp_path / "run").glob(".*"))
    monkeypatch.undo()
    assert "Done." in main(capsys, f"resume={tmp_path / 'run'}")


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    told = main(capsys, *TINY_DATA, f"run_dir={tmp_path / 'file' / 'run'}")
    assert told.startswith(f"error: Cannot make the run folder {tmp_path / 'file' / 'run'}: ")


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("nonsense", "Keras backend cannot be imported (Unable to import backend : nonsense)"),
        ("numpy", "nnrec runs on Keras's TensorFlow and JAX backends"),
    ],
)
def test_a_wrong_backend_in_a_process_of_its_own(backend, message):
    status, out, err = finish(start(*TINY_DATA, KERAS_BACKEND=backend))
    assert status == 1
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert message in err


# What starting costs, and what it imports


def processor_seconds(*command: str) -> float:
    """User and system time, which other load on the machine affects less than wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_is_quick(tmp_path):
    bare = tmp_path / "bare.py"
    bare.write_text(
        textwrap.dedent(
            """
            import hydra

            @hydra.main(version_base="1.3", config_path=None)
            def main(config):
                print(config)

            main()
            """
        )
    )
    # In turns, so that load on the machine affects both; the minimum of each is closest to the undisturbed time.
    rounds = [(processor_seconds("train.py", "--help"), processor_seconds(str(bare), "--help")) for _ in range(6)]
    ours, bares = (min(times) for times in zip(*rounds, strict=True))
    assert ours < 1.8 * bares  # 1.5 on a quiet machine, of whatever speed


def test_help_says_what_to_do_and_imports_little():
    check = (
        "import sys, runpy; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: assert not {'keras', 'tensorflow', 'jax', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for text in (
        "python train.py model=autorec data=ml-1m",
        "resume=latest",
        "for impressions (click-through): avazu, criteo, ",
        "AutoRec: autoencoder of ratings",
    ):
        assert text in done.stdout, text


def test_on_jax_nothing_imports_tensorflow(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import sys

            class Blocker:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in ("tensorflow", "tf_keras"):
                        raise AssertionError(f"import of {name}")

            sys.meta_path.insert(0, Blocker())
            """
        )
    )
    environment = {"KERAS_BACKEND": "jax", "PYTHONPATH": tmp_path}
    folder, output = tmp_path / "run", tmp_path / "recs.csv"
    settings = (
        *TINY_DATA,
        "model.hidden_units=[8]",
        "trainer.epochs=1",
        "trainer.refit=false",
        "trainer.histograms=true",
    )
    status, _, err = finish(start(*settings, f"run_dir={folder}", **environment))
    assert (status, err) == (0, "")
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    status, _, err = finish(start(f"run={folder}", f"output={output}", "top_n=3", script="predict.py", **environment))
    assert (status, err) == (0, "")
    assert len(pd.read_csv(output)) == 180


def test_a_sweep_keeps_each_run(tmp_path):
    status, out, err = finish(
        start("-m", *TINY_DATA, "model.hidden_units=[8]", "trainer.refit=false", "trainer.epochs=1,2", cwd=tmp_path)
    )
    assert (status, err) == (0, ""), out
    runs = sorted(tmp_path.glob("runs/autorec/simulated_ratings/*/metrics.json"))
    assert [json.loads(path.read_text())["training"]["epochs"] for path in runs] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert "test: sorted by" in out and out.index("test: sorted by") > out.rindex("Done.")

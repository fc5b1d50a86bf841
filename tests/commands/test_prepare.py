"""prepare.py, then train.py on the shards, end to end, in this process."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

import nnrec
from nnrec.core.errors import ConfigError
from nnrec.data.families import SESSIONS
from tests.conftest import ROOT, TINY_DATA


def prepare(*arguments: object) -> None:
    sys.argv = ["prepare.py", *map(str, arguments)]
    runpy.run_path(str(ROOT / "prepare.py"), run_name="__main__")


FEW_CLICKS = (
    "data.source.num_sessions=300",
    "data.source.num_events=1500",
    "data.source.num_items=60",
    "data.source.num_categories=3",
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "shards"
    arguments = sys.argv
    try:
        prepare(*TINY_DATA, "split=hashed", "split.test=0.2", "seed=5", f"output={folder}")
    finally:
        sys.argv = arguments
    return folder


@pytest.mark.parametrize("model", ["mult_dae", "popularity"])
def test_training_from_shards_in_files_is_training_from_the_log(shards, tmp_path, model):
    common = (f"model={model}", "evaluation=top_n", "seed=5", "trainer.epochs=2")
    plain = nnrec.train(*common, *TINY_DATA, "split=hashed", "split.test=0.2", f"run_dir={tmp_path / 'plain'}")
    prepared = (
        "data=shards",
        "split=prepared",
        f"data.source.path={shards}",
        f"data.source.cache={tmp_path / 'cache'}",
    )
    found = nnrec.train(*common, *prepared, f"run_dir={tmp_path / 'found'}")
    assert (tmp_path / "cache").is_dir()
    for part in ("validation", "test"):
        assert found.metrics[part] == plain.metrics[part]
    assert found.metrics["data"]["split"] == plain.metrics["data"]["split"]
    assert found.recommend().equals(plain.recommend())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("model=autorec", "model.by=item"),
        ("model=autorec", "model.arithmetic=sparse", "model.center=mean"),
        ("model=rbm", "model.by=item"),
        ("model=rbm", "model.by=user", "model.arithmetic=sparse"),
        ("model=mult_dae", "evaluation=top_n", "evaluation.relevant=4", "model.sampled=5"),
        ("model=mult_vae", "evaluation=top_n", "evaluation.relevant=4"),
        ("model=ease", "evaluation=top_n", "evaluation.relevant=4"),
        ("model=svdpp",),
    ],
)
def test_models_learn_from_files_what_they_learn_from_memory(shards, tmp_path, settings):
    metrics = []
    for cache in ("null", tmp_path / "cache"):
        source = ("data=shards", "split=prepared", f"data.source.path={shards}", f"data.source.cache={cache}")
        run = nnrec.train(*settings, *source, "trainer.epochs=2", f"run_dir={tmp_path}/{len(metrics)}")
        metrics.append(run.metrics)
    assert all(metrics[0][part] == metrics[1][part] for part in ("validation", "test"))


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "clicks"
    arguments = sys.argv
    try:
        prepare("data=simulated_clicks", *FEW_CLICKS, "split=last_days", f"output={folder}")
    finally:
        sys.argv = arguments
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        ("model=markov",),
        pytest.param(
            ("model=gru4rec", "experiment=gru4rec_simulated_clicks", "model.hidden_units=[8]", "trainer.epochs=2"),
            marks=[pytest.mark.neural, pytest.mark.slow],
        ),
        pytest.param(
            ("model=item2vec", "model.embedding_dim=8", "model.subsample=0.05", "trainer.epochs=2"),
            marks=[pytest.mark.neural, pytest.mark.slow],
        ),
        pytest.param(
            ("model=cnn3d", "model.embedding_dim=8", "model.characters=16", "trainer.epochs=1"),
            marks=[pytest.mark.neural, pytest.mark.slow],
        ),
    ],
)
def test_sessions_teach_from_files_what_they_teach_from_memory(clicks, tmp_path, capsys, settings):
    plain = nnrec.train(
        *settings, "data=simulated_clicks", *FEW_CLICKS, "split=last_days", f"run_dir={tmp_path / 'plain'}"
    )
    source = ("data=shards", f"data.source.path={clicks}", f"data.source.cache={tmp_path / 'cache'}")
    found = nnrec.train(*settings, *source, "split=prepared", f"run_dir={tmp_path / 'found'}")
    assert (tmp_path / "cache").is_dir() and found.family is SESSIONS
    for part in ("validation", "test"):
        assert found.metrics[part] == plain.metrics[part]
    assert found.metrics["data"]["split"] == plain.metrics["data"]["split"]
    assert found.recommend().equals(plain.recommend())
    if settings[0] != "model=markov":
        histories = [run.folder["history.csv"].read_text().splitlines() for run in (plain, found)]
        losses = [[line.split(",")[1] for line in lines] for lines in histories]
        assert losses[0] == losses[1] and len(losses[0]) > 1
    learns = "learns from memory: the training part is read into it."
    assert (learns in capsys.readouterr().out) == (settings[0] in ("model=markov", "model=cnn3d"))


def test_what_does_not_learn_from_sessions(clicks, tmp_path, monkeypatch):
    source = ("data=shards", f"data.source.path={clicks}", "split=prepared", f"run_dir={tmp_path}/run")
    with pytest.raises(ConfigError, match="model=ease learns from ratings, and data=shards are sessions"):
        nnrec.train("model=ease", *source)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ConfigError, match=r"markov on 60 items needs about .* GB of memory; 1e-06 GB are free"):
        nnrec.train("model=markov", *source, f"data.source.cache={tmp_path}/cache")
    with pytest.raises(ConfigError, match=r"cnn3d learns from memory: the training part takes .* GB, and 1e-06 GB are"):
        nnrec.train("model=cnn3d", *source, f"data.source.cache={tmp_path}/cache")


def test_what_prepare_says(shards, tmp_path, capsys):
    prepare(*TINY_DATA, "split=user_time", f"output={tmp_path / 'out'}")
    said = capsys.readouterr().out
    assert "60 users" in said and "The last 10% of each user's ratings for test" in said
    assert f"data=shards split=prepared data.source.path={tmp_path / 'out'}" in said
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert sum(sum(shards.values()) for shards in about["rows"].values()) == 800
    for arguments, message in [
        ((*TINY_DATA, f"output={tmp_path / 'out'}"), "already holds something. Choose another folder"),
        ((*TINY_DATA,), "Where to?"),
        ((*TINY_DATA, "data.half_life_days=3", "output=x"), "Shards know no age weighting"),
        (("data=simulated_clicks", *FEW_CLICKS, "output=x"), "Hashed does not split sessions, which data=simulated_"),
        (("data=simulated_impressions", "output=x"), "are impressions, which need none"),
        (("data=shards", f"data.source.path={shards}", "output=x"), "data=shards are shards already"),
    ]:
        with pytest.raises(SystemExit, match=message):
            prepare(*arguments)


def test_spark_says_what_it_lacks():
    command = [sys.executable, "-m", "nnrec.spark"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0 and "python -m nnrec.spark <command>" in told.stdout
    assert [line.split()[0] for line in told.stdout.splitlines() if line.startswith("  ")] == ["prepare", "recommend"]
    told = subprocess.run([*command, "prepair"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 2 and "There is no command prepair. Did you mean prepare?" in told.stderr
    if importlib.util.find_spec("pyspark") is None:
        told = subprocess.run([*command, "prepare"], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert told.stderr == "error: Spark is not installed: pip install 'nnrec[spark]'.\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("split=random",), "data=shards come split: choose split=prepared"),
        (("evaluation=course",), "evaluation=course splits by itself, and data=shards come split"),
    ],
)
def test_shards_keep_their_split(shards, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        nnrec.train(
            "model=popularity", "data=shards", f"data.source.path={shards}", *settings, f"run_dir={tmp_path}/run"
        )

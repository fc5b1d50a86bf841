"""export.py: exports a run folder for servers, and refuses what it cannot export."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT

if os.environ.get("KERAS_BACKEND") == "jax":
    pytest.skip("graphs are written with TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")

from nnrec.api import load
from nnrec.commands.export import execute
from nnrec.core.config.compose import compose
from nnrec.core.errors import (
    ConfigError,
    RunError,
)
from nnrec.serving import graph


def export(run_folder, *overrides) -> None:
    execute(compose("export", [f"run={run_folder}", *map(str, overrides)]))


@pytest.fixture(scope="module")
def served(run_folder, tmp_path_factory):
    """A SavedModel made by the real command line, and the printed output."""
    folder = tmp_path_factory.mktemp("served") / "autorec" / "1"
    command = [sys.executable, "export.py", f"run={run_folder}", f"output={folder}", "top_n=4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_what_is_written_is_checked_and_told(served):
    folder, screen = served
    assert "compared with nnrec's own" in screen and "60 unseen users" in screen
    about = json.loads((folder / "about.json").read_text())
    assert set(about["graphs"]) == {"serving_default", "unseen", "all", "unseen_by_index", "all_by_index"}
    for found in about["compared"]:
        assert found["compared"].startswith("60 ") and found["equal"] + found["tied"] == 60
    default = about["graphs"]["serving_default"]
    assert default["inputs"]["item_ids"]["shape"] == [None, None]
    assert default["outputs"]["scores"]["shape"] == [None, 4]
    assert {path.name for path in folder.parent.iterdir()} == {"1"}  # nothing temporary is left
    # The example is a request, and its answer.
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    request, answer = default["example"]["request"], default["example"]["answer"]
    found = signature(**{name: tf.constant(value) for name, value in request.items()})
    assert [[item.decode() for item in row] for row in found["top_item_ids"].numpy()] == answer["top_item_ids"]


def test_a_server_gives_the_lists_that_the_run_gives(served, run_folder):
    run, signatures = load(run_folder), tf.saved_model.load(str(served[0])).signatures
    history = {1: 5.0, 7: 2.0, 30: 4.0}
    ids = [[*map(str, history), "no item", ""], [""] * 5]
    values = [[*history.values(), 3.0, 0.0], [0.0] * 5]
    request = {"item_ids": tf.constant(ids), "values": tf.constant(values), "user_id": tf.constant(["", ""])}
    for name, exclude in (("unseen", True), ("all", False)):
        found = signatures[name](**request)
        expected = run.recommend(history=history, top_n=4, exclude_seen=exclude)
        assert found["top_item_ids"][0].numpy().astype(str).tolist() == expected["item_id"].astype(str).tolist()
        np.testing.assert_allclose(found["scores"][0].numpy(), expected["score"], rtol=1e-4)
        assert found["popular"].numpy().tolist() == [False, True]
        assert found["top_item_ids"][1].numpy().astype(str).tolist() == (
            run.recommend(history={}, top_n=4)["item_id"].astype(str).tolist()
        )


def test_help_is_quick():
    check = (
        "import sys, runpy; sys.argv = ['export.py', '--help']\n"
        "try: runpy.run_path('export.py', run_name='__main__')\n"
        "finally: assert not {'keras', 'tensorflow', 'jax', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "python export.py run=<folder> output=<new folder>" in done.stdout


def test_what_is_there_is_not_overwritten(run_folder, served, tmp_path):
    with pytest.raises(RunError, match=r"1 is already there\. Choose another output"):
        export(run_folder, f"output={served[0]}")
    with pytest.raises(ConfigError, match="Where to: output=<folder>"):
        export(run_folder)
    with pytest.raises(ConfigError, match="format must be one of savedmodel, onnx. Received: pickle"):
        export(run_folder, f"output={tmp_path}/new", "format=pickle")
    with pytest.raises(ConfigError, match="top_n must be a whole number"):
        export(run_folder, f"output={tmp_path}/new", "top_n=0")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write .*part of its path is a file"):
        export(run_folder, f"output={tmp_path}/file/new")


def test_lists_that_differ_are_not_written(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nnrec.serving.lists.best", lambda scores, *rest: graph.best(-scores, *rest))
    with pytest.raises(RunError, match=r"new was not written: by unseen, \d+ of 60 users.* differ from nnrec's"):
        export(run_folder, f"output={tmp_path}/new")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(run_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'nnrec\[onnx\]'"):
        export(run_folder, f"output={tmp_path}/new", "format=onnx")


def test_onnx_has_the_same_lists(run_folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    folder, run = tmp_path / "onnx", load(run_folder)
    export(run_folder, f"output={folder}", "format=onnx", "top_n=4")
    files = {path.name for path in folder.iterdir()}
    assert files == {"top_n.onnx", "items.parquet", "users.parquet", "about.json"}
    ids = pd.read_parquet(folder / "items.parquet")["id"]
    history = {1: 5.0, 7: 2.0, 30: 4.0}
    request = {
        "items": run.items.indices(history).astype(np.int64)[None],
        "values": np.array([[*history.values()]], np.float32),
        "user": np.array([-1]),
        "exclude_seen": np.array([True]),
    }
    names = ["top_items", "scores"]
    items, scores = onnxruntime.InferenceSession(folder / "top_n.onnx").run(names, request)
    expected = run.recommend(history=history, top_n=4)
    assert ids[items[0]].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(scores[0], expected["score"], rtol=1e-4)

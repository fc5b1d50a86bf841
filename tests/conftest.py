"""What several test modules share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

hypothesis.settings.register_profile("nnrec", deadline=None)  # other tests run beside them
hypothesis.settings.load_profile("nnrec")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set by name; skips the test where it is absent (set NNREC_DATA)."""

    def folder(name: str) -> Path:
        path = Path(os.environ.get("NNREC_DATA") or ROOT.parent / "shared" / "data") / name
        if not path.is_dir():
            pytest.skip(f"no {name} in {path.parent}: set NNREC_DATA")
        return path

    return folder


TINY_DATA = (
    "data=simulated_ratings",
    "data.source.num_users=60",
    "data.source.num_items=40",
    "data.source.num_ratings=800",
    "data.source.min_ratings_per_user=5",
)


class FinishedRun(NamedTuple):
    """A run folder, and what appeared on the screen while it was made."""

    folder: Path
    screen: str


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """60 simulated users, 40 items, two epochs, made by the real command line."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = (*TINY_DATA, "model=autorec", "model.hidden_units=[8]", "trainer.epochs=2", f"run_dir={folder}")
    command = [sys.executable, "train.py", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return FinishedRun(folder, done.stdout)


@pytest.fixture(scope="session")
def run_folder(finished_run: FinishedRun) -> Path:
    """The folder of the finished run."""
    return finished_run.folder

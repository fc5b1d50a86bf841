"""The commands in docs/from-dsstne.md, run as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import nnrec
from tests.conftest import ROOT

CONFIG = """
{   // as DSSTNE's sample, with fewer units
    "Version": 0.7, "Name": "AE", "Kind": "FeedForward", "ShuffleIndices": false,
    "SparsenessPenalty": {"p": 0.5, "beta": 0.1}, "Denoising": {"p": 0.2},
    "ScaledMarginalCrossEntropy": {"oneTarget": 1.0, "zeroTarget": 0.0, "oneScale": 1.0, "zeroScale": 1.0},
    "Layers": [
        {"Name": "Input", "Kind": "Input", "N": "auto", "DataSet": "gl_input", "Sparse": true},
        {"Name": "Hidden", "Kind": "Hidden", "Type": "FullyConnected", "N": 8, "Activation": "Sigmoid", "Sparse": true},
        {"Name": "Output", "Kind": "Output", "DataSet": "gl_output", "N": "auto", "Activation": "Sigmoid"}
    ],
    "ErrorFunction": "ScaledMarginalCrossEntropy"
}
"""


def commands() -> list[str]:
    page = (ROOT / "docs" / "from-dsstne.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Likes of sixty people, each of one of two groups of twenty items."""
    path = tmp_path_factory.mktemp("dsstne")
    rng = np.random.default_rng(0)
    lines = []
    for user in range(60):
        items = rng.choice(20, 8, replace=False) * 2 + user % 2
        lines.append(f"u{user}\t" + ":".join(f"i{item},1" for item in items) + "\n")
    (path / "likes").write_text("".join(lines))
    (path / "config.json").write_text(CONFIG)
    return path


@pytest.mark.parametrize("number", range(len(commands())))
def test_commands_of_the_page(folder, number):
    words = shlex.split(commands()[number])
    assert words[0] == "python"
    words[:2] = [sys.executable, str(ROOT / words[1])]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if words[1].endswith("predict.py"):
        lines = (folder / "recs").read_text().splitlines()
        assert len(lines) == 60
        assert all(re.fullmatch(r"u\d+\t(i\d+,-?[\d.e-]+:){10}", line) for line in lines)


def test_from_python(folder):
    (folder / "config.json").unlink()
    lists = nnrec.load(folder / "runs" / "movies").recommend(history={"i1": 1, "i3": 1}, top_n=15)
    assert len(lists) == 15
    assert len(commands()) == 4

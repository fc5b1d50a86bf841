"""The console command: `nnrec` and `python -m nnrec`, from a checkout and as installed from a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from nnrec import __main__
from nnrec.commands import cli
from nnrec.core import calling
from tests.conftest import ROOT, TINY_DATA

ALL = [*cli.COMMANDS, "spark prepare", "spark recommend"]


def called(monkeypatch, capsys, *words: str, line: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `nnrec <words>`, in this process."""
    monkeypatch.setattr(sys, "argv", ["nnrec", *words])
    monkeypatch.setattr(calling, "_way", None)
    monkeypatch.setenv("COMP_LINE", line)
    status: object = 0
    try:
        __main__.main()
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return (status, out, err) if isinstance(status, int) else (1, out, str(status))  # Python prints a text to stderr


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_it_lists_its_commands_with_a_line_each(words, monkeypatch, capsys):
    status, out, err = called(monkeypatch, capsys, *words)
    assert (status, err) == (0, "")
    assert out.startswith("nnrec <command> [key=value ...]\n")
    assert re.findall(r"^  (\w+(?: \w+)?)  +\w", out, re.MULTILINE) == ALL


def test_it_lists_those_of_spark(monkeypatch, capsys):
    for words in (["spark"], ["spark", "--help"]):
        status, out, _ = called(monkeypatch, capsys, *words)
        assert status == 0 and re.findall(r"^  (\w+(?: \w+)?)  +\w", out, re.MULTILINE) == ALL[-2:]


def test_version(monkeypatch, capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert called(monkeypatch, capsys, "--version") == (0, f"nnrec {project['version']}\n", "")
    assert project["scripts"] == {"nnrec": "nnrec.__main__:main"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "There is no command trian. Did you mean train? There are: train, "),
        (["recomend", "run=x"], "There is no command recomend."),
        (["spark", "prepar"], "There is no command spark prepar. Did you mean spark prepare? "),
        (["spark", "train"], "There is no command spark train."),
        (["model=ease", "data=ml-1m"], "Settings come after a command: nnrec train model=ease data=ml-1m. "),
        (["-m", "seed=0,1"], "-m comes after a command: nnrec train -m seed=0,1. "),
    ],
)
def test_a_command_that_there_is_not(words, message, monkeypatch, capsys):
    status, out, err = called(monkeypatch, capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help(name, monkeypatch, capsys):
    status, out, err = called(monkeypatch, capsys, *name.split(), "--help")
    assert (status, err) == (0, "")
    assert f"\nnnrec {name} " in out and "== Settings" in out and "{}" not in out.partition("==")[0]


def test_mistakes_in_settings_are_named_as_by_the_scripts(monkeypatch, capsys):
    status, _, err = called(monkeypatch, capsys, "predict", "run=x", "topn=3")
    assert status == 1 and err.startswith("error: There is no setting topn. Did you mean top_n? ")
    status, _, err = called(monkeypatch, capsys, "train", "model=gru4rec", "data=ml-100k", "split=random")
    assert status == 1 and "(nnrec train --help lists them)" in err, err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nnrec tra", "train"),
        ("nnrec ", "train predict compare export prepare spark"),
        ("nnrec spark ", "prepare recommend"),
        ("nnrec train model=gr", "model=gru4rec"),
        ("nnrec spark recommend top", "top_n="),
    ],
)
def test_the_shell_completes_commands_and_settings(line, words, monkeypatch, capsys):
    assert called(monkeypatch, capsys, "-sc", "query=bash", line=line) == (0, f"{words}\n", "")


def test_the_shell_is_told_how(monkeypatch, capsys):
    assert "-F hydra_bash_completion nnrec\n" in called(monkeypatch, capsys, "-sc", "install=bash")[1]


# As installed


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the files that pyproject.toml puts into a wheel, at the same paths."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    place = tmp_path_factory.mktemp("site-packages")
    for name in wheel["only-include"]:
        target = place / wheel["sources"].get(name, name)
        shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def run(installed: Path, cwd: Path, *arguments: object) -> subprocess.CompletedProcess:
    """`python -m nnrec <arguments>` of the installed package, away from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "nnrec", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_an_installed_package_trains_resumes_recommends_and_helps(installed, tmp_path):
    tiny = (*TINY_DATA, "model.hidden_units=[8]", "trainer.epochs=1")
    done = run(installed, tmp_path, "train", *tiny)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (folder,) = (path.parent.relative_to(tmp_path) for path in tmp_path.glob("runs/*/*/*/metrics.json"))
    assert f"Recommend:  python -m nnrec predict run={folder} output=" in done.stdout
    done = run(installed, tmp_path, "predict", "run=latest", "output=recs.csv", "top_n=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"The latest run: {folder}\n") and (tmp_path / "recs.csv").is_file()
    done = run(installed, tmp_path, "train", "--help", "model=gru4rec")
    assert f"From {installed / 'nnrec/conf/model/gru4rec.yaml'}" in done.stdout
    done = run(installed, tmp_path, "train", "--cfg", "job", "model=ease")
    assert done.returncode == 0 and "_target_: nnrec.models.EASE" in done.stdout


def test_an_installed_package_runs_grids(installed, tmp_path):
    """Hydra finds the sweeper, which prints the table at the end, in the package's own hydra_plugins."""
    done = run(installed, tmp_path, "train", "-m", *TINY_DATA, "model=popularity,random")
    assert (done.returncode, done.stderr) == (0, "")
    assert len([*tmp_path.glob("runs/*/*/*/metrics.json")]) == 2
    assert "test: sorted by" in done.stdout


def test_modules_in_the_current_folder_are_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "reader_of_a_shop.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # as in an installed script
    assert find_spec("reader_of_a_shop") is None
    called(monkeypatch, capsys)
    assert find_spec("reader_of_a_shop") is not None


def test_the_list_of_commands_imports_little():
    check = (
        "import sys; sys.argv = ['nnrec']\n"
        "from nnrec.__main__ import main\n"
        "main()\n"
        "assert not {'keras', 'tensorflow', 'jax', 'pandas', 'numpy', 'hydra', 'pyspark', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_help_that_is_cut_off_ends_without_a_traceback():
    command = f"{sys.executable} -m nnrec train --help | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("Trains a recommender") and done.stderr == ""

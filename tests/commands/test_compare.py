"""compare.py: what it trains, resumes and prints; mostly without starting a process."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pandas as pd
import pytest

import nnrec
from nnrec.commands import compare as compare_command
from nnrec.commands import train
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError, Interrupted, RunError
from tests.conftest import ROOT, TINY_DATA


def command_line(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "compare.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def compare(*overrides: object):
    """Runs compare.py in this process."""
    overrides = tuple(map(str, overrides))
    return compare_command.execute(compose("compare", overrides), overrides)


@pytest.fixture(scope="module")
def screen_and_folder(tmp_path_factory):
    """The output and folder of three models with two seeds, by the real command line."""
    folder = tmp_path_factory.mktemp("bakeoff") / "out"
    models = 'models=[random,popularity,"ease model.l2=5"]'
    done = command_line(models, "seeds=[0,1]", *TINY_DATA, f"output={folder}", "evaluation.cutoffs=[5,10]")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, folder


def test_the_table_is_sorted_and_explained(screen_and_folder):
    screen, folder = screen_and_folder
    table = screen[screen.index("sorted by ndcg@5") :]
    order = [line.split("│")[1].strip() for line in table.splitlines() if line.startswith("│")]
    frame = pd.read_csv(folder / "comparison.csv")
    means = frame.groupby("entry")["ndcg@5"].mean().sort_values(ascending=False)
    assert order == list(means.index)
    assert set(order) == {"random", "popularity", "ease"}
    assert len(frame) == 6
    assert f"{means.iloc[0]:.4f} ± {frame[frame['rank'] == 1]['ndcg@5'].std():.4f}" in table
    for told in (
        "standard deviation over runs",
        "paired randomisation test",
        "ndcg@k ",
        "higher is better",
        "ranked/s",
    ):
        assert told in table
    assert "ranked by = rating" not in table


def test_the_csv_has_figures_intervals_times_and_settings(screen_and_folder):
    frame = pd.read_csv(screen_and_folder[1] / "comparison.csv").set_index(["entry", "seed"])
    row = frame.loc[("ease", 1)]
    assert row["recall@10_low"] <= row["recall@10"] <= row["recall@10_high"]
    assert row["seconds"] > 0 and row["users_per_second"] > 0
    assert "model.l2=5" in row["settings"]
    assert row["run"].endswith("ease-model.l2-5-seed-1")


def test_what_has_been_trained_is_not_trained_again(screen_and_folder, tmp_path, monkeypatch):
    folder = tmp_path / "moved"
    shutil.copytree(screen_and_folder[1], folder)
    shutil.rmtree(folder / "runs" / "popularity-seed-1")
    trained = []
    real = train.execute
    monkeypatch.setattr(train, "execute", lambda config, data: trained.append(config.run_dir) or real(config, data))
    models = 'models=[random,popularity,"ease model.l2=5"]'
    again = compare(models, "seeds=[0,1]", *TINY_DATA, f"output={folder}", "evaluation.cutoffs=[5,10]")
    assert trained == [str(folder / "runs" / "popularity-seed-1")]
    assert sum(len(entry.results) for entry in again.entries) == 6


def test_other_settings_need_another_output(screen_and_folder):
    with pytest.raises(
        ConfigError, match=r"holds random seed=0 with evaluation.cutoffs=\[5, 10\], and .*another output"
    ):
        compare("models=[random]", "seeds=[0,1]", *TINY_DATA, f"output={screen_and_folder[1]}")


def test_an_interrupted_member_is_resumed(tmp_path, monkeypatch):
    from nnrec.training.experiment import Learning

    real, output = Learning.run, tmp_path / "out"

    def interrupted(self, folder):
        if "popularity" in folder.path.name:
            raise KeyboardInterrupt
        return real(self, folder)

    monkeypatch.setattr(Learning, "run", interrupted)
    arguments = "models=[random,popularity,ease]", *TINY_DATA, f"output={output}"
    with pytest.raises(Interrupted, match=f"goes on from here if it says output={output}"):
        compare(*arguments)
    assert not (output / "runs" / "ease").exists()
    monkeypatch.setattr(Learning, "run", real)
    assert {entry.label for entry in compare(*arguments).entries} == {"random", "popularity", "ease"}


def test_a_member_that_fails_stops_nobody_else(tmp_path, monkeypatch, capsys):
    real = train.execute

    def failing(config, data):
        if config.model.name == "popularity":
            raise MemoryError("out of memory")
        return real(config, data)

    monkeypatch.setattr(train, "execute", failing)
    models = 'models=[popularity,"ease model.memory_limit=1e-9",random]'
    comparison = compare(models, *TINY_DATA, f"output={tmp_path}")
    assert [entry.label for entry in comparison.entries] == ["random"]
    screen = capsys.readouterr().out
    assert "Failed: popularity: MemoryError: out of memory (more in popularity.error.txt)" in screen
    assert "ease model.memory_limit=1e-9" in screen and "of memory" in screen
    assert "Traceback" in (tmp_path / "popularity.error.txt").read_text()
    assert pd.read_csv(tmp_path / "comparison.csv")["error"].notna().sum() == 2
    assert "out of memory" in (tmp_path / "comparison.html").read_text()


def test_if_all_fail_there_is_no_table(tmp_path, monkeypatch):
    def failing(config, data):
        raise DataError("No such file.")

    monkeypatch.setattr(train, "execute", failing)
    with pytest.raises(RunError, match="No model could be trained:\n  random: No such file."):
        compare("models=[random]", *TINY_DATA, f"output={tmp_path}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "What to compare"),
        (["models=[nosuch]"], r"models: nosuch: .*There is no model=nosuch\."),
        (["models=['ease model.nosuch=1']"], "models: ease model.nosuch=1: "),
        (["models=[ease]", "model=ease"], r"model=ease has no place in a comparison. Give models="),
        (["models=[ease]", "run_dir=x"], "run_dir=x has no place in a comparison. Give output="),
        (["models=ease"], r"models must be a list, such as models=\[ease\]"),
        (["models=[ease,ease]"], "models lists ease twice"),
        (["runs=[nowhere]"], "There is no run folder"),
        (["runs=[nowhere/*]"], r"no finished run is found by nowhere/\*"),
    ],
)
def test_what_cannot_be_compared(overrides, message, tmp_path):
    with pytest.raises((ConfigError, RunError), match=message):
        compare(*overrides, f"output={tmp_path}")


def test_finished_runs_and_trained_models_in_one_table(screen_and_folder, run_folder, tmp_path):
    frame = nnrec.compare(
        f"output={tmp_path}", "sort_by=recall@10", *TINY_DATA, models=["popularity"], runs=[run_folder]
    )
    assert set(frame["entry"]) == {"popularity", "autorec"}
    assert frame.set_index("entry")["ranked_by"].to_dict() == {"popularity": "score", "autorec": "predicted rating"}
    with pytest.raises(ConfigError, match=r"evaluation.cutoffs: \[10, 20\] \(.*\), but \[5, 10\] \("):
        nnrec.compare(f"output={tmp_path}", runs=[run_folder, *sorted((screen_and_folder[1] / "runs").glob("ease*0"))])


def test_a_frame_of_ratings(tmp_path):
    ratings = pd.DataFrame([(u, i, 1 + (u + i) % 5) for u in range(20) for i in range(15) if (u * i) % 7 != 3])
    frame = nnrec.compare(
        f"output={tmp_path}", models=["popularity", "random"], data=ratings.set_axis(["user", "item", "rating"], axis=1)
    )
    assert set(frame["data"]) == {"frame"}


def test_help_answers_without_the_heavy_imports():
    code = (
        "import sys, runpy; sys.argv = ['compare.py', '--help']\n"
        "try: runpy.run_path('compare.py', run_name='__main__')\n"
        "finally: print([m for m in ('numpy', 'pandas', 'keras', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stderr
    assert "python compare.py runs=[...] or models=[...]" in done.stdout

"""The real command lines, train.py to predict.py; starting the backend takes seconds, so few calls."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nnrec.api import load
from nnrec.commands.predict import execute
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError, RunError

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["user_id", "item_id", "rank", "score", "title", "source"]


def command_line(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "predict.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def predict(run_folder: Path, *overrides: object) -> None:
    """Runs predict.py in this process."""
    execute(compose("predict", [f"run={run_folder}", *map(str, overrides)]))


@pytest.fixture(scope="module")
def run(run_folder):
    return load(run_folder)


def test_everybody_into_a_file(run_folder, run, tmp_path):
    # The folder has moved: nothing but its content is needed.
    moved = shutil.copytree(run_folder, tmp_path / "moved")
    done = command_line(f"run={moved}", "top_n=3", f"output={tmp_path / 'new' / 'recs.csv'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Wrote 180 recommendations for 60 users to" in done.stdout
    frame = pd.read_csv(tmp_path / "new" / "recs.csv")
    assert list(frame.columns) == COLUMNS
    assert frame.groupby("user_id")["rank"].apply(list).tolist() == [[1, 2, 3]] * 60
    assert set(frame["source"]) == {"model"}
    assert frame["title"].notna().all()
    assert frame["score"].between(1, 5).all()
    assert (frame.groupby("user_id")["score"].diff().dropna() <= 0).all()
    histories = run.histories.take(range(60))
    seen = pd.Series(histories.ids).groupby([u for u, n in enumerate(histories.lengths) for _ in range(n)]).agg(set)
    recommended = frame.assign(item=run.items.indices(frame["item_id"])).groupby("user_id")["item"].agg(set)
    assert not any(a & b for a, b in zip(seen, recommended, strict=True))
    pd.testing.assert_frame_equal(run.recommend(top_n=3), frame, check_dtype=False, rtol=1e-5)


def test_one_person_on_the_screen(run_folder):
    done = command_line(f"run={run_folder}", "user=7", "top_n=2")
    assert (done.returncode, done.stderr) == (0, "")
    liked, recommended = done.stdout.split("Recommended by autorec:")
    assert "User 7 rated" in liked
    for heading in ("rating", "item", "title", "genres"):
        assert heading in liked
    assert "rank" in recommended and "score" in recommended


def test_help_is_quick_and_errors_have_no_traceback(tmp_path):
    done = command_line("--help")
    assert "python predict.py run=<folder> output=recs.csv" in done.stdout
    assert "exclude_seen=auto" in done.stdout
    done = command_line(f"run={tmp_path / 'gone'}", "output=x.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no run folder")
    assert "Traceback" not in done.stderr


def test_help_does_not_import_keras():
    check = (
        "import sys, runpy; sys.argv = ['predict.py', '--help']\n"
        "try: runpy.run_path('predict.py', run_name='__main__')\n"
        "finally: assert not {'keras', 'tensorflow', 'jax', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_look_at_the_first_few(run_folder, capsys):
    predict(run_folder)
    shown = capsys.readouterr().out
    assert "The first 5 of 60 users" in shown
    assert "output=recommendations.csv" in shown
    assert "user=1" in shown


def test_people_not_seen_in_training(run_folder, tmp_path, capsys):
    histories, output = tmp_path / "new.csv", tmp_path / "recs.jsonl"
    histories.write_text("who,what,stars\nann,1,5\nann,2,1\nann,999,3\nbob,999,4\n")
    names = ["table.user=who", "table.item=what", "table.rating=stars"]
    predict(run_folder, f"histories={histories}", f"output={output}", "top_n=2", *names)
    frame = pd.read_json(output, lines=True)
    assert frame["user_id"].tolist() == ["ann", "ann", "bob", "bob"]
    assert frame["source"].tolist() == ["model", "model", "popular", "popular"]
    assert not set(frame["item_id"][:2]) & {1, 2}
    shown = capsys.readouterr().out
    assert "Histories: left out 2 of 4 ratings (items unknown to the run: 1)." in shown
    assert "Users without a known history: 1. They got the most popular items (source=popular)." in shown
    predict(run_folder, f"histories={histories}", "user=bob", *names)
    assert "Most popular" in capsys.readouterr().out


def test_a_list_of_users_in_every_format(run_folder, tmp_path):
    read = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }
    frames = {}
    for name, reader in read.items():
        predict(run_folder, "users=[3,1]", "top_n=4", f"output={tmp_path}/recs.{name}")
        frames[name] = reader(tmp_path / f"recs.{name}")
        assert frames[name]["user_id"].tolist() == [3] * 4 + [1] * 4
        pd.testing.assert_frame_equal(frames[name], frames["csv"], check_dtype=False)
    (tmp_path / "users.txt").write_text("3\n1\n")
    predict(run_folder, f"users={tmp_path}/users.txt", "top_n=4", "format=dsstne", f"output={tmp_path}/recs.txt")
    lines = (tmp_path / "recs.txt").read_text().splitlines()
    items = [[int(entry.split(",")[0]) for entry in line.split("\t")[1].split(":")[:-1]] for line in lines]
    assert [line.split("\t")[0] for line in lines] == ["3", "1"]
    assert items == [frames["csv"]["item_id"][:4].tolist(), frames["csv"]["item_id"][4:].tolist()]


def test_stoplist_candidates_and_seen_items(run_folder, run, tmp_path):
    history = run.histories.take([0])
    own = run.items.ids[history.ids[0]]
    (tmp_path / "candidates.txt").write_text(f"{own}\n")
    output = tmp_path / "recs.csv"
    candidates = f"candidates={tmp_path}/candidates.txt"
    predict(run_folder, "users=[1]", candidates, "exclude_seen=false", f"output={output}")
    assert pd.read_csv(output)["item_id"].tolist() == [own]
    with pytest.raises(DataError, match="already seen every item that may be recommended"):
        predict(run_folder, "users=[1]", candidates, f"output={tmp_path}/none.csv")
    assert not (tmp_path / "none.csv").exists()
    with pytest.raises(DataError, match="Nothing is left to recommend: stoplist and candidates"):
        predict(run_folder, candidates, f"stoplist={tmp_path}/candidates.txt", f"output={output}")


def test_what_cannot_be_done(run_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"Which run\? Give the folder"):
        execute(compose("predict", []))
    with pytest.raises(ConfigError, match="user=<id> .* or users=.*, not both"):
        predict(run_folder, "user=1", "users=[2]")
    with pytest.raises(ConfigError, match=r"The suffix of recs\.doc does not tell"):
        predict(run_folder, "output=recs.doc")
    with pytest.raises(DataError, match="User 999 is not among the 60 users of the run"):
        predict(run_folder, "user=999")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write .*part of its path is a file"):
        predict(run_folder, f"output={tmp_path}/file/recs.csv")
    with pytest.raises(RunError, match="is no run folder: it holds no config.yaml"):
        predict(tmp_path)


def test_a_run_that_did_not_finish(run_folder, tmp_path):
    unfinished = shutil.copytree(run_folder, tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"has no metrics\.json: the run did not finish"):
        predict(unfinished)


def test_a_run_without_histories(run_folder, tmp_path):
    private = shutil.copytree(run_folder, tmp_path / "private")
    shutil.rmtree(private / "histories")
    with pytest.raises(RunError, match=r"keeps no histories \(keep_histories=false\)"):
        predict(private, "user=1")
    run = load(private)
    assert run.recommend(history={1: 5}, top_n=2)["source"].tolist() == ["model", "model"]
    popular = run.recommend(history={}, top_n=1)
    assert popular["score"].tolist() == [run.item_counts.max()]

"""Comparisons of finished runs written by hand: grouping, refusals, order and significance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnrec.core.errors import ConfigError, RunError
from nnrec.evaluation.metrics.legend import MEANINGS, better, legend
from nnrec.evaluation.metrics.rankings import RANKING
from nnrec.reports.comparison import Comparison, Failure, check_comparable, grouped
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result

CONFIG = """
seed: {seed}
run_dir: {folder}
resume: null
data_root: data
keep_histories: true
verbose: false
data: {{name: {data}, half_life_days: null, source: {{folder: "{folder}"}}}}
split: {{_target_: x.KFold, folds: 5, fold: {fold}}}
trainer: {{epochs: {epochs}, refit: true}}
evaluation: {{cutoffs: [2], relevant: {relevant}}}
model: {{_target_: x.Model, name: {model}, l2: {l2}}}
"""


@pytest.fixture
def make(tmp_path):
    """Writes the folder of a finished run with these figures, with the files that comparisons read."""
    number = iter(range(100))

    def run(model="ease", l2=1.0, seed=0, fold=0, values=(0.0, 1.0), neural=False, **other) -> Result:
        folder = RunFolder.create(tmp_path / f"run{next(number)}")
        settings = {"data": "tiny", "relevant": "null", "epochs": 5} | other
        folder.write_text(
            "config.yaml",
            CONFIG.format(model=model, l2=l2, seed=seed, fold=fold, folder=folder.path, **settings),
        )
        folder.write_json("data.json", {"fingerprint": other.get("data", "tiny"), "ratings": 12})
        training = {"seconds": 2.0, "users_per_second": 100.0} | ({"epochs": 5, "best_epoch": 3} if neural else {})
        test = {"ndcg@2": float(np.mean(values))} | other.get("figures", {})
        metrics = {
            "validation": {},
            "test": test,
            "test_intervals": {"ndcg@2": [0.1, 0.9]},
            "training": training,
            "data": {"split": f"Fold {fold}, seed {seed}."},
        }
        folder.write_json("metrics.json", metrics)
        users = pd.DataFrame({"user": range(len(values)), "ndcg@2": values})
        users.to_parquet(folder["test_users.parquet"], index=False)
        return Result(folder)

    return run


def labels(comparison: Comparison) -> list[str]:
    return [entry.label for entry in comparison.entries]


def test_best_first_in_the_direction_of_the_metric(make):
    runs = [
        make("a", values=(0.1, 0.1), figures={"rmse": 0.9}),
        make("b", values=(0.3, 0.3)),
        make("c", values=(0.2, 0.2), figures={"rmse": 1.1}),
    ]
    assert labels(Comparison.of(runs)) == ["b", "c", "a"]
    by_rmse = Comparison.of(runs, "rmse")
    assert labels(by_rmse) == ["a", "c", "b"]  # lower is better; runs without rmse come last
    assert [entry.label for entry in by_rmse.leaders("rmse")] == ["a"]
    assert [entry.label for entry in by_rmse.leaders("ndcg@2")] == ["b"]


def test_an_unknown_metric_is_refused_with_those_there_are(make):
    with pytest.raises(ConfigError, match=r"sort_by=ndcg@10: no run has this figure. Known: ndcg@2"):
        Comparison.of([make()], "ndcg@10")


def test_runs_that_differ_in_seed_and_fold_are_one_entry_with_its_spread(make):
    runs = [make("a", seed=0, values=(0.1, 0.1)), make("b", seed=0, values=(0.4, 0.4))]
    runs += [make("a", seed=1, values=(0.3, 0.3)), make("b", seed=1, values=(0.4, 0.4))]
    comparison = Comparison.of(runs)
    assert labels(comparison) == ["b", "a"]
    entry = comparison.entries[1]
    # Mean of .1 and .3; standard deviation sqrt((.1^2 + .1^2) / 1).
    assert entry.figure("ndcg@2") == pytest.approx(0.2)
    assert entry.spread("ndcg@2") == pytest.approx(0.02**0.5)
    assert entry.interval("ndcg@2") is None
    assert comparison.notes == []
    folds = grouped([make("a", fold=0), make("a", fold=1)])
    assert [len(entry.results) for entry in folds] == [2]


def test_settings_tell_entries_of_one_model_apart(make):
    assert labels(Comparison.of([make("a", l2=1.0, values=(1, 1)), make("a", l2=20.0)])) == ["a l2=1", "a l2=20"]


def test_a_trainer_is_no_setting_of_what_is_fitted_at_once(make):
    assert len(grouped([make("a", seed=0, epochs=5), make("a", seed=1, epochs=6)])) == 1
    assert len(grouped([make("a", seed=0, epochs=5, neural=True), make("a", seed=1, epochs=6, neural=True)])) == 2


def test_the_same_run_made_twice_stays_two_entries(make):
    entries = grouped([make("a"), make("a")])
    assert [len(entry.results) for entry in entries] == [1, 1]
    assert len({entry.label for entry in entries}) == 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": "huge"}, r"data: tiny, 12 ratings \(.*run0\), but huge, 12 ratings \(.*run1\)"),
        ({"relevant": 4}, r"evaluation.relevant: null \(.*run0\), but 4 \(.*run1\)"),
        ({"seed": 1}, r"the part held out for test: seed 0 fold 0 \(.*\), but seed 1 fold 0"),
    ],
)
def test_what_was_measured_otherwise_is_refused_with_the_difference(make, other, message):
    with pytest.raises(ConfigError, match=message):
        check_comparable([make("a"), make("b", **other)])


def test_unequal_repetitions_are_noted(make):
    notes = Comparison.of([make("a", seed=0), make("a", seed=1), make("b", seed=0)]).notes
    assert any("a: seed 0 fold 0, seed 1 fold 0; b: seed 0 fold 0" in note for note in notes)


def test_the_paired_test_is_by_user(make):
    rng = np.random.default_rng(0)
    users = rng.random(200)
    # b is worse for every user, by a little; c differs from a by noise alone.
    runs = [make("a", values=users), make("b", values=users - 0.01)]
    noise = rng.normal(0, 0.2, 200)
    runs.append(make("c", values=users + noise - noise.mean() - 1e-4))
    p_values = {entry.label: entry.p_value for entry in Comparison.of(runs).entries}
    assert p_values["a"] is None
    # (1 + 0) / (1 + 10,000) at the least, times 2 for two tests.
    assert p_values["b"] == pytest.approx(2 / 10_001)
    assert p_values["c"] > 0.5


def test_a_neural_model_that_simple_ones_match_is_named(make):
    runs = [
        make("deep", values=(0.2, 0.2), neural=True),
        make("pop", values=(0.2, 0.2)),
        make("knn", values=(0.3, 0.1)),
    ]
    assert "deep does not beat knn and pop on ndcg@2." in Comparison.of(runs).notes
    better_one = [make("deep", values=(0.4, 0.4), neural=True), make("pop", values=(0.2, 0.2))]
    assert Comparison.of(better_one).notes == []


def test_the_frame_has_a_row_per_run(make):
    runs = [make("a", seed=0, values=(0.1, 0.1)), make("a", seed=1, values=(0.3, 0.3)), make("b", l2=3.0)]
    frame = Comparison.of(runs, failures=[Failure("slim", "too large")]).frame()
    assert frame["entry"].tolist() == ["b", "a", "a", "slim"]
    assert frame["rank"].tolist()[:3] == [1, 2, 2]
    assert frame["ndcg@2"].tolist()[:3] == [0.5, 0.1, 0.3]
    assert (frame["ndcg@2_low"].iloc[0], frame["ndcg@2_high"].iloc[0]) == (0.1, 0.9)
    assert frame["settings"].tolist()[:2] == ["model.l2=3", "model.l2=1"]
    assert frame["error"].iloc[3] == "too large"
    assert Path(frame["run"].iloc[0]).is_dir()


def test_every_ranking_metric_has_a_meaning():
    assert set(RANKING) <= set(MEANINGS)
    assert better("rmse") == "lower" and better("ndcg@10") == "higher" and better("own@3") == ""
    assert list(legend(["ndcg@10", "ndcg@20", "rmse", "own"])) == ["ndcg@k", "rmse"]


def test_a_run_that_did_not_finish_says_how_to_go_on(make):
    folder = make().folder
    folder["metrics.json"].unlink()
    with pytest.raises(RunError, match="did not finish"):
        Result(folder)

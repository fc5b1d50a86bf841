"""Blend: means worked out by hand, fitted weights, members that fail, and what may not be blended."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import nnrec
from nnrec.composed.blend import Blend
from nnrec.composed.mixture import best_weights, least_squares_weights, reciprocal_ranks, standardised
from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError, RunError
from nnrec.evaluation.ratings import Evaluation
from nnrec.models.base.baseline import Baseline
from nnrec.runs.folder import RunFolder
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.split import HeldOut, Split
from tests.conftest import ROOT, TINY_DATA
from tests.learning import learning
from tests.models.small import batch_of, ratings_of
from tests.models.trials import TRAINER, checkerboard, finished_run, scores_of


class Fixed(Baseline):
    """A model with a fixed score for each user and item, which can be set to fail."""

    family = "implicit"
    learnt = ("scores",)

    def __init__(self, num_users, num_items, *, can=(), fails=None, name="fixed"):
        super().__init__(num_users, num_items, name=name)
        self.capabilities, self.fails, self.rating_scale = frozenset(can), fails, np.array([1, 5])

    def load_state(self, arrays):
        self._fail("load")
        super().load_state(arrays)

    def prepare(self, history):
        self._fail("prepare")

    def encode(self, batch):
        self._fail("encode")
        return self.scores[batch["index"]]

    def score(self, queries, items=None):
        self._fail("score")
        return queries if items is None else queries[:, items]

    def _fail(self, step):
        if self.fails == step:
            raise ValueError(f"no {step} today")


# Two users, four items; each user's last rating is held out for test, the one before for validation.
VALUES = np.array([[5, 4, 3, 0], [0, 2, 5, 4]])
A = [[1, 3, 1, 3], [2, 2, 4, 4]]
B = [[0, 0, 0, 4], [1, 5, 3, 3]]
RATING = {"can": ["rating_scale", "new_users"]}


def part(*entries):
    return ratings_of(
        [[value if (u, i) in entries else 0 for i, value in enumerate(row)] for u, row in enumerate(VALUES)]
    )


def tiny_split() -> Split:
    train = part((0, 0), (1, 1))
    return Split(train, HeldOut(train, part((0, 1), (1, 2))), HeldOut(train, part((0, 2), (1, 3))), "the last for test")


def run_of(path, scores, split=None, refit=False, definition="the last for test", **settings) -> str:
    """A finished run of `Fixed`."""
    split = split or tiny_split()
    train = (split.merged() if refit else split).train
    folder = RunFolder.create(path)
    model = {"_target_": f"{__name__}.Fixed", "name": "fixed"} | settings
    trainer = {"refit": refit, "devices": "auto", "precision": "float32", "xla": False}
    folder.write_text("config.yaml", OmegaConf.to_yaml({"model": model, "seed": 0, "trainer": trainer}))
    folder.write_json("metrics.json", {"data": {"split": definition}})
    folder.write_catalogue(train)
    folder.write_arrays("item_counts.npz", {"count": np.bincount(train.item, minlength=train.num_items)})
    folder.write_arrays("weights.npz", {"scores": np.array(scores, np.float32)})
    return str(path)


def blend_of(runs, split=None, **settings) -> Blend:
    split = split or tiny_split()
    model = Blend(split.train.num_users, split.train.num_items, runs=runs, **settings)
    model.check_split(split)
    model.fit(split.train)
    model.prepare(split.train)
    return model


@pytest.fixture
def two(tmp_path):
    return [run_of(tmp_path / "a", A, **RATING), run_of(tmp_path / "b", B, **RATING)]


# The mean


ROOT_3 = 3**0.5
MEANS = {
    # User 0: A has mean 2, deviation 1; B mean 1, deviation sqrt((1 + 1 + 1 + 9) / 4) = sqrt 3.
    # User 1: A has mean 3, deviation 1; B mean 3, deviation sqrt((4 + 4) / 4) = sqrt 2.
    "zscore": [
        [-0.75 - 0.25 / ROOT_3, 0.75 - 0.25 / ROOT_3, -0.75 - 0.25 / ROOT_3, 0.75 + 0.75 / ROOT_3],
        [-0.75 - 0.5 / 2**0.5, -0.75 + 0.5 / 2**0.5, 0.75, 0.75],
    ],
    # User 0: A's items 1 and 3 share places 1 and 2, the others 3 and 4; B's item 3 is first, the others share 2 to 4.
    # User 1: A's items 2 and 3 share 1 and 2; B's item 1 is first, 2 and 3 share 2 and 3, item 0 is last.
    "rank": [
        [0.75 / 63.5 + 0.25 / 63, 0.75 / 61.5 + 0.25 / 63, 0.75 / 63.5 + 0.25 / 63, 0.75 / 61.5 + 0.25 / 61],
        [0.75 / 63.5 + 0.25 / 64, 0.75 / 63.5 + 0.25 / 61, *2 * [0.75 / 61.5 + 0.25 / 62.5]],
    ],
    "rating": [[0.75, 2.25, 0.75, 3.25], [1.75, 2.75, 3.75, 3.75]],
}


@pytest.mark.parametrize("combine", MEANS)
def test_the_weighted_mean(two, combine):
    model = blend_of(two, weights=[3, 1], combine=combine)
    queries = model.encode(batch_of(VALUES))
    np.testing.assert_allclose(model.score(queries), MEANS[combine], rtol=1e-5)
    np.testing.assert_allclose(model.score(queries, np.array([3, 0])), np.array(MEANS[combine])[:, [3, 0]], rtol=1e-5)
    pairs = model.score_pairs(queries, np.array([1, 0]), np.array([1, 3]))
    np.testing.assert_allclose(pairs, [MEANS[combine][1][1], MEANS[combine][0][3]], rtol=1e-5)
    assert ("rating_scale" in model.capabilities) == (combine == "rating")
    assert "new_users" in model.capabilities


def test_members_that_tell_nothing_apart_change_no_order():
    np.testing.assert_array_equal(standardised(np.full((2, 3), 0.1, np.float32)), np.zeros((2, 3)))
    np.testing.assert_array_equal(reciprocal_ranks(np.zeros((1, 3), np.float32)), np.full((1, 3), 1 / np.float32(62)))


def test_it_can_do_what_all_its_members_can(tmp_path, two):
    model = blend_of([*two, run_of(tmp_path / "c", A)], weights=[1, 1, 1])
    assert model.capabilities == frozenset()
    assert model.personal
    assert model.family == "ratings"


# Weights


def test_least_squares_by_hand():
    target = np.array([3.0, 4.0, 2.0])
    errors = np.array([[1.0, -3.0], [1.0, -3.0], [1.0, -3.0]])
    # w - 3 (1 - w) = 0
    np.testing.assert_allclose(least_squares_weights(target[:, None] + errors, target), [0.75, 0.25], rtol=1e-6)
    # both too high: the smaller error alone
    np.testing.assert_allclose(least_squares_weights(target[:, None] + np.abs(errors), target), [1, 0], atol=1e-9)
    # (w - 3 (1 - w))^2 + 8 (-w + (1 - w))^2 has the derivative 8 (4 w - 3) - 32 (1 - 2 w) = 0 at w = 7/12
    errors, weight = np.array([[1.0, -3.0], [-1.0, 1.0]]), np.array([1.0, 8.0])
    np.testing.assert_allclose(least_squares_weights(errors, np.zeros(2), weight), [7 / 12, 5 / 12], rtol=1e-6)


def test_weight_moves_as_long_as_that_helps():
    best = np.array([0.25, 0.6875, 0.0625])
    found = best_weights(3, lambda weights: np.full(5, -np.square(weights - best).sum()))
    np.testing.assert_allclose(found, best)


def test_weight_does_not_follow_chance():
    rng = np.random.default_rng(0)
    # The second model changes every user's list, for better and for worse.
    found = best_weights(2, lambda weights: 0.5 + weights[1] * (rng.normal(size=2000) - 0.02))
    assert found.tolist() == [1, 0]


@pytest.fixture(scope="module")
def board() -> Split:
    return RandomSplit(test=0.2, validation=0.2)(checkerboard()[0], 0)


def learn(split, folder, refit=True, **settings):
    config = compose("train", ["model=blend", f"run_dir={folder}", *(f"model.{k}={v}" for k, v in settings.items())])
    trial = learning(config, replace(TRAINER, refit=refit), Evaluation((5,), relevant=4), split)
    return trial, trial.run(RunFolder.create(folder))


@pytest.mark.parametrize("combine", ["zscore", "rank"])
def test_a_member_that_knows_nothing_gets_no_weight(board, tmp_path, combine, capsys):
    runs = [finished_run(("random", "default"), board), finished_run(("ease", "default"), board)]
    learning, figures = learn(board, tmp_path / "run", runs=runs, combine=combine)
    useless, useful = figures["training"]["chosen"]["weights"]
    assert useless <= 0.125 and useful == pytest.approx(1 - useless)
    assert [member.model.name for member in learning.model.members][-1] == "ease"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["training"]["chosen"]["weights"][1] == useful
    assert "Weights by ndcg@5 on validation data: " in capsys.readouterr().out


def test_fitted_ratings_are_at_least_as_good_as_each_member(board, tmp_path):
    cases = [("bias", "default"), ("item_knn", "mean"), ("user_knn", "mean")]
    runs = [finished_run(case, board) for case in cases]
    _, figures = learn(board, tmp_path / "run", refit=False, runs=runs, combine="rating")
    alone = [RunFolder(run).read_json("metrics.json")["validation"]["rmse"] for run in runs]
    assert figures["validation"]["rmse"] <= min(alone) + 1e-6
    assert figures["training"]["chosen"]["weights"][0] < 0.1  # bias knows nothing of groups


def test_no_validation_figures_of_members_that_learnt_from_validation(two, tmp_path):
    runs = [two[0], run_of(tmp_path / "c", B, refit=True)]
    assert learn(tiny_split(), tmp_path / "run", runs=runs, weights=[1, 1])[1]["validation"] == {}
    assert learn(tiny_split(), tmp_path / "clean", runs=two, weights=[1, 1])[1]["validation"]


# Members that fail


def break_missing(path):
    shutil.rmtree(path)


def break_damaged(path):
    (path / "weights.npz").write_bytes(b"half a zip")


def break_unfinished(path):
    (path / "metrics.json").unlink()


def break_config(path):
    (path / "config.yaml").write_text("model: [")


@pytest.mark.parametrize(
    ("broken", "settings", "scores", "reason"),
    [
        (break_missing, {}, B, "There is no run folder"),
        (break_damaged, {}, B, "weights.npz is damaged"),
        (break_unfinished, {}, B, "the run did not finish"),
        (break_config, {}, B, "ParserError"),
        (None, {"_target_": "nowhere.Model"}, B, "nowhere"),
        (None, {"fails": "load"}, B, "ValueError: no load today"),
        (None, {"fails": "prepare"}, B, "ValueError: no prepare today"),
        (None, {"fails": "encode"}, B, "ValueError: no encode today"),
        (None, {"fails": "score"}, B, "ValueError: no score today"),
        (None, {}, [[0, 0, np.nan, 1], [1, 2, 3, 4]], "scores that are not finite"),
        (None, {}, [[1, 2, 3], [1, 2, 3]], r"scores have the shape \(\d, 3\) instead of"),
    ],
)
def test_a_member_that_fails_is_left_out(tmp_path, capsys, broken, settings, scores, reason):
    kept = [run_of(tmp_path / "a", A), run_of(tmp_path / "c", np.flip(A))]
    failing = run_of(tmp_path / "b", scores, **settings)
    if broken:
        broken(tmp_path / "b")
    runs = [kept[0], failing, kept[1]]
    learning, figures = learn(tiny_split(), tmp_path / "run", runs=runs, weights=[0.3, 0.6, 0.1])
    (note,) = figures["test_notes"]
    assert note.startswith(f"Left out of the blend: {failing} (")
    assert re.search(reason, note)
    assert note in capsys.readouterr().out
    rest = blend_of(kept, weights=[3, 1])
    np.testing.assert_allclose(scores_of(learning.model, tiny_split().train), scores_of(rest, tiny_split().train))
    assert figures["training"]["chosen"]["weights"] == [0.75, 0, 0.25]


def test_a_member_that_fails_late_has_no_part_in_any_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nnrec.composed.blend.TRIED_USERS", 1)
    monkeypatch.setattr("nnrec.ranking.blocks.BLOCK_ENTRIES", 4)  # a user at a time
    runs = [run_of(tmp_path / "a", A), run_of(tmp_path / "b", [[0, 0, 9, 1], [1, 2, np.inf, 4]])]
    learning, figures = learn(tiny_split(), tmp_path / "run", runs=runs, weights=[1, 9], refit=False)
    assert len(figures["test_notes"]) == 1
    _, alone = learn(tiny_split(), tmp_path / "alone", runs=runs[:1], weights=[1], refit=False)
    assert figures["test"] == alone["test"]
    assert figures["validation"] == alone["validation"]


def test_all_members_failing_is_an_error(tmp_path):
    gone, broken = str(tmp_path / "gone"), run_of(tmp_path / "b", B, fails="score")
    with pytest.raises(RunError, match=r"No member of the blend is left:\n  Left out .*gone.*\n  Left out .*no score"):
        blend_of([gone, broken])
    with pytest.raises(RunError, match=r"No member of the blend is left"):
        learn(tiny_split(), tmp_path / "run", runs=[gone])
    assert not (tmp_path / "run").exists()


# Runs that cannot be blended


def other_data(path):
    split = tiny_split()
    run_of(path, [row[:3] for row in B], replace(split, train=ratings_of([[5, 0, 0], [0, 2, 0]])))


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (other_data, {}, r"is of other data: it has other items \(3, here 4\)"),
        (lambda path: run_of(path, B, definition="seed 7"), {}, r"another split.*\n  there: seed 7\n  here:  the last"),
        (
            lambda path: run_of(path, B, replace(tiny_split(), train=part((0, 0), (1, 3)))),
            {"weights": [1, 1]},
            "learnt from other ratings than the split's training part",
        ),
        (
            lambda path: run_of(path, B, refit=True),
            {},
            r"has learnt from it \(trainer.refit=true\).*python train.py model=fixed .* trainer.refit=false.*weights",
        ),
        (lambda path: run_of(path, B), {"combine": "rating"}, "the scores of fixed are none. Leave it out"),
        (lambda path: run_of(path, B, _target_="nnrec.composed.Blend"), {}, "is a blend itself"),
    ],
)
def test_what_may_not_be_blended(tmp_path, make, settings, message):
    make(tmp_path / "b")
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        blend_of([run_of(tmp_path / "a", A, **RATING), str(tmp_path / "b")], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": "runs/a"}, r"must be a list, such as model.runs=\[runs/a\]"),
        ({"runs": ["runs/a", "runs/a/"]}, "lists a run twice"),
        ({"runs": ["a", "b"], "weights": [1]}, r"must be 2 numbers, one for each of model.runs"),
        ({"runs": ["a", "b"], "weights": [1, -1]}, "none negative and not all 0"),
        ({"runs": ["a", "b"], "weights": [0, 0]}, "none negative and not all 0"),
        ({"combine": "mean"}, "model.combine must be one of zscore, rank, rating. Received: 'mean'"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Blend(2, 4, **settings)


def test_runs_have_to_be_given():
    with pytest.raises(ConfigError, match="Which runs"):
        blend_of([])


# Saving and loading


def test_it_needs_its_members_folders_no_more(two):
    model = blend_of(two, weights=[3, 1])
    arrays = model.state()
    for run in two:
        shutil.rmtree(run)
    again = Blend(2, 4, runs=two)
    again.load_state(dict(arrays))
    np.testing.assert_array_equal(scores_of(again, tiny_split().train), scores_of(model, tiny_split().train))
    with pytest.raises(RunError, match="its members are missing or damaged"):
        Blend(2, 4).load_state({"weights": arrays["weights"]})


def test_a_member_that_cannot_be_loaded_for_prediction_is_left_out(two, capsys):
    arrays = blend_of(two, weights=[3, 1]).state()
    del arrays["1.scores"]
    again = Blend(2, 4)
    again.load_state(arrays)
    np.testing.assert_allclose(scores_of(again, tiny_split().train), standardised(np.array(A)), rtol=1e-6)
    assert f"Left out of the blend: {two[1]}" in capsys.readouterr().out


def test_from_train_to_predict(tmp_path):
    def command(script, *arguments):
        done = subprocess.run(
            [sys.executable, script, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    runs = [tmp_path / name for name in ("popularity", "item_knn")]
    for run in runs:
        nnrec.train(*TINY_DATA, f"model={run.name}", "trainer.refit=false", f"run_dir={run}")
    blend = tmp_path / "blend"
    screen = command(
        "train.py",
        *TINY_DATA,
        "model=blend",
        f"model.runs=[{runs[0]},{runs[1]},{tmp_path / 'gone'}]",
        f"run_dir={blend}",
    )
    assert f"Left out of the blend: {tmp_path / 'gone'}" in screen
    weights = json.loads((blend / "metrics.json").read_text())["training"]["chosen"]["weights"]
    assert sum(weights) == pytest.approx(1) and weights[2] == 0
    for run in runs:
        shutil.rmtree(run)
    moved = shutil.move(blend, tmp_path / "moved")
    command("predict.py", f"run={moved}", "top_n=3", f"output={tmp_path / 'recs.csv'}")
    frame = pd.read_csv(tmp_path / "recs.csv")
    assert frame.groupby("user_id")["rank"].apply(list).tolist() == [[1, 2, 3]] * 60
    histories = nnrec.load(moved).histories
    seen = {(user, item) for user in range(60) for item in histories.take(np.array([user])).ids}
    run = nnrec.load(moved)
    found = zip(run.users.indices(frame["user_id"]), run.items.indices(frame["item_id"]), strict=True)
    assert not seen & set(found)


def test_a_neural_member(run_folder, tmp_path):
    nnrec.train(*TINY_DATA, "model=bias", f"run_dir={tmp_path / 'bias'}")
    runs = f"model.runs=[{run_folder},{tmp_path / 'bias'}]"
    settings = ["model=blend", runs, "model.weights=[0.5,0.5]", "model.combine=rating", f"run_dir={tmp_path / 'blend'}"]
    blend = nnrec.train(*TINY_DATA, *settings)
    assert blend.metrics["validation"] == {}
    alone = [nnrec.load(path) for path in (run_folder, tmp_path / "bias")]
    history = {blend.items.ids[0]: 5, blend.items.ids[1]: 2}
    found, *others = (
        run.recommend(history=history, top_n=40).set_index("item_id")["score"].sort_index() for run in (blend, *alone)
    )
    np.testing.assert_allclose(found, (others[0] + others[1]) / 2, atol=0.02)


def test_a_new_history_is_read_with_its_ratings(tmp_path):
    settings = [*TINY_DATA, "evaluation.relevant=4", "trainer.refit=false"]
    for name in ("bias", "item_knn"):
        nnrec.train(*settings, f"model={name}", f"run_dir={tmp_path / name}")
    runs = f"model.runs=[{tmp_path / 'bias'},{tmp_path / 'item_knn'}]"
    run = nnrec.train(*settings, "model=blend", runs, "model.weights=[1,1]", f"run_dir={tmp_path / 'blend'}")
    first, second, third = run.items.ids[:3]
    liked, disliked = (
        run.recommend(history={first: value, second: 6 - value, third: 6 - value}).set_index("item_id")
        for value in (5, 1)
    )
    assert set(liked["source"]) == set(disliked["source"]) == {"model"}
    assert not np.allclose(liked["score"].sort_index(), disliked["score"].sort_index())
    with pytest.raises(DataError, match="blend goes by ratings, so a history needs them"):
        run.recommend(history=pd.DataFrame({"item": [first]}))
    # item-kNN does not use entries that are not liked, the biases do
    assert set(run.recommend(history={first: 1})["source"]) == {"model"}
    assert set(nnrec.load(tmp_path / "item_knn").recommend(history={first: 1})["source"]) == {"popular"}

"""Tests of the properties that every model of conf/model/ must have; `trials.py` has the settings of the tests."""

from __future__ import annotations

import typing
from dataclasses import replace

import numpy as np
import pytest
from hydra.utils import get_class

from nnrec.core.config.compose import compose
from nnrec.core.devices import backend
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.evaluation.ratings import Evaluation
from nnrec.models.base.fitted import Fitted
from nnrec.models.base.scorer import Capability, Scorer
from nnrec.models.basic.popularity import Popularity
from nnrec.runs.folder import RunFolder
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.split import HeldOut, Split
from nnrec.training.experiment import Learning
from tests.learning import learning
from tests.models.trials import (
    ALL_NAMES,
    CASES,
    IMPRESSION_NAMES,
    ITEMS_PER_GROUP,
    MODELS,
    SESSION_NAMES,
    TRAINER,
    Trial,
    batch_of,
    checkerboard,
    data_of,
    is_neural,
    ready,
    scores_of,
    settings_of,
    settings_on,
    solver,
    trained,
    trained_anew,
    untrained,
)


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@pytest.fixture(
    params=[pytest.param(case, marks=[pytest.mark.neural] * is_neural(case)) for case in CASES], ids="-".join
)
def case(request):
    return request.param


@pytest.mark.parametrize("name", ALL_NAMES)
def test_declares_itself(name):
    target = get_class(compose("train", [f"model={name}"]).model._target_)
    assert issubclass(target, Scorer)
    assert target.family in (RATINGS, SESSIONS, IMPRESSIONS)
    assert (target.family == SESSIONS) == (name in SESSION_NAMES)
    assert (target.family == IMPRESSIONS) == (name in IMPRESSION_NAMES)
    assert target.capabilities <= set(typing.get_args(Capability))
    assert compose("train", [f"model={name}"]).model.name == name
    source = ("Source:",) if issubclass(target, Fitted) else ("Paper:", "Loss:")
    for part in (*source, "In:", "Out:", "Differs:"):
        assert part in target.__doc__, f"the docstring has no {part}"


def test_scores_have_the_promised_shapes_and_are_finite(case):
    ratings, (model, _) = data_of(case), ready(case)
    scores = scores_of(model, ratings)
    assert scores.shape == (ratings.num_users, ratings.num_items)
    assert np.isfinite(scores).all()
    assert scores[model.has_history(batch_of(ratings))].std(axis=1).min() > 0


def test_some_items_and_pairs_score_as_the_whole_row_does(case):
    ratings, (model, _) = data_of(case), ready(case)
    queries, scores = model.encode(batch_of(ratings)), scores_of(model, ratings)
    items = np.array([7, 0, 3])
    np.testing.assert_allclose(np.asarray(model.score(queries, items)), scores[:, items], rtol=1e-5, atol=1e-6)
    rows, items = np.array([5, 0, 5, 39]), np.array([0, 3, 23, 3])
    pairs = model.score_pairs(queries, rows, items)
    assert pairs.shape == (4,)
    np.testing.assert_allclose(pairs, scores[rows, items], rtol=1e-5, atol=1e-6)


def test_rating_scale_is_that_of_the_training(case):
    ratings, (model, _) = data_of(case), ready(case)
    if "rating_scale" in model.capabilities:
        assert np.asarray(model.rating_scale).tolist() == list(ratings.scale)


@trained_anew(CASES, is_neural)
def test_the_seed_decides(case):
    ratings, (model, losses) = data_of(case), ready(case)
    noise = MODELS.get(case[0], Trial()).noise
    again, same_losses = trained(case, ratings, seed=0, **noise)
    assert same_losses == losses
    np.testing.assert_array_equal(scores_of(again, ratings), scores_of(model, ratings))
    if not is_neural(case) and "seed" not in settings_of(case):
        return
    other, _ = trained(case, ratings, seed=1, **noise)
    assert np.abs(scores_of(other, ratings) - scores_of(model, ratings)).max() > 1e-3


def test_saved_weights_give_the_same_scores(case, tmp_path):
    ratings, (model, _) = data_of(case), ready(case)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arrays("weights.npz", model.state())
    reloaded = untrained(case, ratings)
    reloaded.load_state(folder.read_arrays("weights.npz"))
    np.testing.assert_array_equal(scores_of(reloaded, ratings), scores_of(model, ratings))


def with_absurd_values(split: Split) -> Split:
    """The split with other values in the test part."""
    history, target = split.test.history, split.test.target
    return replace(split, test=HeldOut(history, replace(target, value=1e6 - target.value)))


def with_other_items(split: Split) -> Split:
    """The split with items in the test part that the users have not seen."""
    target, history = split.test.target, split.test.history
    known = np.zeros((target.num_users, target.num_items), bool)
    known[history.user, history.item] = True
    known[split.validation.target.user, split.validation.target.item] = True
    rng = np.random.default_rng(0)
    users, counts = np.unique(target.user, return_counts=True)
    drawn = [rng.choice(np.flatnonzero(~known[user]), n, replace=False) for user, n in zip(users, counts, strict=True)]
    return replace(split, test=HeldOut(history, replace(target, item=np.concatenate(drawn).astype(np.int32))))


def learnt(case, split: Split, folder) -> tuple[dict, Learning, np.ndarray]:
    """Returns the metrics of a whole training, its learning, and the model's scores for all users of the split."""
    config = compose("train", [f"model={case[0]}", f"run_dir={folder}"])
    config.model = settings_on(case, split)
    trainer = replace(TRAINER, epochs=2, batch_size=64, refit=True)
    trial = learning(config, trainer, Evaluation((5,)), split)
    figures = trial.run(RunFolder.create(folder))
    return figures, trial, scores_of(trial.model, split.test.history)


def ranked(figures: dict[str, float]) -> dict[str, float]:
    """Returns the metrics that depend on which items were held out, but not on their values."""
    others = ("rmse", "mae", "responsiveness", "lists_changed")
    return {name: value for name, value in figures.items() if name.partition("@")[0] not in others}


def check_blind(case, folder) -> None:
    """Checks that the scores of a trained model do not depend on the items or values of the test part."""
    split = RandomSplit(test=0.2, validation=0.1)(data_of(case), 0)
    figures, learning, scores = learnt(case, split, folder / "whole")
    told, _, again = learnt(case, with_absurd_values(with_other_items(split)), folder / "other")
    np.testing.assert_array_equal(scores, again)
    assert told["validation"] == figures["validation"]
    # What is measured of lists depends on the items held out, not on their values.
    absurd_split = with_absurd_values(split).merged()
    absurd = learning.evaluation(learning.model, absurd_split.train, absurd_split.test)
    assert ranked(absurd.figures) == ranked(figures["test"])
    if "rating_scale" in learning.model.capabilities:
        assert told["test"]["rmse"] > 1e5 and absurd.figures["rmse"] > 1e5


@trained_anew(CASES, is_neural)
def test_nothing_sees_what_is_held_out(case, tmp_path):
    check_blind(case, tmp_path)


class Leaking(Popularity):
    """A model that knows the held-out items and ranks them first."""

    held_out: Ratings

    def encode(self, batch):
        queries = np.zeros((len(batch["index"]), self.num_items), np.float32)
        position = np.full(self.num_users, -1)
        position[batch["index"]] = np.arange(len(batch["index"]))
        queries[position[self.held_out.user], self.held_out.item] = 1
        return queries

    def score(self, queries, items=None):
        return queries if items is None else queries[:, items]


def test_a_model_that_sees_what_is_held_out_is_caught(tmp_path, monkeypatch):
    def tell(learning, settings, split):
        Leaking.held_out = split.test.target
        start(learning, settings, split)

    start = Learning.__init__
    monkeypatch.setattr(Learning, "__init__", tell)
    leaking = f"{Leaking.__module__}.{Leaking.__qualname__}"
    monkeypatch.setitem(MODELS, "popularity", Trial(tiny={"_target_": leaking}))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check_blind(("popularity", "default"), tmp_path)


def test_evaluation_shows_the_model_no_target(case, monkeypatch):
    split = RandomSplit(test=0.3)(data_of(case), 0)
    model, _ = ready(case)
    seen, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda batch: seen.append(batch) or encode(batch), raising=False)
    Evaluation((5,))(model, split.train, split.test, "ranking")
    shown = {
        (int(batch["index"][row]), int(column))
        for batch in seen
        for row, column, weight in zip(batch["row"], batch["column"], batch["weight"], strict=True)
        if weight > 0
    }
    history, target = (
        set(zip(part.user.tolist(), part.item.tolist(), strict=True)) for part in vars(split.test).values()
    )
    assert shown
    assert shown <= history
    assert not shown & target


def other_group(users: np.ndarray) -> np.ndarray:
    """(len(users), ITEMS_PER_GROUP) the items of the group that each user is not in."""
    return 2 * np.arange(ITEMS_PER_GROUP)[None, :] + 1 - users[:, None] % 2


def test_checkerboard(case):
    if not solver(case).personal:
        pytest.skip("declares that all get the same")
    ratings, withheld = checkerboard()
    scores = scores_of(solver(case), ratings)
    users = np.arange(ratings.num_users)
    seen = np.zeros(scores.shape, bool)
    seen[ratings.user, ratings.item] = True
    others = np.where(seen, -np.inf, scores)[users[:, None], other_group(users)].max(axis=1)
    assert np.mean(scores[users, withheld] > others) >= 0.95
    if "rating_scale" in solver(case).capabilities:
        assert np.mean(scores[users, withheld] > 3) >= 0.95
        assert np.mean(others < 3) >= 0.95


def test_new_users_get_their_groups_items(case):
    model = solver(case)
    if "new_users" not in model.capabilities or not model.personal:
        pytest.skip("declares no new_users, or that all get the same")
    rng = np.random.default_rng(2)
    # Six unseen users, three of each group, who rated four items of their own group and two of the other.
    user, item, value = [], [], []
    for stranger in range(6):
        own = rng.choice(ITEMS_PER_GROUP, 4, replace=False) * 2 + stranger % 2
        other = rng.choice(ITEMS_PER_GROUP, 2, replace=False) * 2 + 1 - stranger % 2
        user += [stranger] * 6
        item += [*own, *other]
        value += [5, 4, 5, 4, 1, 2]
    history = Ratings.build(
        users=Vocabulary(range(6)),
        items=checkerboard()[0].items,
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
    )
    batch = batch_of(history, size=8)
    batch["index"][:] = -1
    scores = np.array(model.score(model.encode(batch)))[:6]
    assert np.isfinite(scores).all()
    scores[history.user, history.item] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5]
    assert np.mean(best % 2 == np.arange(6)[:, None] % 2) >= 0.9


def test_padding_changes_no_score(case):
    ratings, (model, _) = data_of(case), ready(case)
    scores, padded = scores_of(model, ratings), scores_of(model, ratings, size=64)
    assert padded.shape == (64, ratings.num_items)
    np.testing.assert_allclose(padded[: ratings.num_users], scores, rtol=1e-5, atol=1e-6)
    batch = batch_of(ratings, size=64)
    empty = batch["weight"] == 0
    assert empty.any()
    batch["column"][empty], batch["value"][empty], batch["row"][empty] = 3, 99.0, ratings.num_users - 1
    np.testing.assert_array_equal(np.asarray(model.score(model.encode(batch))), padded, strict=True)

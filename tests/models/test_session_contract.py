"""Tests of the properties that every session model must have; `session_trials.py` has the settings of the tests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nnrec.core.config.compose import compose
from nnrec.core.devices import backend
from nnrec.core.errors import TrainingError
from nnrec.evaluation.sessions import NextItemEvaluation
from nnrec.runs.folder import RunFolder
from nnrec.splits.sessions import LastSessions
from tests.learning import learning
from tests.models.session_trials import (
    CASES,
    ITEMS_PER_GROUP,
    MODELS,
    NO_NEIGHBOURS,
    clicks,
    fresh,
    is_neural,
    queries_of,
    ready,
    scores_of,
    settings_of,
    trained,
    trainer_of,
    untrained,
)
from tests.models.trials import Trial, trained_anew

PREFIXES = np.array([[0, 2, 4, 6, -1], [1, 1, -1, -1, -1], [15, 3, 5, 7, 9], [4, -1, -1, -1, -1]], np.int32)


@pytest.fixture(scope="module", autouse=True)
def _started():
    backend.start()


@pytest.fixture(
    params=[pytest.param(case, marks=[pytest.mark.neural] * is_neural(case)) for case in CASES], ids="-".join
)
def case(request):
    return request.param


@pytest.fixture(
    params=[pytest.param(case, marks=pytest.mark.neural) for case in CASES if is_neural(case)], ids="-".join
)
def neural(request):
    return request.param


def test_scores_have_the_promised_shapes_and_are_finite(case):
    model, _ = ready(case)
    queries = queries_of(model, PREFIXES)
    assert queries.shape[:2] == PREFIXES.shape
    scores = np.asarray(model.score(queries[PREFIXES >= 0]))
    assert scores.shape == ((PREFIXES >= 0).sum(), clicks().num_items)
    assert np.isfinite(scores).all()
    assert scores.std(axis=1).min() > 0


def test_some_items_score_as_the_whole_row_does(case):
    model, _ = ready(case)
    queries, items = queries_of(model, PREFIXES)[:, 0], np.array([7, 0, 3])
    whole = np.asarray(model.score(queries))
    np.testing.assert_allclose(np.asarray(model.score(queries, items)), whole[:, items], rtol=1e-5, atol=1e-6)


def test_a_query_sees_no_later_event(case):
    model, _ = ready(case)
    changed = PREFIXES.copy()
    changed[:, 2:] = np.where(PREFIXES[:, 2:] >= 0, (PREFIXES[:, 2:] + 5) % 16, -1)
    early = PREFIXES[:, :2] >= 0
    before, after = (np.asarray(model.score(queries_of(model, items)[:, :2][early])) for items in (PREFIXES, changed))
    np.testing.assert_array_equal(before, after)


def test_sessions_know_nothing_of_each_other(case):
    model, _ = ready(case)
    real = PREFIXES >= 0
    scores = np.asarray(model.score(queries_of(model, PREFIXES)[real]))
    again = np.asarray(model.score(queries_of(model, PREFIXES)[real]))
    np.testing.assert_array_equal(scores, again)
    turned = np.asarray(model.score(queries_of(model, PREFIXES[::-1])[::-1][real]))
    np.testing.assert_allclose(turned, scores, rtol=1e-5, atol=1e-6)


def test_padding_changes_no_score(case):
    model, _ = ready(case)
    real = PREFIXES >= 0
    wider = np.full((9, 8), -1, np.int32)
    wider[:4, :5] = PREFIXES
    scores, padded = (np.asarray(model.score(queries_of(model, items)[:4, :5][real])) for items in (PREFIXES, wider))
    np.testing.assert_allclose(padded, scores, rtol=1e-5, atol=1e-6)


def test_event_by_event_as_all_at_once(case):
    model, _ = ready(case)
    for prefix in (PREFIXES[2], PREFIXES[1, :2]):
        state = None
        for step, item in enumerate(prefix):
            state, query = model.advance(state, int(item))
            whole = np.asarray(model.score(queries_of(model, prefix[None, : step + 1])[:, -1]))
            np.testing.assert_allclose(np.asarray(model.score(query)), whole, rtol=1e-5, atol=1e-6)


@trained_anew(CASES, is_neural)
def test_the_seed_decides(case):
    model, losses = ready(case)
    noise = MODELS.get(case[0], Trial()).noise
    again, same_losses = trained(case, clicks(), **noise)
    assert same_losses == losses
    np.testing.assert_array_equal(scores_of(again, clicks()), scores_of(model, clicks()))
    if is_neural(case):
        other, _ = trained(case, clicks(), seed=1, **noise)
        assert np.abs(scores_of(other, clicks()) - scores_of(model, clicks())).max() > 1e-3


def test_saved_weights_give_the_same_scores(case, tmp_path):
    model, _ = ready(case)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arrays("weights.npz", model.state())
    reloaded = untrained(case, clicks(), seed=3)
    reloaded.load_state(folder.read_arrays("weights.npz"))
    np.testing.assert_array_equal(scores_of(reloaded, clicks()), scores_of(model, clicks()))


def test_what_comes_next_is_of_the_same_group(case):
    if case[0] in NO_NEIGHBOURS:
        pytest.skip("declares that it does not look at what goes together")
    model, _ = ready(case)
    tested = clicks(40, first=1000)
    best = np.argsort(-scores_of(model, tested), axis=1, kind="stable")[:, : ITEMS_PER_GROUP // 2]
    assert np.mean(best % 2 == tested.item[:, None] % 2) >= 0.9


def learnt(case, split, folder):
    config = compose("train", [f"model={case[0]}", f"run_dir={folder}"])
    config.model = settings_of(case)
    trainer = replace(trainer_of(case), epochs=2, refit=True)
    trial = learning(config, trainer, NextItemEvaluation((5,)), split)
    figures = trial.run(RunFolder.create(folder))
    return figures, scores_of(trial.model, split.validation)


@trained_anew(CASES, is_neural)
def test_nothing_sees_what_is_held_out(case, tmp_path):
    split = LastSessions(0.2, 0.1)(clicks(60), 0)
    rng = np.random.default_rng(0)
    other = replace(split.test, item=rng.permutation(split.test.item))
    figures, scores = learnt(case, split, tmp_path / "whole")
    told, again = learnt(case, replace(split, test=other), tmp_path / "other")
    np.testing.assert_array_equal(scores, again)
    assert told["validation"] == figures["validation"]
    assert told["test"] != figures["test"]


# Neural models


def test_loss_falls(neural):
    _, losses = ready(neural)
    assert losses[-1] < 0.9 * losses[0]


def test_config_round_trips(neural):
    model, _ = ready(neural)
    config = json.loads(json.dumps(model.get_config()))
    copy = type(model).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    shapes, expected = ([weight.shape for weight in made.learnt_weights()] for made in (copy, model))
    assert shapes == expected


@trained_anew(list(filter(is_neural, CASES)), is_neural)
def test_an_interrupted_training_resumes_bit_for_bit(case, tmp_path):
    from nnrec.training.loop import Stage

    trainer = replace(trainer_of(case), epochs=4, monitor="val_mrr@20", checkpoint_seconds=0)

    def stage(folder: str, seed: int, die_in: int | None = None) -> Stage:
        def validate(model):
            if made.progress.epoch == die_in:
                raise KeyboardInterrupt
            return {"mrr@20": [0.1, 0.3, 0.2, 0.25][made.progress.epoch]}

        model = fresh(case, clicks(), seed, trainer, **MODELS.get(case[0], Trial()).noise)
        options = {"seed": 5, "epochs": 4, "validate": validate, "folder": RunFolder(tmp_path / folder)}
        made = Stage("select", trainer, model, clicks(), **options)
        return made

    whole = stage("whole", seed=0)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        stage("cut", seed=0, die_in=2).run()
    # Other initial weights: whatever the checkpoint does not restore shows.
    resumed = stage("cut", seed=9)
    resumed.run(resumed.folder.read_arrays("checkpoint.npz"))
    assert [row["loss"] for row in resumed.progress.history] == [row["loss"] for row in whole.progress.history]
    for kept, copy in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, copy)


def test_a_diverging_training_names_step_and_what_is_in_it(neural):
    from nnrec.training.loop import Stage

    trainer = replace(trainer_of(neural), learning_rate=1e38)
    model = fresh(neural, clicks(), trainer=trainer)
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step \d+ of epoch 1 \(.*[si]\d+"):
        Stage("refit", trainer, model, clicks(), seed=0, epochs=6).run()

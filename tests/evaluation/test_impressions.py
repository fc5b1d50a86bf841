"""Evaluation of impression models: metrics worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nnrec.core.errors import ConfigError, DataError, TrainingError
from nnrec.evaluation import metrics
from nnrec.evaluation.impressions import ImpressionEvaluation
from nnrec.splits.impressions import RandomRows, fitted
from tests.impression_rows import random_rows


def examples(number: int = 400):
    impressions = random_rows(number)
    rng = np.random.default_rng(1)
    label = (rng.random(number) < 0.3).astype(np.float32)
    split = RandomRows(0.5, 0.1)(replace(impressions, label=label), 0)
    return split.train, split.test


def model_of(values, capabilities=()):
    """A model with fixed predictions for the rows."""
    left = iter(values.astype(np.float32))

    def estimate(batch):
        return np.array([next(left) if weight else 0.0 for weight in batch["weight"]], np.float32)

    return SimpleNamespace(estimate=estimate, capabilities=frozenset(capabilities), name="stub")


def test_figures_are_those_of_the_metrics():
    train, test = examples()
    guess = np.random.default_rng(2).random(len(test)).astype(np.float32)
    measured = ImpressionEvaluation(bins=5)(model_of(guess), train, test)
    assert measured.figures["auc"] == metrics.auc(test.label, guess)
    assert measured.figures["log_loss"] == pytest.approx(metrics.log_loss(test.label, guess), rel=1e-6)
    assert measured.figures["calibration_error"] == metrics.calibration(test.label, guess, 5).error
    areas = [metrics.auc(test.label[own], guess[own]) * own.sum() if len(set(test.label[own])) > 1 else np.nan
             for own in (test.user == user for user in np.unique(test.user))]  # fmt: skip
    rows = sum(
        (test.user == user).sum() for user in np.unique(test.user) if len(set(test.label[test.user == user])) > 1
    )
    assert measured.figures["gauc"] == pytest.approx(np.nansum(areas) / rows)
    # Each user's part of a mean over rows is such that the mean over the users is the figure.
    assert measured.per_user["log_loss"].mean() == pytest.approx(measured.figures["log_loss"])


def test_ratings_are_measured_by_their_errors():
    train, test = examples()
    measured = ImpressionEvaluation()(model_of(test.label + 0.5, ["rating_scale"]), train, test)
    assert measured.figures == {"rmse": pytest.approx(0.5), "mae": pytest.approx(0.5)}
    assert measured.intervals(0)["rmse"] == pytest.approx([0.5, 0.5])


def test_intervals_hold_the_figures_and_narrow_with_more_users():
    train, test = examples(4000)
    guess = np.clip(0.3 * test.label + 0.7 * np.random.default_rng(2).random(len(test)), 0.01, 0.99)
    measured = ImpressionEvaluation()(model_of(guess), train, test)
    found = measured.intervals(0)
    assert set(found) == {"auc", "log_loss", "gauc"}
    for name, (low, high) in found.items():
        assert low < measured.figures[name] < high
    # Hanley and McNeil's standard error of such an AUC is about .01.
    assert 0.02 < found["auc"][1] - found["auc"][0] < 0.08
    assert measured.intervals(0) == found


def test_without_users_there_is_no_gauc_and_rows_are_the_sample():
    train, test = examples()
    nobody = replace(test.impressions, schema=replace(test.impressions.schema, user=None, of_user=()))
    train, test = (fitted(nobody, part.which) for part in (train, test))
    measured = ImpressionEvaluation()(model_of(np.linspace(0.1, 0.9, len(test))), train, test)
    assert "gauc" not in measured.figures and not measured.per_user
    assert set(measured.intervals(0)) == {"auc", "log_loss"}


def test_what_the_truth_reaches():
    train, test = examples()
    assert ImpressionEvaluation().best_reachable(train, test) == {}
    chance = np.where(np.asarray(test.impressions.label) == 1, 0.9, 0.1).astype(np.float32)
    known = replace(test, impressions=replace(test.impressions, expected=chance))
    best = ImpressionEvaluation().best_reachable(train, known)
    assert best["auc"] == best["gauc"] == 1
    assert best["log_loss"] == pytest.approx(-np.log(0.9), rel=1e-5)


def test_rows_that_were_trained_on_are_refused():
    train, test = examples()
    both = replace(test, which=np.sort(np.append(test.which, train.which[3])))
    with pytest.raises(DataError, match=f"1 of {len(both)} held-out rows are in the training part, for example row"):
        ImpressionEvaluation()(model_of(np.zeros(len(both))), train, both)


def test_one_label_alone_and_predictions_that_are_no_numbers():
    train, test = examples()
    same = fitted(replace(test.impressions, label=np.ones(400, np.float32)), test.which)
    with pytest.raises(DataError, match="held-out rows have the label 1: there is nothing to tell apart"):
        ImpressionEvaluation().check(same)
    with pytest.raises(TrainingError, match="predictions are not a number"):
        ImpressionEvaluation()(model_of(np.full(len(test), np.nan)), train, test)
    with pytest.raises(ConfigError, match=r"evaluation\.bins"):
        ImpressionEvaluation(bins=1)

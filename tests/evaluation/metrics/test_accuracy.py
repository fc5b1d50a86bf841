"""Accuracy: golden values by hand, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.evaluation import metrics


def test_rmse_and_mae():
    value, prediction = np.array([4.0, 2.0, 5.0]), np.array([3.0, 2.0, 3.0])
    # Errors 1, 0, 2: sqrt(5 / 3) and 3 / 3.
    assert metrics.rmse(value, prediction) == pytest.approx(1.2909944)
    assert metrics.mae(value, prediction) == pytest.approx(1.0)
    # Weights 2, 1, 1: sqrt((2 + 0 + 4) / 4) and (2 + 0 + 2) / 4.
    weight = np.array([2.0, 1.0, 1.0])
    assert metrics.rmse(value, prediction, weight) == pytest.approx(1.2247449)
    assert metrics.mae(value, prediction, weight) == pytest.approx(1.0)


def test_errors_are_summed_in_double_precision():
    # A million errors of 0.1: summed in single precision the mean is off from the fifth digit on.
    value = np.full(1_000_000, 0.1, np.float32)
    assert metrics.mae(value, np.zeros_like(value)) == pytest.approx(0.1, rel=1e-7)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match=r"One prediction per value expected. Received: shapes \(3,\) and \(3, 1\)"):
        metrics.rmse(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match="no error to average"):
        metrics.mae(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="no error to average"):
        metrics.rmse(np.ones(2), np.ones(2), np.zeros(2))


def test_auc():
    label, score = np.array([1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.4, 0.4, 0.1])
    # .9 is above 3 negatives; .4 above one (.1), level with one, below one: (3 + 1 + 1/2) / 6.
    assert metrics.auc(label, score) == pytest.approx(4.5 / 6)
    # Weights 2 on the positive .9 and 3 on the negative .8; W+ = 2 + 1, W- = 3 + 1 + 1:
    # .9 beats all: 2 * 5; .4 beats .1: 1, and is level with .4: 1/2; together 11.5 of 15.
    assert metrics.auc(label, score, np.array([2.0, 3, 1, 1, 1])) == pytest.approx(11.5 / 15)


def test_auc_of_equal_scores_is_a_half_and_of_negated_scores_the_complement():
    label = np.array([1, 0, 0, 1, 0])
    assert metrics.auc(label, np.zeros(5)) == 0.5
    score = np.array([3.0, 1, 2, 2, 5])
    # 3 beats 1 and 2, 2 beats 1 and is level with 2: 3.5 of 6; turned round 2.5 of 6.
    assert metrics.auc(label, score) == pytest.approx(3.5 / 6)
    assert metrics.auc(label, -score) == pytest.approx(2.5 / 6)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(1, 3)), min_size=2, max_size=12))
def test_auc_is_the_share_of_pairs(rows):
    pairs = [(p, q) for p in rows for q in rows if p[0] and not q[0]]
    if not pairs:
        return
    won = sum(p[2] * q[2] * ((p[1] > q[1]) + (p[1] == q[1]) / 2) for p, q in pairs)
    label, score, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    assert metrics.auc(label, score, weight) == pytest.approx(won / sum(p[2] * q[2] for p, q in pairs))


def test_auc_refuses_what_it_cannot_order():
    with pytest.raises(ValueError, match="Both labels expected. Received: weights 0 of 0, 2 of 1"):
        metrics.auc(np.ones(2), np.arange(2.0))
    with pytest.raises(ValueError, match=r"Labels are 0 or 1. Received: \[-1, 2\]"):
        metrics.auc(np.array([-1, 2, 1]), np.arange(3.0))
    with pytest.raises(ValueError, match="Received: NaN in 1 places"):
        metrics.auc(np.array([0, 1]), np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match="One prediction per value"):
        metrics.auc(np.array([0, 1]), np.ones(3))


def test_log_loss():
    label, probability = np.array([1, 0, 1]), np.array([0.8, 0.4, 0.5])
    # -ln .8 = .2231436, -ln .6 = .5108256, -ln .5 = .6931472: together 1.4271164.
    assert metrics.log_loss(label, probability) == pytest.approx(1.4271164 / 3, abs=1e-7)
    # Weights 1, 0, 3: (.2231436 + 3 * .6931472) / 4.
    assert metrics.log_loss(label, probability, np.array([1.0, 0, 3])) == pytest.approx(0.5756463, abs=1e-7)


def test_log_loss_is_clipped():
    # Sure and wrong: -ln(1e-7) = 16.1180957, in single precision too; sure and right: -ln(1 - 1e-7).
    for dtype in (np.float32, np.float64):
        assert metrics.log_loss(np.array([0]), np.array([1.0], dtype)) == pytest.approx(16.1180957)
        assert metrics.log_loss(np.array([1]), np.array([0.0], dtype)) == pytest.approx(16.1180957)
        assert metrics.log_loss(np.array([1]), np.array([1.0], dtype)) == pytest.approx(-math.log1p(-1e-7))


def test_log_loss_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="Probabilities lie between 0 and 1. Received: -2 to 0.5"):
        metrics.log_loss(np.array([0, 1]), np.array([-2, 0.5]))
    with pytest.raises(ValueError, match="Labels lie between 0 and 1. Received: 1 to 5"):
        metrics.log_loss(np.array([1, 5]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="Probabilities lie between 0 and 1. Received: nan"):
        metrics.log_loss(np.array([1]), np.array([np.nan]))
    with pytest.raises(ValueError, match="no error to average"):
        metrics.log_loss(np.empty(0), np.empty(0))

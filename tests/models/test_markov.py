"""Markov chains and sequential rules, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.sessions.markov import Markov
from tests.models.small_sessions import scores_after, sessions_of

CLICKS = [[0, 1, 2], [0, 2], [1, 2, 3], [0, 1, 0]]


def fitted(**options) -> Markov:
    model = Markov(5, **options)
    model.fit(sessions_of(CLICKS, 5))
    return model


def test_first_order():
    # 0 -> 1 twice, 0 -> 2 once; 1 -> 2 twice, 1 -> 0 once; 2 -> 3 once. The rest goes by popularity: events 4 3 3 1 0.
    scores = scores_after(fitted(), [2, 0], [1], [3, 2], [3], [4])
    np.testing.assert_allclose(scores[0], [-0.25, 2 / 3, 1 / 3, -0.75, -1], rtol=1e-6)
    np.testing.assert_allclose(scores[1], [1 / 3, -0.5, 2 / 3, -0.75, -1], rtol=1e-6)
    np.testing.assert_allclose(scores[2], [-0.25, -0.5, -0.5, 1, -1])
    np.testing.assert_allclose(scores[3:], [[-0.25, -0.5, -0.5, -0.75, -1]] * 2)


@pytest.mark.parametrize(("weighting", "two"), [("div", 1 / 2), ("same", 1), ("quadratic", 1 / 4)])
def test_sequential_rules(weighting, two):
    # Two steps apart: 0 -> 2 (first session), 1 -> 3 (third), 0 -> 0 (fourth).
    scores = scores_after(fitted(steps=5, weighting=weighting), [0], [1])
    np.testing.assert_allclose(scores[0], np.array([two, 2, 1 + two, -0.75, -1]) / [3 + 2 * two] * [1, 1, 1, 0, 0]
                               + [0, 0, 0, -0.75, -1], rtol=1e-6)  # fmt: skip
    np.testing.assert_allclose(scores[1][[0, 2, 3]], np.array([1, 2, two]) / (3 + two), rtol=1e-6)


def test_linear_weights_end_at_ten_steps():
    # 0 comes twelve events before the last; at distance x it counts 1 - x / 10.
    model = Markov(13, steps=20, weighting="linear")
    model.fit(sessions_of([list(range(13))], 13))
    scores = scores_after(model, [0])[0]
    np.testing.assert_allclose(scores[1:10], np.arange(9, 0, -1) / 45, rtol=1e-6)
    assert (scores[10:] < 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "model.steps must be at least 1. Received: 0"),
        ({"weighting": "cubic"}, "model.weighting must be one of same, div, linear, log, quadratic. Received: cubic"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        Markov(5, **options)

"""Popularity in the session, counted by hand."""

from __future__ import annotations

import numpy as np

from nnrec.models.sessions.session_popularity import SessionPopularity
from tests.models.small_sessions import scores_after, sessions_of

# Events: item 0 four, 1 and 2 three, 3 one, 4 none: levels 1, 2, 2, 3, 4 of 4
CLICKS = [[0, 1, 2], [0, 2], [1, 2, 3], [0, 1, 0]]


def fitted(**options) -> SessionPopularity:
    model = SessionPopularity(5, **options)
    model.fit(sessions_of(CLICKS, 5))
    return model


def test_counts_in_the_session_and_breaks_ties_by_popularity():
    scores = scores_after(fitted(), [3, 3], [3, 0, 1, 3], [4])
    np.testing.assert_allclose(scores[0], [-0.25, -0.5, -0.5, 2 - 0.75, -1])
    np.testing.assert_allclose(scores[1], [1 - 0.25, 1 - 0.5, -0.5, 2 - 0.75, -1])
    np.testing.assert_allclose(scores[2], [-0.25, -0.5, -0.5, -0.75, 1 - 1])


def test_plain_popularity_is_the_same_for_all():
    model = fitted(in_session=False)
    np.testing.assert_array_equal(scores_after(model, [3, 3], [4]), [[4, 3, 3, 1, 0]] * 2)
    assert not model.personal
    assert fitted().personal

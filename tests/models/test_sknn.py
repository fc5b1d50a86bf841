"""S-kNN, worked out by hand."""

from __future__ import annotations

import numpy as np

from nnrec.models.sessions.sknn import SKNN
from tests.models.small_sessions import scores_after, sessions_of

CLICKS = [[0, 1, 2], [0, 2], [1, 2, 3], [0, 1, 0]]
# The session 1, 2 shares two items with the first and third (of three each), one with the others (of two each).
TWO, ONE = 2 / 6**0.5, 1 / 4**0.5


def fitted(**options) -> SKNN:
    model = SKNN(5, **options)
    model.fit(sessions_of(CLICKS, 5))
    return model


def test_all_are_neighbours():
    expected = [TWO + 2 * ONE, 2 * TWO + ONE, 2 * TWO + ONE, TWO, -1]
    np.testing.assert_allclose(scores_after(fitted(), [1, 2], [2, 1, 1]), [expected] * 2, rtol=1e-6)


def test_k_nearest():
    np.testing.assert_allclose(scores_after(fitted(k=2), [1, 2])[0], [TWO, 2 * TWO, 2 * TWO, TWO, -1], rtol=1e-6)
    # The third session is as near as the first, and later. 0 and 4 go by popularity: events 4 3 3 1 0.
    np.testing.assert_allclose(scores_after(fitted(k=1), [1, 2])[0], [-0.25, TWO, TWO, TWO, -1], rtol=1e-6)


def test_the_latest_sessions_are_the_sample():
    scores = scores_after(fitted(k=2, sample_size=2), [1, 2])
    np.testing.assert_allclose(scores[0], [ONE, ONE + TWO, TWO, TWO, -1], rtol=1e-6)
    # Sessions that share nothing do not count: of those with a 2, the last two are the second and third.
    near, far = 1 / 3**0.5, 1 / 2**0.5
    np.testing.assert_allclose(
        scores_after(fitted(k=2, sample_size=2), [2])[0], [far, near, near + far, near, -1], rtol=1e-6
    )


def test_last_clicks():
    np.testing.assert_array_equal(scores_after(fitted(last_n_clicks=2), [3, 0, 1, 2]), scores_after(fitted(), [1, 2]))


def test_nothing_in_common():
    np.testing.assert_allclose(scores_after(fitted(), [4]), [[-0.25, -0.5, -0.5, -0.75, -1]])


def test_the_last_item_can_be_kept_from_coming_again():
    plain, without = (scores_after(fitted(repeat_last=again), [1, 2], [1]) for again in (True, False))
    assert without[0, 2] == without[1, 1] < plain.min()
    plain[0, 2] = plain[1, 1] = without[0, 2]
    np.testing.assert_array_equal(without, plain)

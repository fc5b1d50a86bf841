"""Item-kNN on sessions, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.sessions import session_item_knn
from nnrec.models.sessions.session_item_knn import SessionItemKNN
from tests.models.small_sessions import random_clicks, scores_after, sessions_of

CLICKS = [[0, 1, 2], [0, 2], [1, 2, 3], [0, 1, 0]]


def fitted(clicks=CLICKS, num_items: int = 5, **options) -> SessionItemKNN:
    model = SessionItemKNN(num_items, **options)
    model.fit(sessions_of(clicks, num_items))
    return model


def test_similarities():
    # Sessions with 0: 3, 1: 3, 2: 3, 3: 1; with both 0 and 1: 2 (the repeated 0 counts once), 0 and 2: 2, 1 and 2: 2,
    # 1 and 3: 1, 2 and 3: 1. Items that share nothing with the last one go by popularity: events 4 3 3 1 0.
    scores = scores_after(fitted(lmbd=1, alpha=0.5), [3, 0], [0, 1], [4])
    np.testing.assert_allclose(scores[0], [-0.25, 2 / 4, 2 / 4, -0.75, -1], rtol=1e-6)
    np.testing.assert_allclose(scores[1], [2 / 4, -0.5, 2 / 4, 1 / 8**0.5, -1], rtol=1e-6)
    np.testing.assert_allclose(scores[2], [-0.25, -0.5, -0.5, -0.75, -1])


def test_alpha_balances_the_supports():
    confident = scores_after(fitted(lmbd=0, alpha=1), [1], [3])
    np.testing.assert_allclose(confident[0][[0, 2, 3]], [2 / 3, 2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(confident[1][[1, 2]], [1, 1], rtol=1e-6)
    between = scores_after(fitted(lmbd=1, alpha=0.25), [1])
    assert between[0, 3] == pytest.approx(1 / (4**0.25 * 2**0.75), rel=1e-6)


def test_keeps_the_most_similar():
    # Of 1's similar items (0: 2, 2: 2, 3: 1 shared sessions) two are kept; of equal ones the smaller index.
    assert (scores_after(fitted(lmbd=0, alpha=1, n_sims=2), [1])[0] > 0).tolist() == [True, False, True, False, False]
    assert (scores_after(fitted(lmbd=0, alpha=1, n_sims=1), [1])[0] > 0).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("pairs", [1, 50, 333])
def test_blocks_change_nothing(pairs, monkeypatch):
    clicks = random_clicks(40, 30)
    whole = fitted(clicks, 33, n_sims=5)
    monkeypatch.setattr(session_item_knn, "BLOCK_PAIRS", pairs)
    assert (fitted(clicks, 33, n_sims=5).similar != whole.similar).nnz == 0


def test_memory_is_asked_for():
    # 400 events in one session: 160,000 pairs, of which 40,000 are kept: 16 * 40,000 + 40 * 160,000 bytes
    train = sessions_of([list(range(400))], 400)
    with pytest.raises(ConfigError, match=r"session_item_knn on 400 items needs about 0.007 GB of memory; 0.001 GB"):
        SessionItemKNN(400, memory_limit=0.001).check_memory(train)
    SessionItemKNN(400, memory_limit=0.01).check_memory(train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_sims": 0}, "model.n_sims must be at least 1. Received: 0"),
        ({"lmbd": -1}, "model.lmbd must be at least 0. Received: -1"),
        ({"alpha": -0.5}, "model.alpha must be at least 0. Received: -0.5"),
        ({"memory_limit": 0}, r"model.memory_limit must be positive \(GB\), or null. Received: 0"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        SessionItemKNN(5, **options)

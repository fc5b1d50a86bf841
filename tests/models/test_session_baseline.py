"""Tests of the properties that all classical session models must have."""

from __future__ import annotations

import numpy as np
import pytest
from hydra.utils import get_class

from nnrec.core.errors import RunError
from nnrec.models.base.session_baseline import latest
from tests.models.small_sessions import batch_of_sessions, random_clicks, sessions_of

NUM_ITEMS = 20  # the last two without a training event
TARGETS = {
    "session_popularity": "nnrec.models.SessionPopularity",
    "session_item_knn": "nnrec.models.SessionItemKNN",
    "sknn": "nnrec.models.SKNN",
    "vsknn": "nnrec.models.VSKNN",
    "markov": "nnrec.models.Markov",
}
OPTIONS = {"sknn": {"k": 9, "sample_size": 25}, "vsknn": {"k": 9, "sample_size": 25, "idf_weighting": 1.0}}


@pytest.fixture(params=TARGETS)
def untrained(request):
    return lambda: get_class(TARGETS[request.param])(NUM_ITEMS, **OPTIONS.get(request.param, {}))


@pytest.fixture
def model(untrained):
    made = untrained()
    made.fit(sessions_of(random_clicks(80, NUM_ITEMS - 2), NUM_ITEMS))
    return made


def test_leaves_the_training_data_alone(untrained):
    train, same = (sessions_of(random_clicks(80, NUM_ITEMS), NUM_ITEMS) for _ in range(2))
    untrained().fit(train)
    assert train.fingerprint() == same.fingerprint()


def all_scores(model, clicks) -> np.ndarray:
    """(B, T, num_items) after every event."""
    queries = model.encode(batch_of_sessions(clicks))
    size, width = queries.shape[:2]
    return model.score(queries.reshape(size * width, -1)).reshape(size, width, NUM_ITEMS)


def test_later_events_change_nothing(model):
    clicks = [session for session in random_clicks(40, NUM_ITEMS - 2, seed=1) if len(session) > 3]
    changed = [[*session[:2], *random_clicks(1, NUM_ITEMS, 12, seed=row)[0]] for row, session in enumerate(clicks)]
    before, after = all_scores(model, clicks), all_scores(model, changed)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before[:, 2] != after[:, 2]).any()


def test_event_by_event_is_all_at_once(model):
    session = [3, 0, 0, 7, 3]
    whole, state = all_scores(model, [session])[0], None
    for item, expected in zip(session, whole, strict=True):
        state, query = model.advance(state, item)
        np.testing.assert_array_equal(model.score(query)[0], expected)


def test_lists_are_complete(model):
    """Items with training events rank before those without; with no known history, items rank by popularity."""
    scores = all_scores(model, [[NUM_ITEMS - 1]])[0, 0]
    assert np.isfinite(scores).all()
    assert scores[:-2].min() > scores[-2]
    order = np.argsort(-scores[:-2])
    support = np.bincount(sum(random_clicks(80, NUM_ITEMS - 2), []), minlength=NUM_ITEMS)
    assert (np.diff(support[order]) <= 0).all()


def test_some_items(model):
    queries = model.encode(batch_of_sessions([[1, 2], [3]]))[:, 0]
    np.testing.assert_array_equal(model.score(queries, np.array([5, 0])), model.score(queries)[:, [5, 0]])


def test_saved_state_gives_the_same_scores(model, untrained):
    arrays = model.state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
    other = untrained()
    other.load_state(dict(arrays))
    clicks = random_clicks(20, NUM_ITEMS, seed=3)
    np.testing.assert_array_equal(all_scores(other, clicks), all_scores(model, clicks))
    arrays.pop("backoff")
    with pytest.raises(RunError, match=f"weights.npz does not fit {model.name}: backoff is missing or damaged"):
        untrained().load_state(arrays)


def test_latest():
    items = np.array([[4, 5, 6], [7, -1, -1]])
    np.testing.assert_array_equal(latest(items, 2)[0], [[4, -1], [5, 4], [6, 5]])
    np.testing.assert_array_equal(latest(items, None)[0], [[4, -1, -1], [5, 4, -1], [6, 5, 4]])
    np.testing.assert_array_equal(latest(items, 1)[1], [[7], [-1], [-1]])

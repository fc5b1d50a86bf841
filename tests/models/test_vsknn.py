"""V-S-kNN, worked out by hand and against its formula in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.errors import ConfigError
from nnrec.models.base.session_baseline import decays
from nnrec.models.sessions.session_neighbours import place_weights
from nnrec.models.sessions.vsknn import VSKNN
from tests.models.small_sessions import random_clicks, scores_after, sessions_of

CLICKS = [[0, 1, 2], [0, 2], [1, 2, 3], [0, 1, 0]]


def fitted(clicks=CLICKS, num_items: int = 5, **options) -> VSKNN:
    model = VSKNN(num_items, **options)
    model.fit(sessions_of(clicks, num_items))
    return model


def test_weights_by_place():
    # Items 0, 1, 2 weigh 1/3, 2/3, 1; three items. The last shared one is 2 (decay 1) but for the fourth session, where
    # it is 1, two steps away: 1/2.
    first, second, third, fourth = 2 / 3, 4 / 9, 5 / 9, 1 / 3 / 2
    expected = [first + second + fourth, first + third + fourth, first + second + third, third, -1]
    np.testing.assert_allclose(scores_after(fitted(), [0, 1, 2])[0], expected, rtol=1e-6)


def test_a_repeated_item_stands_at_its_latest_place():
    # Of the session 0, 1, 0 the items 0 and 1 weigh 1 and 2/3; two items.
    first, second, third, fourth = 5 / 6, 1 / 2, 1 / 3 / 2, 5 / 6
    expected = [first + second + fourth, first + third + fourth, first + second + third, third, -1]
    np.testing.assert_allclose(scores_after(fitted(), [0, 1, 0])[0], expected, rtol=1e-6)


def test_cosine_of_the_weighted_session():
    # |w| = sqrt(4/9 + 1) for 1 (one of two: 1/2) and 2 (1): sqrt(1.25)
    scores = scores_after(fitted(similarity="cosine", weighting_score="same", k=1), [1, 2])
    np.testing.assert_allclose(scores[0, 1:4], [1.5 / (1.25 * 3) ** 0.5] * 3, rtol=1e-6)


def test_rare_items_count_more():
    # Of four sessions three hold 0, 1, 2 each (idf 0), one holds 3 (idf 1).
    plain, weighted = (scores_after(fitted(idf_weighting=weight), [0, 1, 2])[0] for weight in (0, 2))
    np.testing.assert_allclose(weighted, plain * [1, 1, 1, 3, 1], rtol=1e-6)


def test_decays():
    np.testing.assert_allclose(decays("div", 4), [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(decays("quadratic", 3), [1, 1 / 4, 1 / 9])
    np.testing.assert_allclose(decays("linear", 12), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(decays("log", 2), [1 / math.log10(2.7), 1 / math.log10(3.7)])
    np.testing.assert_array_equal(decays("same", 2), [1, 1])
    np.testing.assert_allclose(place_weights("div", 3)[2:], [[1, 1 / 2, 0], [1, 2 / 3, 1 / 3]])
    np.testing.assert_allclose(place_weights("quadratic", 3)[3], [1, 4 / 9, 1 / 9])
    np.testing.assert_allclose(place_weights("linear", 12)[12], [1 - x / 10 for x in range(10)] + [0, 0], atol=1e-9)
    np.testing.assert_allclose(place_weights("log", 2)[2], [1 / math.log10(1.7), 1 / math.log10(2.7)])
    np.testing.assert_array_equal(place_weights("same", 2)[1:], [[1, 1], [1, 1]])


DECAYS = st.sampled_from(["same", "div", "linear", "log", "quadratic"])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 12),
    more=st.integers(0, 20),
    similarity=st.sampled_from(["vec", "cosine"]),
    weighting=DECAYS,
    weighting_score=DECAYS,
    idf_weighting=st.sampled_from([0.0, 2.5]),
    last_n_clicks=st.sampled_from([None, 1, 3]),
)
def test_is_its_formula(seed, k, more, similarity, weighting, weighting_score, idf_weighting, last_n_clicks):
    clicks, num_items = random_clicks(30, 12, seed=seed), 14
    options = {"weighting": weighting, "weighting_score": weighting_score, "last_n_clicks": last_n_clicks}
    options |= {"similarity": similarity, "k": k, "sample_size": k + more, "idf_weighting": idf_weighting}
    model = fitted(clicks, num_items, **options)
    for session in random_clicks(3, num_items, seed=seed + 1):
        expected = by_formula(clicks, session[-(last_n_clicks or 99) :], **options)
        scores = scores_after(model, session)[0]
        for item in range(num_items):
            assert max(scores[item], 0) == pytest.approx(expected.get(item, 0), rel=1e-4, abs=1e-6)


def by_formula(clicks, session, *, k, sample_size, similarity, weighting, weighting_score, idf_weighting, **_):
    size = len(session)
    weight, back = {}, {}
    for place, item in enumerate(session):
        x = size - 1 - place
        weight[item] = {
            "same": 1,
            "div": (size - x) / size,
            "linear": max(0, 1 - x / 10),
            "log": 1 / math.log10(x + 1.7),
            "quadratic": ((size - x) / size) ** 2,
        }[weighting]
        back[item] = x
    sharing = [number for number, other in enumerate(clicks) if set(other) & set(session)][-sample_size:]
    found = []
    for number in sharing:
        other = set(clicks[number])
        value = sum(weight[item] for item in other & set(session))
        if similarity == "vec":
            value /= len(weight)
        else:
            value /= math.sqrt(sum(w * w for w in weight.values()) * len(other))
        found.append((round(value, 6), number, value))
    held = [sum(item in other for other in clicks) for item in range(max(map(max, clicks)) + 1)]
    idf = [math.log(len(clicks) / count) if count else 0 for count in held]
    low, high = (edge(value for value, count in zip(idf, held, strict=True) if count) for edge in (min, max))
    scores: dict[int, float] = {}
    for _rounded, number, value in sorted(found)[-k:]:
        steps = 1 + min(back[item] for item in set(clicks[number]) & set(session))
        value *= decays(weighting_score, steps)[-1]
        for item in set(clicks[number]):
            factor = 1 + idf_weighting * (idf[item] - low) / (high - low)
            scores[item] = scores.get(item, 0) + value * factor
    return scores


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "model.k must be at least 1. Received: 0"),
        ({"k": 100, "sample_size": 50}, "model.sample_size must be at least 100. Received: 50"),
        ({"similarity": "jaccard"}, "model.similarity must be one of cosine, vec. Received: jaccard"),
        ({"weighting_score": "half"}, "model.weighting_score must be one of same, div, .* Received: half"),
        ({"idf_weighting": -1}, "model.idf_weighting must be at least 0. Received: -1"),
        ({"last_n_clicks": 0}, "model.last_n_clicks must be at least 1. Received: 0"),
    ],
)
def test_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        VSKNN(5, **options)

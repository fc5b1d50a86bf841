"""Simulated clickstreams: sizes, times, items, and how predictable the next click is."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError
from nnrec.data.sessions import Sessions
from nnrec.data.simulators.click_model import FIGURES
from nnrec.data.simulators.sessions import DAY, GRADES, LONGEST_PAUSE, OPENING, STYLES, simulate_clicks

SMALL = {"num_sessions": 600, "num_events": 3_000, "num_items": 200}


@pytest.fixture(scope="module")
def default() -> Sessions:
    return simulate_clicks(8_000, 64_000)  # all other arguments by default


@pytest.fixture(scope="module")
def small() -> Sessions:
    return simulate_clicks(**SMALL)


def test_the_seed_decides(small):
    same, other = simulate_clicks(**SMALL), simulate_clicks(**SMALL, seed=1)
    assert same.fingerprint() == small.fingerprint() != other.fingerprint()
    assert np.array_equal(same.expected, small.expected, equal_nan=True)
    assert same.item_table.equals(small.item_table)


def test_sizes_are_exact(small):
    assert (small.num_sessions, len(small), small.num_items) == (600, 3_000, 200)
    assert small.lengths.min() == 2
    assert small.lengths.max() > 3 * np.median(small.lengths)
    assert small.item.dtype == np.int32 and small.time.dtype == np.float64
    first = np.zeros(len(small), bool)
    first[small.offsets[:-1]] = True
    assert (small.item[1:] != small.item[:-1])[~first[1:]].all()
    assert small.expected_names == FIGURES and small.expected.dtype == np.float32
    assert (np.isnan(small.expected).all(axis=1) == first).all()
    recalls = small.expected[~first, :4]
    assert (np.diff(recalls, axis=1) >= 0).all() and recalls.min() > 0 and recalls.max() <= 1 + 1e-6


def test_best_goes_with_the_sessions(small):
    last = small.take(np.arange(500, 600))
    by_hand = np.nanmean(last.expected.astype(np.float64), axis=0)
    assert list(last.best.values()) == pytest.approx(by_hand.tolist())
    assert last.best["recall@20"] != small.best["recall@20"]
    assert f"recall@20 {small.best['recall@20']:.4f}, mrr@20 {small.best['mrr@20']:.4f}" in small.notes[0]
    mask = np.zeros(len(small), bool)
    mask[small.offsets[:-1]] = True
    assert small.expected_of(mask) is None  # first events are not predicted
    mask[small.offsets[3] + 1] = True
    assert small.expected_of(mask)["mrr@20"] == small.expected[small.offsets[3] + 1, 4]


def test_times_look_real(default):
    start = default.time[default.offsets[:-1]]
    assert (np.diff(start) >= 0).all()
    assert start.min() >= OPENING and start.max() < OPENING + 28 * DAY
    pause = np.diff(default.time)[np.diff(default.session) == 0]
    assert pause.min() > 0.99 and pause.max() <= LONGEST_PAUSE + 1e-2
    assert 40 < np.median(pause) < 50
    hour = np.bincount((start // 3_600).astype(int) % 24, minlength=24)
    assert hour[20] > 8 * hour[3]


def test_popularity_has_a_long_tail(default):
    support = np.sort(default.support)[::-1]
    tenth = default.num_items // 10
    assert support[:tenth].sum() > 0.25 * len(default)
    assert support[0] > 15 * np.median(support[-tenth:]) and support[-1] > 0
    assert abs(np.corrcoef(default.support, np.arange(default.num_items))[0, 1]) < 0.15


def measure(scores: np.ndarray, target: np.ndarray) -> float:
    rank = (scores > scores[np.arange(len(target)), target][:, None]).sum(axis=1)
    return float((rank < 20).mean())


def test_popularity_markov_and_best_lie_apart(default):
    """Popularity reaches little, the last item's successors much more, and the whole session at least 8% more yet."""
    follows = np.flatnonzero(np.diff(default.session, prepend=-1) == 0)
    last, target = default.item[follows - 1], default.item[follows]
    held_out = default.session[follows] >= 0.9 * default.num_sessions
    counts = np.zeros((default.num_items, default.num_items))
    np.add.at(counts, (last[~held_out], target[~held_out]), 1)
    popularity = default.support / len(default)
    markov = measure(counts[last[held_out]] + popularity, target[held_out])
    popular = measure(np.tile(popularity, (held_out.sum(), 1)), target[held_out])
    best = default.take(np.arange(default.num_sessions * 9 // 10, default.num_sessions)).best["recall@20"]
    assert popular < 0.35 * markov
    assert 1.08 * markov < best
    assert 0.7 < best < 0.8


def test_people_stay_in_a_category_then_in_its_department():
    clicks = simulate_clicks(1_000, 8_000, 240, num_categories=12)
    inside = np.diff(clicks.session) == 0
    category = clicks.item_table["category"].to_numpy()[clicks.item]
    department = np.array([path.split(" > ")[0] for path in category])
    stays = (category[1:] == category[:-1])[inside]
    # succession + (1 - succession) * stickiness = .3 + .7 * .9 = .93, nearly: what one leaves is not drawn again
    assert stays.mean() == pytest.approx(0.93, abs=0.02)
    share = np.unique(department, return_counts=True)[1] / len(clicks)
    assert (department[1:] == department[:-1])[inside][~stays].mean() > 1.3 * (share**2).sum()


def test_titles_tell_about_style_and_category(small):
    titles, category = small.item_table["title"], small.item_table["category"]
    assert titles.is_unique
    nouns = category.str.split(" > ").str[1].str.removesuffix("s")
    assert all(noun in title for noun, title in zip(nouns, titles, strict=True))
    words = {word: number for number, style in enumerate(STYLES) for word in style}
    style = titles.str.split().str[0].map(words).to_numpy()[small.item]
    share = np.bincount(style) / len(small)
    same = (style[1:] == style[:-1])[np.diff(small.session) == 0].mean()
    assert same > 1.2 * (share**2).sum()
    # A word for the place in the category: likely successors lie close, so that grades of neighbours do too.
    grade = titles.str.split().str[1].map({grade: place for place, grade in enumerate(GRADES)}).to_numpy()[small.item]
    apart = np.abs(np.diff(grade))[np.diff(small.session) == 0].mean()
    assert apart < 0.9 * np.abs(grade[:, None] - grade).mean()


def test_many_categories_and_styles_are_numbered():
    table = simulate_clicks(20, 60, 600, num_categories=30, num_intents=9).item_table
    assert table["title"].is_unique
    assert table["category"].nunique() == 30
    assert table["category"].str.endswith(" 2").any() and table["title"].str.startswith("Style 9").any()


def test_one_category_and_certainty():
    only = simulate_clicks(50, 150, 40, 1, 2, 3, stickiness=0.0)
    assert only.item_table["category"].nunique() == 1
    assert 0 < only.best["recall@20"] < 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_sessions": 0}, "at least one session.*num_sessions=0"),
        ({"num_events": 1_199}, "600 sessions of two events or more have at least 1,200 events.*1,199"),
        ({"num_items": 34}, "at least 35 items in 5 categories.*num_items=34"),
        ({"num_items": 40, "num_intents": 9}, "an item of each of the 9 styles.*at least 45"),
        ({"focus": 1.0}, "focus is a probability, 0 to below 1. Received: 1.0"),
        ({"stickiness": -0.1}, "stickiness is a probability"),
        ({"popularity_exponent": 3}, "popularity_exponent must be 0 to 2. Received: 3"),
    ],
)
def test_impossible_shapes_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        simulate_clicks(**{**SMALL, "num_successors": 6, "num_intents": 5, **wrong})


def test_configuration_repeats_the_defaults():
    config = compose("train", ["data=simulated_clicks"]).data
    assert config.name == "simulated_clicks" and config.family == "sessions"
    defaults = {name: value.default for name, value in inspect.signature(simulate_clicks).parameters.items()}
    assert {name: value for name, value in config.source.items() if name != "_target_"} == defaults

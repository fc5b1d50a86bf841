"""Simulated clickstreams from a known model, so that the best reachable next-item metrics are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nnrec.core.errors import ConfigError
from nnrec.data.sessions import Sessions
from nnrec.data.simulators.click_model import FIGURES, ClickModel
from nnrec.data.vocabulary import Vocabulary

DAY = 86_400
OPENING = 1_427_846_400  # 2015-04-01, a Wednesday, seconds since 1970
# Relative activity by hour of the day and by day of the week (Monday first).
HOURS = np.array([3, 2, 1, 1, 1, 2, 4, 6, 8, 10, 11, 11, 12, 11, 11, 11, 11, 12, 13, 15, 16, 14, 10, 6])
WEEKDAYS = np.array([1.15, 1.05, 1.0, 1.0, 0.95, 0.9, 1.1])
THINK_TIME = 45  # seconds, the median between two clicks
LONGEST_PAUSE = 29 * 60  # below the usual session gap of half an hour

DEPARTMENTS = {
    "Furniture": ("Chair", "Table", "Stool", "Sofa"),
    "Lighting": ("Desk Lamp", "Floor Lamp", "Lantern", "Spotlight"),
    "Kitchen": ("Kettle", "Pan", "Teapot", "Ladle"),
    "Garden": ("Parasol", "Planter", "Hammock", "Birdhouse"),
    "Clothing": ("Jacket", "Glove", "Shirt", "Boot"),
    "Travel": ("Backpack", "Suitcase", "Tent", "Flask"),
}
STYLES = (
    ("Nordic", "Birch", "Fjord"), ("Vintage", "Antique", "Heirloom"), ("Rustic", "Farmhouse", "Oak"),
    ("Industrial", "Steel", "Factory"), ("Coastal", "Harbour", "Driftwood"), ("Royal", "Velvet", "Golden"),
    ("Playful", "Rainbow", "Jolly"), ("Urban", "Metro", "Loft"),
)  # fmt: skip
GRADES = ("Basic", "Simple", "Light", "Compact", "Classic", "Comfort", "Large", "Deluxe", "Premium", "Grand")


def simulate_clicks(
    num_sessions: int = 30_000,
    num_events: int = 240_000,
    num_items: int = 400,
    num_categories: int = 5,
    num_intents: int = 3,
    num_successors: int = 2,
    seed: int = 0,
    *,
    succession: float = 0.3,
    stickiness: float = 0.9,
    focus: float = 0.8,
    popularity_exponent: float = 0.7,
    num_days: int = 28,
    shuffle_content: bool = False,
) -> Sessions:
    """Simulates items and sessions from a documented model, `ClickModel`.

    A shop has items in categories, and each item has a style. Each session has one style as its hidden intent, which
    never changes, and starts in a category drawn by its popularity. With probability `succession` the next click goes
    to one of the last item's likely successors, regardless of style; they are near it in the same category, and the
    r-th has a probability proportional to 1/r. Otherwise the next click is browsing: it stays in the category with
    probability `stickiness` or moves to another one (for categories of the same department with four times the
    probability by popularity). There it goes, with probability `focus`, to an item of the intended style, else to any
    item, in both cases by popularity: rank^-popularity_exponent in a random order of the category's items. An item
    never follows itself.

    The clicks so far are evidence of the intent: a model with a state can predict better than one that uses only the
    last item. `Sessions.expected` holds the expected metrics of the best predictor, which infers the intent from all
    clicks of the session so far by Bayes' rule (see `ClickModel.expect`); their mean over events is the best result to
    be expected there. It is valid only while all events are kept: after filtering out items, the remaining clicks are
    more predictable than it states.

    Sessions have two events or more, about geometrically distributed, and start within `num_days` days from
    2015-04-01, more often by day than by night; the time between clicks is log-normal. The item table has title
    ("Nordic Compact Desk Lamp 17": style, position in the category, category) and category ("Lighting > Desk Lamps").

    Args:
        num_sessions, num_events, num_items: the exact size of the result.
        num_categories: number of categories, about equally large; a department has four.
        num_intents: number of intents and styles; the items of a category are divided evenly among the styles.
        num_successors: number of likely successors of an item.
        seed: seed of this generator only; the seed of a run does not change the data.
        succession, stickiness, focus: probabilities, see above.
        popularity_exponent: 0 = items of a category equally popular; larger = a longer tail.
        num_days: length of the log.
        shuffle_content: whether to permute titles and categories among the items, so that they carry no information;
            the sessions stay the same.

    Raises:
        ConfigError: a size or parameter is out of range.
    """
    _check_sizes(num_sessions, num_events, num_items, num_categories, num_intents, num_successors, num_days)
    for name, value in {"succession": succession, "stickiness": stickiness, "focus": focus}.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{name} is a probability, 0 to below 1. Received: {value}")
    if not 0 <= popularity_exponent <= 2:
        raise ConfigError(f"popularity_exponent must be 0 to 2. Received: {popularity_exponent}")

    rng = np.random.default_rng(seed)
    model, item_table = draw_shop(
        num_items, num_categories, num_intents, num_successors, succession, stickiness, focus, popularity_exponent, rng
    )
    if shuffle_content:
        order = np.random.default_rng([seed, 1]).permutation(num_items)
        item_table = item_table.iloc[order].reset_index(drop=True)
    lengths = 2 + rng.multinomial(num_events - 2 * num_sessions, _shares(num_sessions, rng))
    item, _ = model.draw(lengths, rng)
    expected = model.expect(item, lengths)
    sessions = Sessions.build(
        ids=Vocabulary(np.arange(1, num_sessions + 1)),
        session=np.repeat(np.arange(num_sessions), lengths),
        items=Vocabulary(np.arange(1, num_items + 1)),
        item=item,
        time=_draw_times(lengths, num_days, rng),
        time_kind="timestamp",
        expected=expected,
        expected_names=FIGURES,
        item_table=item_table,
    )
    best = sessions.best or {}
    return sessions.noted(
        f"Simulated: {num_sessions:,} sessions, {num_events:,} events, {num_items:,} items in {num_categories} "
        f"categories, {num_intents} hidden intents, seed {seed}; best reachable recall@20 {best['recall@20']:.4f}, "
        f"mrr@20 {best['mrr@20']:.4f} over all events but the first of each session."
    )


def draw_shop(
    num_items: int,
    num_categories: int,
    num_intents: int,
    num_successors: int,
    succession: float,
    stickiness: float,
    focus: float,
    popularity_exponent: float,
    rng: np.random.Generator,
) -> tuple[ClickModel, pd.DataFrame]:
    """Draws the click model and the item table for `simulate_clicks`; see there for the arguments."""
    slot = rng.permutation(num_items)  # so that item indices carry no information
    category, place = slot % num_categories, slot // num_categories
    style = place % num_intents
    popularity = _popularity(category, num_categories, popularity_exponent, rng)
    taken = _taken(popularity, category, style, num_categories, num_intents, focus)
    entry = rng.permutation((1.0 + np.arange(num_categories)) ** -0.5)
    often = 1 / np.arange(1, num_successors + 1)
    model = ClickModel(
        start=np.einsum("c,zcn->zn", entry / entry.sum(), taken),
        browse=np.einsum("cd,zdn->zcn", _moves(entry, stickiness), taken),
        category=category,
        successors=_draw_successors(category, place, num_successors, num_intents, rng),
        weights=often / often.sum(),
        share=succession,
    )
    item_table = pd.DataFrame(
        {
            "title": _titles(category, style, place, num_items // num_categories + 1, rng),
            "category": np.array(_category_paths(num_categories), dtype=object)[category],
        }
    )
    return model, item_table


def _check_sizes(
    num_sessions: int,
    num_events: int,
    num_items: int,
    num_categories: int,
    num_intents: int,
    num_successors: int,
    num_days: int,
) -> None:
    """Raises ConfigError if no data set of this shape exists."""
    if min(num_sessions, num_categories, num_intents, num_successors, num_days) < 1:
        raise ConfigError(
            "Simulated clicks need at least one session, category, intent, successor and day. Received: "
            f"num_sessions={num_sessions}, num_categories={num_categories}, num_intents={num_intents}, "
            f"num_successors={num_successors}, num_days={num_days}"
        )
    if num_events < 2 * num_sessions:
        raise ConfigError(
            f"{num_sessions:,} sessions of two events or more have at least {2 * num_sessions:,} events. "
            f"Received: num_events={num_events:,}"
        )
    least = num_categories * max(num_successors + 1, num_intents)
    if num_items < least:
        raise ConfigError(
            f"A category needs an item of each of the {num_intents} styles, and {num_successors} successors of each "
            f"item: at least {least:,} items in {num_categories} categories. Received: num_items={num_items:,}"
        )


def _popularity(category: np.ndarray, num_categories: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Returns (num_items,) the popularity of each item in its category: rank^-exponent, in a random order."""
    popularity = np.empty(len(category))
    for number in range(num_categories):
        members = np.flatnonzero(category == number)
        popularity[members] = (1.0 + rng.permutation(len(members))) ** -exponent
    return popularity


def _taken(
    popularity: np.ndarray, category: np.ndarray, style: np.ndarray, num_categories: int, num_intents: int, focus: float
) -> np.ndarray:
    """Returns (num_intents, num_categories, num_items) P(item | intent, category); rows sum to 1."""
    taken = np.zeros((num_intents, num_categories, len(popularity)))
    for number in range(num_categories):
        members = np.where(category == number, popularity, 0)
        taken[:, number] = (1 - focus) * members / members.sum()
        for intent in range(num_intents):
            fitting = np.where(style == intent, members, 0)
            taken[intent, number] += focus * fitting / fitting.sum()
    return taken


def _moves(entry: np.ndarray, stickiness: float) -> np.ndarray:
    """Returns (num_categories, num_categories) P(next category | category) when browsing; rows sum to 1."""
    num_categories = len(entry)
    department = np.arange(num_categories) // 4
    moves = entry * np.where(department[:, None] == department, 4.0, 1.0)
    np.fill_diagonal(moves, 0)
    if num_categories == 1:
        return np.ones((1, 1))
    return stickiness * np.eye(num_categories) + (1 - stickiness) * moves / moves.sum(axis=1, keepdims=True)


def _draw_successors(
    category: np.ndarray, place: np.ndarray, number: int, num_intents: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws (num_items, number) other items of the same category, more likely the closer their positions are."""
    successors = np.empty((len(category), number), np.int64)
    for kind in np.unique(category):
        members = np.flatnonzero(category == kind)
        apart = np.abs(place[members, None] - place[members]) / num_intents
        score = rng.gumbel(size=apart.shape) - apart  # the largest scores are draws without replacement
        np.fill_diagonal(score, -np.inf)
        successors[members] = members[np.argsort(-score, axis=1)[:, :number]]
    return successors


def _shares(num_sessions: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (num_sessions,) exponential shares, summing to 1: Poisson counts with exponential means are geometric."""
    shares = rng.exponential(size=num_sessions)
    return shares / shares.sum()


def _draw_times(lengths: np.ndarray, num_days: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (n,) float64 seconds, rounded to milliseconds: starts by weekday and hour, then times between clicks."""
    weekday = (2 + np.arange(num_days)) % 7  # the first day is a Wednesday
    day = rng.choice(num_days, len(lengths), p=WEEKDAYS[weekday] / WEEKDAYS[weekday].sum())
    hour = rng.choice(24, len(lengths), p=HOURS / HOURS.sum())
    starts = OPENING + day * DAY + (hour + rng.random(len(lengths))) * 3_600
    pauses = np.clip(THINK_TIME * rng.lognormal(0, 1, lengths.sum()), 1, LONGEST_PAUSE)
    first = np.cumsum(lengths) - lengths
    elapsed = np.cumsum(pauses)
    return np.round(np.repeat(starts - elapsed[first], lengths) + elapsed, 3)


def _category_paths(num_categories: int) -> list[str]:
    """Returns paths of department and category, "Lighting > Desk Lamps"; repeated names are numbered."""
    known = [f"{department} > {noun}s" for department, nouns in DEPARTMENTS.items() for noun in nouns]
    parts = [divmod(number, len(known)) for number in range(num_categories)]
    return [known[kind] + (f" {part + 1}" if part else "") for part, kind in parts]


def _titles(
    category: np.ndarray, style: np.ndarray, place: np.ndarray, per_category: int, rng: np.random.Generator
) -> list[str]:
    """Draws distinct titles: a word for the style, a word for the position in the category, the category, a number."""
    nouns = [noun for nouns in DEPARTMENTS.values() for noun in nouns]
    word = rng.integers(3, size=len(category))
    grade = place * len(GRADES) // per_category
    return [
        f"{STYLES[s][w] if s < len(STYLES) else f'Style {s + 1}'} {GRADES[g]} {nouns[c % len(nouns)]} {p + 1}"
        + (f" Series {c // len(nouns) + 1}" if c >= len(nouns) else "")
        for s, w, g, c, p in zip(style, word, grade, category, place, strict=True)
    ]

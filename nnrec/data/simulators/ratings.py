"""Simulated ratings with known expected values, so that the best reachable error is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary

DAY = 86_400
OPENING = 1_420_070_400  # 2015-01-01, seconds since 1970
DAYS_OPEN = 4 * 365
AGE_GROUPS = ("under 18", "18-34", "35-54", "55 and over")

GENRES = (
    "Action", "Adventure", "Comedy", "Crime", "Documentary", "Drama", "Family", "Horror", "Romance", "Science Fiction",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Broken", "Burning", "Distant", "Electric", "Empty", "Faded", "Forgotten", "Frozen", "Gentle", "Golden",
    "Hidden", "Hollow", "Iron", "Last", "Lonely", "Midnight", "Painted", "Paper", "Quiet", "Restless", "Scarlet",
    "Second", "Silent", "Silver", "Stolen", "Sunken", "Velvet", "Wandering", "Wild",
)  # fmt: skip
NOUNS = (
    "Anchor", "Bridge", "Carnival", "Compass", "Detective", "Echo", "Empire", "Garden", "Harbour", "Heir", "Horizon",
    "Island", "Kingdom", "Lantern", "Letter", "Lighthouse", "Machine", "Melody", "Mountain", "Orchard", "Passenger",
    "Promise", "River", "Shadow", "Sparrow", "Station", "Stranger", "Summer", "Tide", "Voyage",
)  # fmt: skip


def simulate_ratings(
    num_users: int = 1_500,
    num_items: int = 600,
    num_ratings: int = 300_000,
    num_factors: int = 2,
    noise: float = 1.0,
    seed: int = 0,
    *,
    mean: float = 3.4,
    user_spread: float = 0.3,
    item_spread: float = 0.3,
    taste_spread: float = 0.55,
    genre_share: float = 0.6,
    popularity_exponent: float = 0.8,
    activity_spread: float = 0.6,
    min_ratings_per_user: int = 20,
    selectivity: float = 0.5,
    half_stars: bool = False,
) -> Ratings:
    """Simulates users, items and ratings from a documented model.

        value = round(mean + b_u + b_i + taste_spread / sqrt(F) * t_u . a_i + noise * e), clipped to the scale

    with b_u ~ N(0, user_spread^2), b_i ~ N(0, item_spread^2), tastes t_u ~ N(0, I_F), e ~ N(0, 1), and attributes
    a_i of variance 1 in each of the F factors, `genre_share` of it due to the item's genres. Items are offered to users
    with probabilities proportional to rank^-popularity_exponent (without repeats), and a user rates an offered item
    with probability sigmoid(selectivity * taste_spread / sqrt(F) * t_u . a_i). The number of ratings per user is
    log-normal. `Ratings.expected` is E[value | truth], so the best reachable RMSE on any subset is
    sqrt(mean((value - expected)^2)).

    Users join over four years from 2015 and rate in visits of up to two hours; one item in five is released during
    those years, and has no rating before its release. The item table has title, genres ("Comedy|Drama") and year, the
    user table an age_group that has no influence on the ratings.

    Args:
        num_users, num_items, num_ratings: the exact size of the result.
        num_factors: F, the number of factors of tastes and attributes.
        noise: standard deviation of the unpredictable part, in stars; above 0.
        seed: seed of this generator only; the seed of a run does not change the data.
        mean, user_spread, item_spread, taste_spread: in stars.
        genre_share: share of the attributes' variance that the genres explain, 0 to 1.
        popularity_exponent: 0 = every item equally popular; larger = a longer tail.
        activity_spread: standard deviation of the logarithm of a user's activity.
        min_ratings_per_user: minimum number of ratings of a user (the maximum is 80% of the items).
        selectivity: 0 = users rate offered items regardless of taste; larger = they prefer to rate items they like.
        half_stars: values 0.5, 1, ... 5 instead of 1, 2, ... 5.

    Raises:
        ConfigError: a size or parameter is out of range.
    """
    most = int(0.8 * num_items)
    _check(num_users, num_items, num_ratings, num_factors, min_ratings_per_user, most)
    if noise <= 0:
        raise ConfigError(f"Simulated ratings need noise above 0. Received: noise={noise}")
    if not 0 <= genre_share <= 1:
        raise ConfigError(f"genre_share is a share of variance, 0 to 1. Received: {genre_share}")

    if not 0 <= popularity_exponent <= 2:
        raise ConfigError(f"popularity_exponent must be 0 to 2. Received: {popularity_exponent}")

    rng = np.random.default_rng(seed)
    genres = _draw_genres(num_items, rng)
    attributes = _attributes(genres, num_factors, genre_share, rng)
    tastes = rng.standard_normal((num_users, num_factors)) * taste_spread / np.sqrt(num_factors)
    user_bias = rng.normal(0, user_spread, num_users)
    item_bias = rng.normal(0, item_spread, num_items)

    popularity = (1.0 + rng.permutation(num_items)) ** -popularity_exponent
    activity = _draw_activity(num_users, num_ratings, min_ratings_per_user, most, activity_spread, rng)
    user, item = _draw_pairs(activity, popularity, tastes, attributes, selectivity, rng)

    truth = mean + user_bias[user] + item_bias[item] + np.einsum("nf,nf->n", tastes[user], attributes[item])
    stars = star_values(half_stars)
    step = stars[1] - stars[0]
    value = np.clip(step * np.rint((truth + noise * rng.standard_normal(len(truth))) / step), stars[0], stars[-1])
    expected = expected_value(truth, noise, half_stars)

    released = OPENING + DAY * np.where(
        rng.random(num_items) < 0.2,
        rng.integers(0, DAYS_OPEN * 3 // 4, num_items),
        -rng.integers(1, 40 * 365, num_items),
    )
    table = pd.DataFrame({"title": _draw_titles(num_items, rng), "genres": _genre_text(genres)})
    table["year"] = pd.to_datetime(released, unit="s").year
    table["title"] += " (" + table["year"].astype(str) + ")"

    ratings = Ratings.build(
        users=Vocabulary(np.arange(1, num_users + 1)),
        items=Vocabulary(np.arange(1, num_items + 1)),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        value=value.astype(np.float32),
        time=_draw_times(user, released[item], activity, rng),
        time_kind="timestamp",
        expected=expected.astype(np.float32),
        item_table=table,
        user_table=pd.DataFrame({"age_group": rng.choice(AGE_GROUPS, num_users)}),
    )
    floor = np.sqrt(np.mean((value - expected) ** 2))
    return ratings.noted(
        f"Simulated: {num_users:,} users, {num_items:,} items, {num_ratings:,} ratings from {num_factors} factors, "
        f"noise {noise}, seed {seed}; best reachable RMSE {floor:.4f} over all of them."
    )


def star_values(half_stars: bool = False) -> np.ndarray:
    """Returns the possible values of a rating, in ascending order."""
    return np.arange(0.5, 5.5, 0.5) if half_stars else np.arange(1.0, 6.0)


def expected_value(truth: np.ndarray, noise: float, half_stars: bool = False) -> np.ndarray:
    """E[round(truth + noise * e), clipped to the scale] for e ~ N(0, 1), same shape as `truth`.

    A value is at least star s_m if truth + noise * e exceeds the midpoint c_m = (s_m-1 + s_m) / 2, so the sum
    of s_m P(s_m) over the stars is s_0 + step * sum_m Phi((truth - c_m) / noise).
    """
    stars = star_values(half_stars)
    step = stars[1] - stars[0]
    midpoints = stars[1:] - step / 2
    return stars[0] + step * sum(ndtr((truth - midpoint) / noise) for midpoint in midpoints)


def _check(num_users: int, num_items: int, num_ratings: int, num_factors: int, least: int, most: int) -> None:
    """Raises ConfigError if no data set of this shape exists."""
    if min(num_users, num_items, num_factors, least) < 1:
        raise ConfigError(
            "Simulated ratings need at least one user, item, factor and rating per user. Received: "
            f"num_users={num_users}, num_items={num_items}, num_factors={num_factors}, min_ratings_per_user={least}"
        )
    if not num_users * least <= num_ratings <= num_users * most:
        raise ConfigError(
            f"{num_users:,} users with {least:,} to {most:,} ratings each (min_ratings_per_user to 80% of the items) "
            f"give {num_users * least:,} to {num_users * most:,} ratings. Received: num_ratings={num_ratings:,}"
        )


def _draw_genres(num_items: int, rng: np.random.Generator) -> np.ndarray:
    """Draws one main genre per item, and for two items in five a second one; (num_items, num_genres) bool."""
    common = 1 / np.arange(2, len(GENRES) + 2)
    main, second = rng.choice(len(GENRES), (2, num_items), p=rng.permutation(common / common.sum()))
    genres = np.zeros((num_items, len(GENRES)), bool)
    genres[np.arange(num_items), main] = True
    more = rng.random(num_items) < 0.4
    genres[more, second[more]] = True
    return genres


def _genre_text(genres: np.ndarray) -> list[str]:
    """Formats genres as in MovieLens: "Comedy|Drama"."""
    kinds, kind = np.unique(genres, axis=0, return_inverse=True)
    texts = np.array(["|".join(np.array(GENRES)[row]) for row in kinds], dtype=object)
    return texts[kind].tolist()


def _attributes(genres: np.ndarray, num_factors: int, genre_share: float, rng: np.random.Generator) -> np.ndarray:
    """Draws (num_items, num_factors): a vector per genre, averaged over the item's genres, plus a vector per item."""
    places = rng.standard_normal((genres.shape[1], num_factors))
    shared = genres @ places / genres.sum(axis=1, keepdims=True)
    shared = (shared - shared.mean(axis=0)) / np.maximum(shared.std(axis=0), 1e-9)
    return np.sqrt(genre_share) * shared + np.sqrt(1 - genre_share) * rng.standard_normal(shared.shape)


def _draw_titles(num_items: int, rng: np.random.Generator) -> list[str]:
    """Draws distinct titles; numbered sequels if there are more items than titles."""
    order = rng.permutation(num_items)
    parts, pairs = np.divmod(order, len(ADJECTIVES) * len(NOUNS))
    shuffle = rng.permutation(len(ADJECTIVES) * len(NOUNS))
    first, second = np.divmod(shuffle[pairs], len(NOUNS))
    return [
        f"{ADJECTIVES[a]} {NOUNS[b]}" + (f" {part + 1}" if part else "")
        for a, b, part in zip(first, second, parts, strict=True)
    ]


def _draw_activity(
    num_users: int, total: int, least: int, most: int, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws (num_users,) int64 between `least` and `most`, log-normal above `least`, with sum `total`."""
    weights = rng.lognormal(0, spread, num_users)

    def share(scale: float) -> np.ndarray:
        return np.minimum(least + scale * weights, most)

    amount = share(brentq(lambda scale: share(scale).sum() - total, 0, (most - least + 1) / weights.min()))
    activity = np.floor(amount + 1e-9).astype(np.int64)
    left = total - activity.sum()
    activity[np.argsort(activity - amount, kind="stable")[:left]] += 1
    return activity


def _draw_pairs(
    activity: np.ndarray,
    popularity: np.ndarray,
    tastes: np.ndarray,
    attributes: np.ndarray,
    selectivity: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws activity[u] distinct items per user, offered by popularity, rated by taste; two int64 arrays by user.

    Draws for all users at once, drops repeats and surplus items, and draws again, ever more, for users with too few.
    """
    num_users, num_items = len(activity), len(popularity)
    reach = np.cumsum(popularity) / popularity.sum()
    complete, pairs = [], np.empty(0, np.int64)
    missing, surplus = activity, 3
    while missing.any():
        user = np.repeat(np.arange(num_users), surplus * missing)
        item = np.minimum(np.searchsorted(reach, rng.random(len(user)), side="right"), num_items - 1)
        liking = np.einsum("nf,nf->n", tastes[user], attributes[item])
        taken = rng.random(len(user)) < expit(selectivity * liking)
        pairs = pd.unique(np.concatenate([pairs, (user * num_items + item)[taken]]))
        pairs = pairs[np.argsort(pairs // num_items, kind="stable")]
        owner = pairs // num_items
        found = np.bincount(owner, minlength=num_users)
        fits = np.arange(len(pairs)) - (np.cumsum(found) - found)[owner] < activity[owner]
        missing = np.where(missing > 0, np.maximum(activity - found, 0), 0)
        short = missing[owner] > 0
        complete.append(pairs[fits & ~short])
        pairs, surplus = pairs[short], 2 * surplus
    user, item = np.divmod(np.concatenate(complete), num_items)
    return user, item


def _draw_times(user: np.ndarray, released: np.ndarray, activity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws (n,) int64 seconds: a time in one of the user's visits, or soon after the item's release if that is later.

    A user has about sqrt(activity) / 2 visits, the first at joining, each some weeks after the last.
    """
    num_spells = 1 + (np.sqrt(activity) / 2).astype(np.int64)
    first = np.cumsum(num_spells) - num_spells
    gaps = rng.exponential(21 * DAY, num_spells.sum())
    gaps[first] = rng.uniform(0, DAYS_OPEN * DAY, len(activity))
    elapsed = np.cumsum(gaps)
    start = elapsed - np.repeat(elapsed[first] - gaps[first], num_spells)
    spell = first[user] + (rng.random(len(user)) * num_spells[user]).astype(np.int64)
    time = OPENING + start[spell] + rng.uniform(0, 2 * 3600, len(user))
    soon = released + rng.exponential(30 * DAY, len(user))
    return np.where(time < released, soon, time).astype(np.int64)

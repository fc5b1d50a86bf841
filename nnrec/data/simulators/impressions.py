"""Simulated impressions with known click probabilities, so that the best reachable AUC and log loss are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from scipy.special import expit

from nnrec.core.errors import ConfigError
from nnrec.data.impressions import Impressions
from nnrec.data.readers.impression_columns import Meaning, from_columns
from nnrec.data.readers.impressions import with_items
from nnrec.data.schema import Schema
from nnrec.data.simulators.ratings import ADJECTIVES, AGE_GROUPS, NOUNS
from nnrec.data.simulators.sessions import DAY, HOURS, OPENING

CATEGORIES = (
    "News", "Weather", "Games", "Music", "Video", "Sports", "Travel", "Finance", "Cooking", "Health", "Dating",
    "Shopping",
)  # fmt: skip
GENDERS = ("female", "male")
DEVICES = ("phone", "tablet", "watch")
COUNTRIES = ("Brazil", "France", "Germany", "India", "Japan", "Kenya", "Spain", "United States")
NUM_DAYS = 28
CHUNK_ROWS = 2**18

SCHEMA = Schema(
    categorical=("user", "gender", "age_group", "app", "category", "hour", "device", "country"),
    multi=("interests",),
    numeric=("price", "recency"),
    user="user",
    item="app",
    of_user=("gender", "age_group", "interests"),
    of_item=("category", "price"),
)
MEANING = Meaning(SCHEMA, label="click", time="time", time_features=("hour",))


@dataclass(frozen=True, eq=False)
class AppStore:
    """Users, apps and true parameters of `simulate_impressions`; see there.

    Attributes:
        gender, age, interests: (num_users,), (num_users,) codes and (num_users, categories) boolean.
        named: (num_users,) the interests as text, "Games|Music".
        category, price, title: (num_items,) codes, prices in dollars, and names.
        activity, popularity: (num_users,), (num_items,) cumulative probabilities of the user and the app of a row.
        of_user, of_item: (num_users,), (num_items,) first-order terms of the logit.
        of_hour, of_device, of_country: (24,), (devices,), (countries,) further first-order terms.
        by_hour: (categories, 24), the second-order term of category and hour.
        of_interest: the second-order term of an interest in the app's category, before the division by the user's
            number of interests.
        by_person: (categories, 2, ages), the third-order term of category, gender and age group.
        bias: the constant of the logit.
    """

    gender: np.ndarray
    age: np.ndarray
    interests: np.ndarray
    named: np.ndarray
    category: np.ndarray
    price: np.ndarray
    title: np.ndarray
    activity: np.ndarray
    popularity: np.ndarray
    of_user: np.ndarray
    of_item: np.ndarray
    of_hour: np.ndarray
    of_device: np.ndarray
    of_country: np.ndarray
    by_hour: np.ndarray
    of_interest: float
    by_person: np.ndarray
    bias: float

    def draw(self, number: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
        """Draws n rows: a frame of the observed columns, and (n,) the true probabilities of a click."""
        user = np.searchsorted(self.activity, rng.random(number))
        item = np.searchsorted(self.popularity, rng.random(number))
        hour = rng.choice(24, number, p=HOURS / HOURS.sum())
        time = OPENING + rng.integers(NUM_DAYS, size=number) * DAY + hour * 3_600 + rng.integers(3_600, size=number)
        device = rng.choice(len(DEVICES), number, p=[0.7, 0.25, 0.05])
        country = rng.choice(len(COUNTRIES), number)
        recency = np.round(rng.exponential(24, number), 2)
        category, interests = self.category[item], self.interests[user]
        first = self.of_user[user] + self.of_item[item] + self.of_hour[hour] + self.of_device[device]
        first += self.of_country[country] + 0.3 * (2.5 - np.log1p(recency))
        interested = interests[np.arange(number), category] / np.maximum(interests.sum(axis=1), 1)
        second = self.by_hour[category, hour] + self.of_interest * interested
        third = self.by_person[category, self.gender[user], self.age[user]]
        chance = expit(self.bias + first + second + third)
        frame = pd.DataFrame(
            {
                "click": (rng.random(number) < chance).astype(np.int8),
                "user": user + 1,
                "gender": np.array(GENDERS)[self.gender[user]],
                "age_group": np.array(AGE_GROUPS)[self.age[user]],
                "interests": self.named[user],
                "app": item + 1,
                "category": np.array(CATEGORIES)[category],
                "price": self.price[item],
                "time": time,
                "device": np.array(DEVICES)[device],
                "country": np.array(COUNTRIES)[country],
                "recency": recency,
            }
        )
        return frame, chance


def simulate_impressions(
    num_rows: int = 300_000,
    num_users: int = 1_000,
    num_items: int = 200,
    seed: int = 0,
    *,
    first: float = 0.7,
    second: float = 0.9,
    third: float = 0.9,
    popularity_exponent: float = 0.7,
) -> Impressions:
    """Simulates users, apps and clicks from a documented model.

    An app store shows apps. A row has the user (with gender, age group and up to three interests), the app (with
    category and price), and the context (hour, device, country, hours since the last visit). The click is a Bernoulli
    draw with probability

        sigmoid(bias + first order + second order + third order)

        first order   a term for each gender, age group, app, hour, device and country; - 0.3 ln(1 + price);
                      - 0.3 ln(1 + hours since the last visit)
        second order  category x hour: a cosine with the period of a day, which peaks at an hour of each category's
                      own; category x interests: positive if the category is among the user's interests, divided by
                      their number (masked mean pooling of the interests can represent this)
        third order   category x gender x age group: for each category and age group the terms of men and women have
                      opposite signs, and the terms sum to zero over ages and over categories. No two of the three
                      columns carry any information about it, so a factorisation machine of these columns cannot
                      learn it, whatever its size.

    Everything else is noise. `data.preprocessing.ignore` hides the user id from the model: the id determines gender and
    age, which would turn the third-order term into a second-order term of user and category.

    User and app are drawn independently: users with log-normal activity, apps with probabilities proportional to
    rank^-popularity_exponent. Rows are in order of time, over 28 days from 2015-04-01. `Impressions.expected` is the
    true probability: its AUC and log loss on a set of rows are the best that any model can be expected to reach there.

    Args:
        num_rows, num_users, num_items: the exact size; apps without a row are not in the data.
        seed: seed of this generator only; the seed of a run does not change the data.
        first, second, third: standard deviations of the terms of the logit (of the first without price and visit).
        popularity_exponent: 0 = apps equally popular; larger = a longer tail.

    Raises:
        ConfigError: a size or parameter is out of range.
    """
    if num_rows < 1:
        raise ConfigError(f"Simulated impressions need at least one row. Received: num_rows={num_rows}")
    store = draw_store(num_users, num_items, seed, first, second, third, popularity_exponent)
    frame, chance = store.draw(num_rows, np.random.default_rng([seed, 2]))
    order = np.argsort(frame["time"].to_numpy(), kind="stable")
    frame, chance = frame.iloc[order].reset_index(drop=True), chance[order]
    impressions = from_columns({name: frame[name] for name in frame.columns}, MEANING, "the simulation")
    names = np.array(CATEGORIES)[store.category]
    items = pd.DataFrame({"item": np.arange(1, num_items + 1), "title": store.title, "category": names})
    auc, loss = _reached(chance, frame["click"].to_numpy())
    note = (
        f"Simulated: {num_rows:,} rows, {num_users:,} users, {num_items:,} apps, seed {seed}; best reachable AUC "
        f"{auc:.4f}, log loss {loss:.4f} over all rows."
    )
    return with_items(replace(impressions, expected=chance.astype(np.float32), notes=(note,)), items)


def write_impressions(path: str | Path, num_rows: int, num_users: int, num_items: int, seed: int = 0) -> None:
    """Writes simulated rows to a CSV file, chunk by chunk, not ordered by time; `data=impressions` reads it."""
    store, writer = draw_store(num_users, num_items, seed), None
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    for frame in _parts(store, num_rows, seed):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pyarrow.csv.CSVWriter(str(path), table.schema, write_options=options)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _parts(store: AppStore, num_rows: int, seed: int) -> Iterator[pd.DataFrame]:
    for number, start in enumerate(range(0, num_rows, CHUNK_ROWS)):
        rng = np.random.default_rng([seed, 3, number])
        yield store.draw(min(CHUNK_ROWS, num_rows - start), rng)[0]


def draw_store(
    num_users: int,
    num_items: int,
    seed: int = 0,
    first: float = 0.7,
    second: float = 0.9,
    third: float = 0.9,
    popularity_exponent: float = 0.7,
) -> AppStore:
    """Draws users, apps and parameters for `simulate_impressions`; see there for the arguments.

    Raises:
        ConfigError: a size or parameter is out of range.
    """
    least = len(CATEGORIES)
    if num_users < 1 or num_items < least:
        raise ConfigError(
            f"Simulated impressions need at least one user, and an app of each of the {least} categories. Received: "
            f"num_users={num_users}, num_items={num_items}"
        )
    for name, value in {"first": first, "second": second, "third": third}.items():
        if not 0 <= value <= 5:
            raise ConfigError(f"{name} is a standard deviation, 0 to 5. Received: {value}")
    if not 0 <= popularity_exponent <= 2:
        raise ConfigError(f"popularity_exponent must be 0 to 2. Received: {popularity_exponent}")
    rng = np.random.default_rng([seed, 1])
    # Every combination of gender and age group is equally frequent, as are the categories.
    kind = rng.permutation(num_users) % (len(GENDERS) * len(AGE_GROUPS))
    gender, age = kind % 2, kind // 2
    category = rng.permutation(num_items) % least
    interests = rng.random((num_users, least)).argsort(axis=1) < rng.integers(0, 4, num_users)[:, None]
    price = np.where(rng.random(num_items) < 0.6, 0, np.round(rng.lognormal(1, 0.7, num_items), 2))
    activity = rng.lognormal(0, 0.5, num_users)
    popularity = (1.0 + rng.permutation(num_items)) ** -popularity_exponent
    of_user = rng.normal(size=2)[gender] + rng.normal(size=len(AGE_GROUPS))[age]
    of_item = 2 * rng.normal(size=num_items)
    of_hour, of_device, of_country = (rng.normal(size=size) for size in (24, len(DEVICES), len(COUNTRIES)))
    parts = [part - part.mean() for part in (of_user, of_item, of_hour, of_device, of_country)]
    spread = np.sqrt(sum(part.var() for part in parts))
    of_user, of_item, of_hour, of_device, of_country = (part * first / spread for part in parts)
    peak = 24 * (rng.permutation(least) + rng.random()) / least
    by_hour = np.cos(2 * np.pi * (np.arange(24) - peak[:, None]) / 24)
    by_hour -= by_hour @ (HOURS / HOURS.sum())[:, None]  # zero mean over a day for each category
    shares = np.bincount(category, popularity) / popularity.sum(), np.bincount(age, activity) / activity.sum()
    by_person = _centred(rng.normal(size=(least, len(AGE_GROUPS))), *shares)
    by_person = by_person[:, None] * np.array([-1.0, 1.0])[:, None]
    return AppStore(
        gender=gender,
        age=age,
        interests=interests,
        named=_interests(interests),
        category=category,
        price=price,
        title=np.array([_title(number) for number in rng.permutation(num_items)], dtype=object),
        activity=np.cumsum(activity) / activity.sum(),
        popularity=np.cumsum(popularity) / popularity.sum(),
        of_user=of_user,
        of_item=of_item - 0.3 * np.log1p(price),
        of_hour=of_hour,
        of_device=of_device,
        of_country=of_country,
        # The terms of hours and of interests have the variance second^2 together: shares 0.85 and 0.15.
        by_hour=by_hour * second * np.sqrt(0.85) / by_hour.std(),
        of_interest=second * np.sqrt(0.15) / max(_spread_of_interests(interests), 1e-9),
        by_person=by_person * third / max(float(by_person.std()), 1e-9),
        bias=-1.2,
    )


def _centred(table: np.ndarray, by_row: np.ndarray, by_column: np.ndarray) -> np.ndarray:
    """Centres a table so that its weighted row and column sums are zero."""
    rows, columns = by_row @ table, table @ by_column
    return table - rows - columns[:, None] + by_row @ columns


def _spread_of_interests(interests: np.ndarray) -> float:
    """Returns the standard deviation, over users and categories, of interested (0 or 1) / number of interests."""
    return float((interests / np.maximum(interests.sum(axis=1, keepdims=True), 1)).std())


def _interests(interests: np.ndarray) -> np.ndarray:
    """Returns (num_users,) texts such as "Games|Music", "" without interests."""
    kinds, which = np.unique(interests @ (1 << np.arange(len(CATEGORIES))), return_inverse=True)
    texts = ["|".join(name for bit, name in enumerate(CATEGORIES) if kind >> bit & 1) for kind in kinds.tolist()]
    return np.array(texts, dtype=object)[which]


def _title(number: int) -> str:
    adjective, noun = divmod(number % (len(ADJECTIVES) * len(NOUNS)), len(NOUNS))
    part = number // (len(ADJECTIVES) * len(NOUNS))
    return f"{ADJECTIVES[adjective]} {NOUNS[noun]}" + (f" {part + 1}" if part else "")


def _reached(chance: np.ndarray, click: np.ndarray) -> tuple[float, float]:
    """Returns AUC (0.5 if all labels are equal) and log loss of the true probability."""
    from sklearn.metrics import log_loss, roc_auc_score

    both = 0 < click.sum() < len(click)
    return float(roc_auc_score(click, chance)) if both else 0.5, float(log_loss(click, chance, labels=[0, 1]))

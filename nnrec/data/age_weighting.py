"""Age weighting: the weight of a rating decays with its age."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings

SECONDS_PER_DAY = 86_400
# Lower bound of the age factor: weight 0 marks padding.
LEAST = 1e-30


def age_weighted(ratings: Ratings, half_life_days: float, now: int | None = None) -> Ratings:
    """Returns the ratings with weights that halve with every half-life of age.

        weight * 0.5 ** (age in days / half_life_days)

    For training data only: held-out targets all have the same weight.

    Args:
        ratings: the training ratings.
        half_life_days: half-life in days, above 0.
        now: the time at which the age is 0, in seconds since 1970; None = the latest time among the ratings. Later
            ratings have age 0 too.

    Raises:
        ConfigError: the half-life is not a number above 0.
        DataError: the ratings have no times, or only an order within each user.
    """
    check_half_life(ratings, half_life_days)
    if not len(ratings):
        return ratings
    time = np.asarray(ratings.time)
    age = np.maximum((time.max() if now is None else now) - time, 0) / SECONDS_PER_DAY
    factor = np.maximum(0.5 ** (age / half_life_days), LEAST).astype(np.float32)
    return replace(ratings, weight=factor if ratings.weight is None else ratings.weight * factor)


def check_half_life(ratings: Ratings, half_life_days: Any) -> None:
    """Checks that these ratings can be weighted by age.

    Raises:
        ConfigError, DataError: as `age_weighted`.
    """
    number = isinstance(half_life_days, (int, float)) and not isinstance(half_life_days, bool)
    if not number or not 0 < half_life_days < math.inf:
        raise ConfigError(f"half_life_days must be a number of days above 0, or null. Received: {half_life_days!r}")
    if ratings.time is None or ratings.time_kind != "timestamp":
        lack = "have no times" if ratings.time is None else "know only the order of each user's ratings, not when"
        raise DataError(f"Age weighting (half_life_days) needs dates; these data {lack}. Set half_life_days=null.")

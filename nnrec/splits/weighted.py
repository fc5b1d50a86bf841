"""A split whose training ratings are weighted by age."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnrec.data.age_weighting import age_weighted
from nnrec.splits.split import HeldOut


def weighted_by_age(split: Any, half_life_days: float | None) -> Any:
    """The split with its training ratings and histories weighted by age, where the data ask for it.

    What is to be predicted counts as before.
    """
    if half_life_days is None:
        return split
    train = age_weighted(split.train, half_life_days)
    now = int(split.train.time.max())

    def aged(part: HeldOut) -> HeldOut:
        known = part.history is split.train
        return HeldOut(train if known else age_weighted(part.history, half_life_days, now), part.target)

    return replace(split, train=train, validation=aged(split.validation), test=aged(split.test))

"""Age weighting of a split's training ratings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnrec.data.age_weighting import age_weighted
from nnrec.splits.split import HeldOut


def weighted_by_age(split: Any, half_life_days: float | None) -> Any:
    """Returns the split with its training ratings and histories weighted by age; `half_life_days` None = unchanged.

    The weights of the targets do not change.
    """
    if half_life_days is None:
        return split
    train = age_weighted(split.train, half_life_days)
    now = int(split.train.time.max())

    def aged(part: HeldOut) -> HeldOut:
        known = part.history is split.train
        return HeldOut(train if known else age_weighted(part.history, half_life_days, now), part.target)

    return replace(split, train=train, validation=aged(split.validation), test=aged(split.test))

"""Held-out shares of the data."""

from __future__ import annotations

import re

from nnrec.core.errors import ConfigError

_FOLD = re.compile(r"(\d+)/(\d+)")


def first_of_last(share: float, number: int) -> int:
    """Returns the start of the last share of `number` sorted entries; the share has at least one entry."""
    return min(number - round(share * number), number - 1)


def check_shares(**shares: float) -> None:
    """Raises ConfigError if a share of the split group is not in (0, 1)."""
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            parts = isinstance(share, str) and bool(_FOLD.fullmatch(share))
            why = " (only splits that draw it at random take one of several equal parts)" if parts else ""
            raise ConfigError(f"split.{name} must be a share above 0 and below 1. Received: {share!r}{why}")


def check_drawn(validation: float | str) -> None:
    """Raises ConfigError if split.validation is neither a share nor one of several equal parts, such as "2/5"."""
    if isinstance(validation, str) and (found := _FOLD.fullmatch(validation)):
        fold, folds = map(int, found.groups())
        if 1 <= fold <= folds >= 2:
            return
        raise ConfigError(f"split.validation must be one of the parts 1/{folds} to {folds}/{folds}, of two or more.")
    check_shares(validation=validation)  # type: ignore[arg-type]


def interval(share: float | str) -> tuple[float, float]:
    """Returns the interval of draws in [0, 1) that are held out: from 0 to a share, or for "2/5" from .2 to .4.

    The parts "1/k" to "k/k" are disjoint, of equal size, and cover everything.
    """
    if isinstance(share, str):
        fold, folds = map(int, share.split("/"))
        return (fold - 1) / folds, fold / folds
    return 0.0, share


def percent(share: float | str) -> str:
    """Formats a share for messages: 0.05 is "5%", "2/5" is "part 2 of 5 equal ones"."""
    if isinstance(share, str):
        return "part {} of {} equal ones".format(*share.split("/"))
    return f"{100 * share:g}%"

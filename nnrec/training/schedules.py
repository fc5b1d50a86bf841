"""Learning rates by epoch, as pure functions of the epoch and of what was measured so far.

Nothing here has a state, so an interrupted run resumes on the same learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# Of validation data, and at last of training data.
LOSSES = ("val_log_loss", "val_rmse", "loss")

History = Sequence[Mapping[str, float]]


class Schedule(Protocol):
    """What to multiply the learning rate with."""

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        """The factor for an epoch.

        Args:
            epoch: 0 in the first epoch.
            epochs: how many are planned.
            history: what was measured in the `epoch` epochs before this one, in order.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout."""

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Down from 1 to `floor` on half a cosine wave (Loshchilov & Hutter 2017, without restarts).

    Args:
        floor: the factor that the wave ends on.
        warmup: epochs over which the factor first rises linearly to 1.
    """

    floor: float = 0.0
    warmup: int = 0

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        share = (epoch - self.warmup + 0.5) / max(epochs - self.warmup, 1)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@dataclass(frozen=True)
class Steps:
    """Times `factor` at each of the given shares of the planned epochs."""

    at: Sequence[float] = (0.8,)
    factor: float = 0.1

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        return self.factor ** sum(epoch >= share * epochs for share in self.at)


@dataclass(frozen=True)
class Plateau:
    """Times `factor` whenever the loss has not fallen for `patience` epochs.

    Args:
        monitor: the column of the history to look at; lower is better. "auto" = of `LOSSES` the first that there is.
        factor: what to multiply with.
        patience: epochs without a new lowest value (or since the last reduction) to wait for.
        floor: the factor never falls below this.
    """

    monitor: str = "val_rmse"
    factor: float = 0.1
    patience: int = 3
    floor: float = 1e-3

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        result, best, waited = 1.0, math.inf, 0
        for row in history:
            value = row[next(name for name in LOSSES if name in row) if self.monitor == "auto" else self.monitor]
            if value < best:
                best, waited = value, 0
            else:
                waited += 1
            if waited >= self.patience:
                result, waited = max(result * self.factor, self.floor), 0
        return result

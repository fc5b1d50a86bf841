"""Learning-rate schedules per epoch, as pure functions of the epoch and of the figures of earlier epochs.

They are stateless, so an interrupted run resumes with the same learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# The losses that monitor=auto looks for, in this order: on validation data first, then on training data.
LOSSES = ("val_log_loss", "val_rmse", "loss")

History = Sequence[Mapping[str, float]]


class Schedule(Protocol):
    """Returns the factor of the learning rate for each epoch."""

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        """The factor for an epoch.

        Args:
            epoch: 0 in the first epoch.
            epochs: number of planned epochs.
            history: losses and metrics of the `epoch` epochs before this one, in order.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """A constant learning rate."""

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Decays from 1 to `floor` along half a cosine wave (Loshchilov & Hutter 2017, without restarts).

    Args:
        floor: the final factor.
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
    """Multiplies the learning rate by `factor` at each of the given fractions of the planned epochs."""

    at: Sequence[float] = (0.8,)
    factor: float = 0.1

    def __call__(self, epoch: int, epochs: int, history: History) -> float:
        return self.factor ** sum(epoch >= share * epochs for share in self.at)


@dataclass(frozen=True)
class Plateau:
    """Multiplies the learning rate by `factor` whenever the loss has not fallen for `patience` epochs.

    Args:
        monitor: the monitored column of the history; lower is better. "auto" = the first of `LOSSES` that exists.
        factor: the multiplier of each reduction.
        patience: epochs to wait without a new lowest value (or since the last reduction).
        floor: lower bound of the total factor.
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

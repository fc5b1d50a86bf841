"""The parts of split data: training, validation, test."""

from __future__ import annotations

from typing import Any

TRAIN, VALIDATION, TEST = 0, 1, 2


class Parts:
    """Base class of data that are already split into training, validation and test part; a data source may return it.

    Attributes:
        train: the training data: `Ratings`, `Sessions` or `Impressions`.
    """

    train: Any

"""The parts that data are split into."""

from __future__ import annotations

from typing import Any

TRAIN, VALIDATION, TEST = 0, 1, 2


class Parts:
    """Base of data that are split into training, validation and test part: a source of data may return such.

    Attributes:
        train: what a model learns from: `Ratings`, `Sessions` or `Impressions`.
    """

    train: Any

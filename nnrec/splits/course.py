"""The split of the course's evaluation protocol."""

from __future__ import annotations

from dataclasses import dataclass

from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings
from nnrec.splits.shares import check_shares
from nnrec.splits.split import Split


@dataclass(frozen=True)
class CourseSplit:
    """The shares of the course's evaluation protocol, which makes the parts itself.

    Args:
        test: share of all ratings for the test part, on which accuracy is measured.
        validation: share of the rest for the validation part.
    """

    test: float = 0.25
    validation: float = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test, validation=self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        raise ConfigError("split=course is the split of evaluation=course: choose that as well, or another split.")

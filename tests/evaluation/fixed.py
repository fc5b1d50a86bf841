"""A model with fixed scores, and ratings of four users and five items to evaluate it on."""

from __future__ import annotations

import numpy as np

from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.models.base.scorer import Scorer
from nnrec.splits.split import HeldOut

SCORES = np.array(
    [
        [5, 4, 3, 2, 1],
        [1, 2, 3, 4, 7],
        [3, 3, 3, 3, 3],
        [1, 1, 1, 1, 9],
    ],
    np.float32,
)


class Fixed(Scorer):
    """Scores each user by a fixed row of scores, and records which users were encoded."""

    name = "fixed"
    family = "ratings"
    capabilities = frozenset({"rating_scale"})
    rating_scale = np.array([1, 5], np.float32)

    def __init__(self, scores=SCORES):
        self.scores, self.asked = np.asarray(scores, np.float32), []

    def encode(self, batch):
        self.asked += batch["index"][batch["index"] >= 0].tolist()
        return np.maximum(batch["index"], 0)

    def score(self, queries, items=None):
        return self.scores[queries] if items is None else self.scores[queries][:, items]


class Unscaled(Fixed):
    """The same scores, declared not to be ratings."""

    capabilities = frozenset()


def ratings(entries, num_users=4, num_items=5, weight=None, expected=None, item_table=None) -> Ratings:
    user, item, value = zip(*entries, strict=True) if entries else ((), (), ())
    return Ratings.build(
        users=Vocabulary(f"u{number}" for number in range(num_users)),
        items=Vocabulary(f"i{number}" for number in range(num_items)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.array(value, np.float32),
        weight=None if weight is None else np.array(weight, np.float32),
        expected=None if expected is None else np.array(expected, np.float32),
        item_table=item_table,
    )


# User 2 has no history, user 3 has nothing to be predicted. Items 0 ... 4 have 2, 1, 1, 1 and 0 ratings.
HISTORY = ratings([(0, 0, 5), (1, 3, 2), (3, 0, 1), (3, 1, 2), (3, 2, 2)])
TARGET = ratings([(0, 1, 4), (0, 4, 2), (1, 4, 5), (2, 1, 1)])
HELD_OUT = HeldOut(HISTORY, TARGET)
# One held-out item for each of users 0, 1 and 2.
ONE_EACH = HeldOut(HISTORY, ratings([(0, 1, 4), (1, 4, 5), (2, 1, 1)]))

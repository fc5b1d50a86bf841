"""Random: random scores, the lower bound of any recommender."""

from __future__ import annotations

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline


class Random(Baseline):
    """Scores items by reproducible random numbers.

    Source: none; the usual random baseline, which every recommender should exceed.

    In: a user of the training data, or any history. Out: (B, num_items) float32 in [0, 1).

    Differs: scores are not drawn in sequence from a generator. A score is a hash (SplitMix64 of Steele, Lea,
    Flood: Fast Splittable Pseudorandom Number Generators, 2014) of the seed, the item and the user's index,
    or, for users without an index, the set of items in the history. There is no state, so that users get the
    same scores however they are batched.

    Args:
        num_users, num_items: sizes of the data.
        seed: different seeds give different scores.
    """

    family = "implicit"
    capabilities = frozenset({"new_users"})
    personal = False

    def __init__(self, num_users: int, num_items: int, *, seed: int = 0, name: str = "random") -> None:
        super().__init__(num_users, num_items, name=name)
        self.seed = seed

    def fit(self, train: Ratings) -> None:
        """Does nothing."""

    def encode(self, batch: Batch) -> np.ndarray:
        """(B,) uint64 hash keys of the users or their histories."""
        entries = batch["weight"] > 0
        contents = np.zeros(len(batch["index"]), np.uint64)
        np.add.at(contents, batch["row"][entries], _mixed(batch["column"][entries]))
        known = batch["index"] >= 0
        people = np.where(known, batch["index"].astype(np.uint64), contents)
        return _mixed(_mixed(people) + known + np.uint64(2) * _mixed(np.array([self.seed])))

    def score(self, queries: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        items = np.arange(self.num_items) if items is None else items
        bits = _mixed(queries[:, None] ^ _mixed(items)[None, :])
        return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: 64 well-mixed bits of each integer."""
    bits = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ bits >> np.uint64(31)

"""Splits drawn by a hash of seed, user id and item id: independent of machine and order of computation.

    z = (hash of the user id  XOR  rotated hash of the item id) + (seed + 1) * 0x9E3779B97F4A7C15  (mod 2^64)

is mixed by the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014); the
upper 53 bits are the draw, uniform in [0, 1). Ids are hashed as text (`nnrec.data.levels.hashed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nnrec.data.levels import hashed
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.ratings import Ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.splits.shares import check_drawn, check_shares, interval, percent
from nnrec.splits.split import Split, assemble
from nnrec.splits.users import check_user_shares, hold_out

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def id_hashes(vocabulary: Vocabulary) -> np.ndarray:
    """Returns (n,) uint64, the hash of each raw id."""
    return hashed(pa.array(vocabulary.index.astype(str), pa.string()))


def draws(seed: int, user: np.ndarray, item: np.ndarray | None = None) -> np.ndarray:
    """Returns (n,) float64 draws in [0, 1).

    Args:
        seed: seed of the split.
        user, item: (n,) uint64, hashes of the ids; without `item` one draw per user.
    """
    rotated = np.uint64(0) if item is None else item << np.uint64(32) | item >> np.uint64(32)
    bits = (user ^ rotated) + np.uint64((seed + 1) * int(_STEP) % 2**64)
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        bits = (bits ^ bits >> np.uint64(shift)) * factor
    bits = bits ^ bits >> np.uint64(31)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Hashed:
    """About a share of all ratings for test and of the rest for validation, drawn by hash."""

    test: float = 0.1
    validation: float | str = 0.05

    def __post_init__(self) -> None:
        check_shares(test=self.test)
        check_drawn(self.validation)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        users, items = id_hashes(ratings.users), id_hashes(ratings.items)
        drawn = draws(seed, users[ratings.user], items[ratings.item])
        return assemble(ratings, self.parts(drawn), self.how(seed))

    def parts(self, drawn: np.ndarray) -> np.ndarray:
        """Returns (n,) int8, the part of ratings with these draws."""
        return in_turn(drawn, self.test, *(self.test + (1 - self.test) * end for end in interval(self.validation)))

    def how(self, seed: int) -> str:
        """Describes what is held out."""
        how = f"About {percent(self.test)} of the ratings for test and {percent(self.validation)} of the rest for "
        return f"{how}validation, by a hash of user, item and seed {seed}"


@dataclass(frozen=True)
class HashedUsers:
    """`nnrec.splits.HeldOutUsers` with users and histories drawn by hash; the shares of users are approximate."""

    test: float = 0.1
    validation: float | str = 0.1
    fold_in: float = 0.8

    def __post_init__(self) -> None:
        check_user_shares(self.test, self.validation, self.fold_in)

    def __call__(self, ratings: Ratings, seed: int) -> Split:
        users, items = id_hashes(ratings.users), id_hashes(ratings.items)

        def order(kept: Ratings) -> np.ndarray:
            drawn = draws(seed, users[kept.user], items[kept.item])
            ascending = np.lexsort((kept.item, drawn, kept.user))
            place = np.empty(len(kept), np.int64)
            starts = np.cumsum(kept.activity) - kept.activity
            place[ascending] = np.arange(len(kept)) - starts[kept.user[ascending]]
            return place

        by = f"by a hash of user, item and seed {seed}"
        return hold_out(ratings, self.roles(draws(seed, users), ratings.activity), order, self.fold_in, by)

    def roles(self, drawn: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Returns (num_users,) int8, the part of users with these draws and numbers of ratings."""
        of = 1 - self.test if isinstance(self.validation, str) else 1.0
        role = in_turn(drawn, self.test, *(self.test + of * end for end in interval(self.validation)))
        return np.where(count >= 2, role, np.int8(TRAIN))


def in_turn(drawn: np.ndarray, test: float, first: float, end: float) -> np.ndarray:
    """Returns (n,) int8 parts: TEST for draws below `test`, VALIDATION in [`first`, `end`), TRAIN otherwise."""
    validated = (drawn >= first) & (drawn < end)
    return np.where(drawn < test, TEST, np.where(validated, VALIDATION, TRAIN)).astype(np.int8)

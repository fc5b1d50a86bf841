"""Splits by hash: the draw in a worked example, and independence of the other users and items in the data."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.data.parts import TEST, TRAIN, VALIDATION
from nnrec.data.vocabulary import Vocabulary
from nnrec.splits.hashed import Hashed, HashedUsers, draws, id_hashes
from tests.splits.test_shards import made

MASK = 2**64 - 1


def by_hand(seed: int, user: int, item: int) -> float:
    """The formula of the module in Python's unbounded integers."""
    rotated = (item << 32 | item >> 32) & MASK
    z = ((user ^ rotated) + (seed + 1) * 0x9E3779B97F4A7C15) & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return ((z ^ z >> 31) >> 11) / 2**53


def test_a_draw_worked_out_by_hand():
    users, items = np.array([0, 1, 2**63 + 12345], np.uint64), np.array([0, 7, 2**64 - 1], np.uint64)
    for seed in (0, 1, 2**32 - 1):
        expected = [by_hand(seed, int(user), int(item)) for user, item in zip(users, items, strict=True)]
        assert draws(seed, users, items).tolist() == expected
    # SplitMix64 of state 0 begins with 0xE220A8397B1DCDAF (Steele, Lea, Flood), whose upper 53 bits these are.
    assert draws(0, np.zeros(1, np.uint64)).tolist() == [(0xE220A8397B1DCDAF >> 11) / 2**53]


def test_draws_are_uniform_and_independent_of_the_kind_of_id():
    users, items = (id_hashes(Vocabulary(np.arange(number))) for number in (500, 400))
    drawn = draws(0, np.repeat(users, 400), np.tile(items, 500))
    assert len(np.unique(drawn)) == 200_000
    counts = np.histogram(drawn, 20, (0, 1))[0]
    assert abs(counts - 10_000).max() < 500  # five standard deviations
    assert id_hashes(Vocabulary(["3", "17"])).tolist() == id_hashes(Vocabulary([3, 17])).tolist()


def test_a_rating_stays_in_its_part_when_others_go():
    ratings = made()
    split = Hashed(0.2, 0.25)(ratings, 0)
    parts = {TRAIN: split.train, VALIDATION: split.validation.target, TEST: split.test.target}
    where = {(u, i): code for code, part in parts.items() for u, i in zip(part.user, part.item, strict=True)}
    assert len(where) == 800
    assert 110 < len(parts[TEST]) < 210 and 110 < len(parts[VALIDATION]) < 210
    fewer = Hashed(0.2, 0.25)(ratings.take(ratings.item % 3 > 0), 0)
    for code, part in ((TRAIN, fewer.train), (VALIDATION, fewer.validation.target), (TEST, fewer.test.target)):
        assert all(where[pair] == code for pair in zip(part.user, part.item, strict=True))
    other = Hashed(0.2, 0.25)(ratings, 1).test.target
    assert {*zip(other.user, other.item, strict=True)} != {pair for pair, code in where.items() if code == TEST}
    assert split.definition.startswith(
        "About 20% of the ratings for test and 25% of the rest for validation, by a hash"
    )


def test_users_held_out_by_hash():
    ratings = made()
    split = HashedUsers(0.3, 0.2, 0.7)(ratings, 0)
    assert split.new_users
    groups = [set(part.user) for part in (split.train, split.validation.target, split.test.target)]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert len(groups[1]) in range(4, 18) and len(groups[2]) in range(8, 24)
    assert np.isin(split.test.target.item, split.train.item).all()
    for part in (split.validation, split.test):
        shown, wanted = part.history.activity, part.target.activity
        some = shown + wanted > 0
        # round(0.7 n), at least 1 and at most n - 1
        n = (shown + wanted)[some]
        assert shown[some].tolist() == np.clip(np.floor(0.7 * n + 0.5), 1, n - 1).tolist()
    # Users in both data sets are in the same part.
    fewer = HashedUsers(0.3, 0.2, 0.7)(ratings.take(ratings.user % 2 == 0), 0)
    assert set(fewer.test.target.user) <= groups[2] and set(fewer.validation.target.user) <= groups[1]


def test_shares_out_of_range():
    with pytest.raises(ConfigError, match="split.test must be a share"):
        Hashed(1.0)
    with pytest.raises(ConfigError, match="must add up to less than 1"):
        HashedUsers(0.6, 0.4)

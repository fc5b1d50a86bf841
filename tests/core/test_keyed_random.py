"""Random draws that depend on their key only."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from nnrec.core.keyed_random import dropout_mask, normal, row_keys, uniform


def drawn(keys, columns) -> np.ndarray:
    return ops.convert_to_numpy(uniform(ops.convert_to_tensor(keys), ops.convert_to_tensor(columns)))


GRID = np.arange(400, dtype=np.int32)


def test_the_same_numbers_on_every_backend():
    """Golden values: a key of 0 and a column of 0 leave only the hash of 0."""

    def reference(key: int, column: int) -> float:
        bits = key ^ (column * 0x85EBCA6B & 0xFFFFFFFF)
        for _ in range(2):
            bits = (bits ^ bits >> 16) * 0x21F0AAAD & 0xFFFFFFFF
            bits = (bits ^ bits >> 15) * 0x735A2D97 & 0xFFFFFFFF
            bits = (bits ^ bits >> 15) + 0x9E3779B9 & 0xFFFFFFFF
        return (bits >> 8) / 2**24

    keys = np.array([0, 1, 77, 2**31, 2**32 - 1], np.uint32)
    columns = np.array([0, 1, 2, 999_999], np.int32)
    expected = [[reference(int(key), int(column)) for column in columns] for key in keys]
    np.testing.assert_array_equal(drawn(keys[:, None], columns[None, :]), np.array(expected, np.float32))


def test_uniform():
    numbers = drawn(row_keys(0, 0, GRID)[:, None], GRID[None, :])
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0 and numbers.max() < 1
    # 160,000 draws: the mean's standard deviation is 1 / sqrt(12 * 160,000) = .0007
    assert numbers.mean() == pytest.approx(0.5, abs=0.004)
    assert numbers.var() == pytest.approx(1 / 12, rel=0.02)
    # 16 classes of 10,000 expected: chi-squared with 15 degrees of freedom, 45 is a chance of 1 in 10,000
    counts = np.histogram(numbers, bins=16, range=(0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 45
    # Rows, columns and diagonals are uncorrelated: standard deviation 1 / sqrt(160,000) = .0025
    centred = numbers - numbers.mean()
    for shifted in (
        centred[1:, :] * centred[:-1, :],
        centred[:, 1:] * centred[:, :-1],
        centred[1:, 1:] * centred[:-1, :-1],
    ):
        assert abs(shifted.mean() * 12) < 0.015
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.08 and np.abs(numbers.mean(axis=1) - 0.5).max() < 0.08


def test_a_draw_does_not_know_its_place_in_the_batch():
    keys = row_keys(3, 1, GRID)
    whole = drawn(keys[:, None], GRID[None, :])
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(drawn(row_keys(3, 1, GRID[order])[:, None], GRID[None, :]), whole[order])
    np.testing.assert_array_equal(drawn(keys[7:9], GRID[5:7]), whole[[7, 8], [5, 6]])


def test_keys():
    keys = row_keys(0, 0, np.arange(100_000))
    assert keys.dtype == np.uint32
    # one to one: no two rows share a key
    assert len(np.unique(keys)) == len(keys)
    for other in (row_keys(1, 0, np.arange(100_000)), row_keys(0, 1, np.arange(100_000))):
        assert (keys == other).mean() < 1e-3


def test_epochs_and_seeds_draw_anew():
    first, second, third = (drawn(row_keys(seed, epoch, GRID), GRID) for seed, epoch in ((0, 0), (0, 1), (1, 0)))
    for one, other in ((first, second), (first, third), (second, third)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7])
def test_dropout_keeps_the_mean(rate):
    keys = ops.convert_to_tensor(row_keys(0, 0, GRID))
    mask = ops.convert_to_numpy(dropout_mask(keys[:, None], ops.convert_to_tensor(GRID)[None, :], rate))
    assert mask.shape == (400, 400)
    np.testing.assert_allclose(np.unique(mask), [1 / (1 - rate)] if rate == 0 else [0, 1 / (1 - rate)], rtol=1e-6)
    assert (mask == 0).mean() == pytest.approx(rate, abs=0.006)
    assert mask.mean() == pytest.approx(1, abs=0.02)


def test_normal():
    """100,000 draws: mean 0, standard deviation 1, 68.27% within one of it, no correlation between columns."""
    keys = row_keys(0, 0, np.arange(500))
    numbers = ops.convert_to_numpy(normal(keys[:, None], np.arange(400)[None, :]))
    assert numbers.shape == (500, 200)
    assert numbers.dtype == np.float32
    assert numbers.mean() == pytest.approx(0, abs=0.015)
    assert numbers.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(numbers) < 1) == pytest.approx(0.6827, abs=0.006)
    assert np.corrcoef(numbers[:, :50].T)[np.triu_indices(50, 1)].std() == pytest.approx(500**-0.5, rel=0.1)

from __future__ import annotations

import math

import numpy as np
import pytest

from nnrec.core.errors import ConfigError
from nnrec.data.preprocessing import NumericTransform, Preprocessing, log, log_square
from nnrec.data.schema import Schema

NAN = float("nan")


def fitted(steps, values, parts=1, **settings) -> NumericTransform:
    transform = NumericTransform("x", steps, **settings)
    for part in np.array_split(np.array(values, np.float32), parts):
        transform.observe(part)
    transform.finish()
    return transform


def test_criteos_transform_by_hand():
    # ln(3) = 1.0986, squared 1.207 -> 1; ln(10) = 2.3026, squared 5.302 -> 5; ln(1382) = 7.2313, squared 52.29 -> 52.
    assert log_square(np.array([-2.0, 0, 1, 2, 3, 10, 1382])).tolist() == [-2, 0, 1, 2, 1, 5, 52]


def test_log_keeps_the_sign():
    assert log(np.array([0.0, math.e - 1, 1 - math.e])) == pytest.approx([0, 1, -1])


@pytest.mark.parametrize("parts", [1, 3])
def test_standardise(parts):
    # 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5.
    transform = fitted(["standardise"], [1, 2, NAN, 3, 6], parts)
    assert transform(np.array([3, NAN, 3 + math.sqrt(3.5)], np.float32)) == pytest.approx([0, 0, 1], abs=1e-6)
    assert not transform.categorical


def test_standardise_of_large_numbers_close_together():
    transform = fitted(["standardise"], [1_000_000, 1_000_001, 1_000_002], 2)
    assert transform.state == pytest.approx([1_000_001, math.sqrt(2 / 3)], rel=1e-6)


def test_a_constant_or_missing_column_stays_finite():
    assert fitted(["standardise"], [4, 4])(np.array([4, 5], np.float32)).tolist() == [0, 1]
    for steps in (["standardise"], ["categories"], ["buckets"]):
        transform = fitted(steps, [NAN, NAN])
        assert transform(np.array([NAN, 1], np.float32))[0] == 0
        assert transform(np.array([1], np.float32))[0] < max(transform.size, 2)


@pytest.mark.parametrize("parts", [1, 4])
def test_categories_after_criteos_transform(parts):
    # 10 and 11 both become 5 (ln(11)^2 = 5.75); 3 and 1 both become 1; -1 occurs only once.
    transform = fitted(["log_square", "categories"], [1, 3, 10, 11, 0, 0, -1], parts, min_count=2)
    assert transform.state.tolist() == [0, 1, 5] and transform.size == 4
    assert transform(np.array([0, 1, 3, 10, 12, -1, 99, NAN], np.float32)).tolist() == [1, 2, 2, 3, 0, 0, 0, 0]


def test_buckets_hold_equally_many_training_values():
    values = np.random.default_rng(0).permutation(np.arange(1000)) ** 2
    transform = fitted(["buckets"], values, 3, buckets=10)
    ids = transform(values.astype(np.float32))
    assert np.bincount(ids).tolist() == [0, *[100] * 10] and transform.size == 11
    assert transform(np.array([-1, 1e9, NAN], np.float32)).tolist() == [1, 10, 0]


def test_equal_quantiles_are_one():
    # 0 0 0 0 8: the quantiles 1/4, 2/4, 3/4 are all 0, so there are two buckets: below 0, and from 0 on.
    transform = fitted(["buckets"], [0, 0, 0, 0, 8], buckets=4)
    assert transform.state.tolist() == [0] and transform.size == 3
    assert transform(np.array([-1, 0, 8], np.float32)).tolist() == [1, 2, 2]


def test_no_step_leaves_numbers_alone():
    assert fitted([], [1, 2])(np.array([7.5, NAN], np.float32)).tolist() == [7.5, 0]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["sqrt"], r"no transform 'sqrt' \(column 'x'\). Known: log, log_square, standardise, categories, buckets"),
        (["buckets", "standardise"], "buckets must be the last transform"),
    ],
)
def test_unknown_or_misplaced_steps(steps, message):
    with pytest.raises(ConfigError, match=message):
        NumericTransform("x", steps)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, r"preprocessing.min_count must be a whole number from 1 on. Received: 0"),
        ({"hash": {"c": 0}}, "preprocessing.hash.c"),
        ({"buckets": 1.5}, "preprocessing.buckets"),
        ({"max_values": 0}, "preprocessing.max_values"),
    ],
)
def test_numbers_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ignore": ["z"]}, r"ignore names 'z', which is no column of these data. They have: c, x"),
        ({"hash": {"x": 5}}, r"hash names 'x', which is no categorical or multi-valued column"),
        ({"transforms": {"c": ["log"]}}, r"transforms names 'c', which is no numeric column"),
    ],
)
def test_columns_that_are_not_there(settings, message):
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**settings).check(Schema(categorical=("c",), numeric=("x",)))

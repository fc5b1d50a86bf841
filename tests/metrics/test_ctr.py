"""AUC within groups, and calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec import metrics


def test_auc_by_group_by_hand():
    # Group 0: positives .9 and .4 against .4 and .1: 1 + 1 + .5 + 1 = 3.5 of 4 pairs. Group 1 has no negative, 2 no
    # row. Group 3: the positive .2 below both: 0.
    group = np.array([0, 3, 0, 1, 0, 3, 0, 1, 3])
    label = np.array([1, 0, 1, 1, 0, 1, 0, 1, 0])
    score = np.array([0.9, 0.5, 0.4, 0.3, 0.4, 0.2, 0.1, 0.3, 0.6])
    found = metrics.auc_by_group(group, label, score, 4)
    np.testing.assert_array_equal(found, [3.5 / 4, np.nan, np.nan, 0])


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_auc_by_group_is_the_auc_of_each_group(seed, number):
    rng = np.random.default_rng(seed)
    group, label, score = rng.integers(0, 4, number), rng.integers(0, 2, number), rng.integers(0, 5, number) / 5
    found = metrics.auc_by_group(group, label, score, 4)
    for number in range(4):
        own = group == number
        if len(np.unique(label[own])) < 2:
            assert np.isnan(found[number])
        else:
            assert found[number] == pytest.approx(metrics.auc(label[own], score[own]))


def test_calibration_by_hand():
    # Two bins: (.1, .3) with 0 of 2, (.6, .8) with 1 of 2. Error (.2 + |.7 - .5|) / 2 = .2.
    found = metrics.calibration(np.array([0, 1, 0, 0]), np.array([0.1, 0.8, 0.3, 0.6]), bins=2)
    np.testing.assert_allclose(found.predicted, [0.2, 0.7])
    np.testing.assert_allclose(found.observed, [0, 0.5])
    assert found.rows.tolist() == [2, 2]
    assert found.error == pytest.approx(0.2)


def test_the_same_probability_for_all_is_one_bin():
    found = metrics.calibration(np.array([0, 1, 0, 0]), np.full(4, 0.3), bins=10)
    assert found.rows.tolist() == [4]
    assert found.error == pytest.approx(0.05)

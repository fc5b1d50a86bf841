"""The compiled loops: single steps by hand, and the textbook's SVD++."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.models.factors import sgd_loops


def f32(*values):
    return np.array(values, np.float32)


def test_one_step_of_svd_by_hand():
    user_bias, item_bias = f32(0.1), f32(-0.2)
    p, q = f32(0.5)[:, None], f32(2.0)[:, None]
    index = np.zeros(1, np.int32)
    squared = sgd_loops.svd_epoch(
        np.array([0]), index, index, f32(1.5), f32(1), user_bias, item_bias, p, q, rate=0.1, l2=0.2, l2_bias=0.5
    )
    # e = 1.5 - .1 + .2 - .5 * 2 = .6
    assert squared == pytest.approx(0.36, rel=1e-5)
    assert user_bias[0] == pytest.approx(0.155)  # .1 + .1 (.6 - .5 * .1)
    assert item_bias[0] == pytest.approx(-0.13)  # -.2 + .1 (.6 + .5 * .2)
    assert p[0, 0] == pytest.approx(0.61)  # .5 + .1 (.6 * 2 - .2 * .5)
    assert q[0, 0] == pytest.approx(1.99)  # 2 + .1 (.6 * .5 - .2 * 2)


def test_one_step_of_svdpp_by_hand():
    user_bias, item_bias = f32(0.1), f32(0)
    p, q, y = f32(0.5)[:, None], f32(2.0)[:, None], f32(0.5)[:, None]
    sgd_loops.svdpp_epoch(
        np.array([0]), np.array([0, 1]), np.array([0]), np.zeros(1, np.int32), f32(2.7), f32(1), user_bias, item_bias,
        p, q, y, rate=0.1, l2=0.2, l2_bias=0.5, l2_implicit=0.4,
    )  # fmt: skip
    # |N| = 1, so z = y; e = 2.7 - .1 - 0 - 2 (.5 + .5) = .6
    assert user_bias[0] == pytest.approx(0.155)  # .1 + .1 (.6 - .5 * .1)
    assert item_bias[0] == pytest.approx(0.06)  # 0 + .1 * .6
    assert p[0, 0] == pytest.approx(0.61)  # .5 + .1 (.6 * 2 - .2 * .5)
    assert q[0, 0] == pytest.approx(2.02)  # 2 + .1 (.6 * (.5 + .5) - .2 * 2)
    assert y[0, 0] == pytest.approx(0.6)  # .5 + .1 (.6 * 2 * 1 - .4 * .5)


def test_svdpp_is_the_textbooks_with_every_y_updated_at_every_rating():
    rng = np.random.default_rng(0)
    num_users, num_items, width = 6, 9, 4
    user, item = np.nonzero(rng.random((num_users, num_items)) < 0.6)
    offsets = np.searchsorted(user, np.arange(num_users + 1))
    target = rng.normal(0, 1, len(user)).astype(np.float32)
    weight = rng.uniform(0.5, 2, len(user)).astype(np.float32)
    users, order = rng.permutation(num_users), np.argsort(user + rng.random(len(user)))
    tables = [rng.normal(0, 0.5, (size, width)).astype(np.float32) for size in (num_users, num_items, num_items)]
    start = [np.zeros(num_users, np.float32), np.zeros(num_items, np.float32), *tables]
    settings = {"rate": 0.05, "l2": 0.1, "l2_bias": 0.02, "l2_implicit": 0.3}

    expected = [array.astype(np.float64) for array in start]
    user_bias, item_bias, p, q, y = expected
    total = 0.0
    for u in users:
        own = order[offsets[u] : offsets[u + 1]]
        rated = item[own]
        for n in own:
            i, step = item[n], settings["rate"] * weight[n]
            z = y[rated].sum(axis=0) / np.sqrt(len(rated))
            error = target[n] - user_bias[u] - item_bias[i] - q[i] @ (p[u] + z)
            total += weight[n] * error**2
            user_bias[u] += step * (error - settings["l2_bias"] * user_bias[u])
            item_bias[i] += step * (error - settings["l2_bias"] * item_bias[i])
            before = q[i].copy()
            q[i] += step * (error * (p[u] + z) - settings["l2"] * q[i])
            p[u] += step * (error * before - settings["l2"] * p[u])
            y[rated] += step * (error * before / np.sqrt(len(rated)) - settings["l2_implicit"] * y[rated])

    found = [array.copy() for array in start]
    squared = sgd_loops.svdpp_epoch(users, offsets, order, item.astype(np.int32), target, weight, *found, **settings)
    assert squared == pytest.approx(total, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)

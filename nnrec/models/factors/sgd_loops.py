"""Stochastic gradient descent on biased factor models, compiled by Numba."""

from __future__ import annotations

import numpy as np

from nnrec.core.jit import compiled


@compiled
def svd_epoch(
    order: np.ndarray,
    user: np.ndarray,
    item: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    user_bias: np.ndarray,
    item_bias: np.ndarray,
    user_factors: np.ndarray,
    item_factors: np.ndarray,
    rate: float,
    l2: float,
    l2_bias: float,
) -> float:
    """Makes one pass of SGD over the ratings for `SVD`; changes biases and factors in place.

    Args:
        order: (n,) order in which to visit the ratings.
        user, item: (n,) user and item of each rating.
        target: (n,) value - mean.
        weight: (n,) factor of the rating's step size.
        user_bias, item_bias: (num_users,), (num_items,).
        user_factors, item_factors: (num_users, d), (num_items, d).
        rate: gamma.
        l2, l2_bias: lambda of factors and biases.

    Returns:
        The sum of the weighted squared errors, each before its step.
    """
    total = 0.0
    for n in order:
        u, i = user[n], item[n]
        p, q = user_factors[u], item_factors[i]
        dot = np.float32(0)
        for f in range(len(p)):
            dot += p[f] * q[f]
        error = target[n] - user_bias[u] - item_bias[i] - dot
        total += weight[n] * error * error
        step = np.float32(rate) * weight[n]
        user_bias[u] += step * (error - np.float32(l2_bias) * user_bias[u])
        item_bias[i] += step * (error - np.float32(l2_bias) * item_bias[i])
        push, keep = step * error, np.float32(1) - step * np.float32(l2)
        for f in range(len(p)):
            before = p[f]
            p[f] = keep * before + push * q[f]
            q[f] = keep * q[f] + push * before
    return total


@compiled
def svdpp_epoch(
    users: np.ndarray,
    offsets: np.ndarray,
    order: np.ndarray,
    item: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    user_bias: np.ndarray,
    item_bias: np.ndarray,
    user_factors: np.ndarray,
    item_factors: np.ndarray,
    implicit_factors: np.ndarray,
    rate: float,
    l2: float,
    l2_bias: float,
    l2_implicit: float,
) -> float:
    """Makes one pass of SGD over users and their ratings for `SVDPlusPlus`; changes all parameters in place.

    Args:
        users: (m,) users in the order in which to visit them.
        offsets: (num_users + 1,) where each user's ratings start in `order`.
        order: (n,) order in which to visit the ratings, user by user.
        item, target, weight: (n,) of each rating.
        user_bias, item_bias, user_factors, item_factors: as in `svd_epoch`.
        implicit_factors: (num_items, d).
        rate, l2, l2_bias: as in `svd_epoch`.
        l2_implicit: lambda of the implicit factors.

    Returns:
        The sum of the weighted squared errors, each before its step.
    """
    total = 0.0
    width = user_factors.shape[1]
    implicit, start = np.empty(width, np.float32), np.empty(width, np.float32)
    for u in users:
        entries = order[offsets[u] : offsets[u + 1]]
        norm = np.float32(1 / np.sqrt(len(entries)))
        p = user_factors[u]
        implicit[:] = 0
        for n in entries:
            implicit += implicit_factors[item[n]]
        implicit *= norm
        start[:] = implicit
        kept = np.float32(1)
        for n in entries:
            i = item[n]
            q = item_factors[i]
            dot = np.float32(0)
            for f in range(width):
                dot += (p[f] + implicit[f]) * q[f]
            error = target[n] - user_bias[u] - item_bias[i] - dot
            total += weight[n] * error * error
            step = np.float32(rate) * weight[n]
            user_bias[u] += step * (error - np.float32(l2_bias) * user_bias[u])
            item_bias[i] += step * (error - np.float32(l2_bias) * item_bias[i])
            push, keep = step * error, np.float32(1) - step * np.float32(l2)
            fade = np.float32(1) - step * np.float32(l2_implicit)
            for f in range(width):
                before = q[f]
                q[f] = keep * before + push * (p[f] + implicit[f])
                p[f] = keep * p[f] + push * before
                implicit[f] = fade * implicit[f] + push * before
            kept *= fade
        # Every y_j is multiplied by `kept` and gets the same addend, so that their scaled sum equals `implicit`.
        gain = norm * (implicit - kept * start)
        for n in entries:
            y = implicit_factors[item[n]]
            for f in range(width):
                y[f] = kept * y[f] + gain[f]
    return total

"""Fold-in: fitting a new user's coefficients to fixed item vectors."""

from __future__ import annotations

import numpy as np

# Weight of the average user's bias, in numbers of ratings, beside the new user's ratings.
BIAS_PRIOR = 1.0


def fold_in(
    vectors: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    average: np.ndarray,
    l2: float,
    bias_prior: float = BIAS_PRIOR,
) -> np.ndarray:
    """Fits a user's coefficients (w, b) by ridge regression that shrinks towards the average user's coefficients.

    Minimises over (w, b), with (w0, b0) = `average`:

        sum_i weight_i (value_i - w . vector_i - b)^2 + l2 |w - w0|^2 + bias_prior (b - b0)^2

    If the history is shorter than the vectors, the dual form is solved, n x n instead of d x d.

    Args:
        vectors: (n, d) vectors of the rated items.
        values: (n,) ratings, centred as the model centres them.
        weights: (n,) positive weights of the ratings.
        average: (d + 1,) the average user's coefficients, the bias last.
        l2: the penalty on w.
        bias_prior: the penalty on b.

    Returns:
        (d + 1,) float32.
    """
    from scipy.linalg import solve

    prior = np.append(np.full(vectors.shape[1], max(l2, 1e-6)), bias_prior).astype(np.float32)
    # Scaled so that every coefficient has penalty 1 and every rating weight 1.
    design = np.column_stack([vectors, np.ones(len(vectors), np.float32)]) / np.sqrt(prior)
    design *= np.sqrt(weights)[:, None]
    residual = np.sqrt(weights) * (values - vectors @ average[:-1] - average[-1])
    if len(design) <= design.shape[1]:
        kernel = design @ design.T
        kernel.flat[:: len(kernel) + 1] += 1.0
        change = design.T @ solve(kernel, residual, assume_a="pos", overwrite_a=True)
    else:
        kernel = design.T @ design
        kernel.flat[:: len(kernel) + 1] += 1.0
        change = solve(kernel, design.T @ residual, assume_a="pos", overwrite_a=True)
    return (average + change / np.sqrt(prior)).astype(np.float32)


def fold_in_softmax(
    vectors: np.ndarray,
    levels: np.ndarray,
    weights: np.ndarray,
    average: np.ndarray,
    l2: float,
    bias_prior: float = BIAS_PRIOR,
) -> np.ndarray:
    """Fits a user's weights and biases (W, b) of K rating values by softmax regression towards the average user's.

    Minimises over (W, b), with (W0, b0) = `average`:

        - sum_i weight_i log softmax(W vector_i + b)[level_i] + l2/2 |W - W0|^2 + bias_prior/2 |b - b0|^2

    Args:
        vectors: (n, d) vectors of the rated items.
        levels: (n,) int, the index of each rating's value among the K values.
        weights: (n,) positive weights of the ratings.
        average: (K, d + 1) the average user's coefficients, the biases last.
        l2: the penalty on W.
        bias_prior: the penalty on b.

    Returns:
        (K, d + 1) float32.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    design = np.column_stack([vectors, np.ones(len(vectors))]).astype(np.float64)
    prior = np.append(np.full(vectors.shape[1], max(l2, 1e-3)), bias_prior)
    chosen = np.eye(len(average))[levels]

    def objective(change: np.ndarray) -> tuple[float, np.ndarray]:
        change = change.reshape(average.shape)
        logs = log_softmax(design @ (average + change).T, axis=1)
        slope = (weights[:, None] * (np.exp(logs) - chosen)).T @ design + prior * change
        return -np.sum(weights[:, None] * chosen * logs) + np.sum(prior * change**2) / 2, slope.ravel()

    found = minimize(objective, np.zeros(average.size), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return (average + found.x.reshape(average.shape)).astype(np.float32)

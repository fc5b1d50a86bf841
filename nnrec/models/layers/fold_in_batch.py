"""Fitting several new people at once to item vectors that are already there, on the device."""

from __future__ import annotations

from typing import Any

from keras import ops

from nnrec.models.layers.fold_in import BIAS_PRIOR

# Conjugate gradients end after so many steps, or where no residual exceeds this share of what it began with.
STEPS, TOLERANCE = 200, 1e-7


def fold_in_rows(vectors: Any, values: Any, weights: Any, average: Any, l2: float) -> Any:
    """What `nnrec.models.layers.fold_in.fold_in` minimises, for the rows of a batch: in its dual form, L x L.

    Solved by conjugate gradients (Hestenes, Stiefel 1952), which need no factorisation: any format of graphs has their
    operations.

    Args:
        vectors: (B, L, d) of the rated items.
        values: (B, L) ratings, centred as the model centres them.
        weights: (B, L), 0 where there is no rating.
        average: (d + 1,) the average user's coefficients, the bias last.
        l2: the penalty on all coefficients but the bias.

    Returns:
        (B, d + 1) float32.
    """
    scale = max(l2, 1e-6) ** -0.5
    root = ops.sqrt(weights)
    design = ops.concatenate([vectors * scale, ops.ones_like(values)[:, :, None] * BIAS_PRIOR**-0.5], axis=2)
    design = design * root[:, :, None]
    residual = root * (values - ops.matmul(vectors, average[:-1, None])[:, :, 0] - average[-1])
    kernel = ops.matmul(design, ops.transpose(design, (0, 2, 1)))  # I is added below: no entry, no change
    solution = _solved(kernel, residual)
    change = ops.matmul(solution[:, None, :], design)[:, 0]
    return average + ops.concatenate([change[:, :-1] * scale, change[:, -1:] * BIAS_PRIOR**-0.5], axis=1)


def _solved(kernel: Any, right: Any) -> Any:
    """(B, L) the solutions x of (kernel + I) x = right."""
    begin = ops.sum(ops.square(right), axis=1, keepdims=True)

    def unfinished(step: Any, x: Any, left: Any, direction: Any, squares: Any) -> Any:
        return (step < STEPS) & ops.any(squares > TOLERANCE**2 * begin)

    def advance(step: Any, x: Any, left: Any, direction: Any, squares: Any) -> tuple[Any, ...]:
        image = ops.matmul(kernel, direction[:, :, None])[:, :, 0] + direction
        size = squares / ops.maximum(ops.sum(direction * image, axis=1, keepdims=True), 1e-30)
        x, left = x + size * direction, left - size * image
        now = ops.sum(ops.square(left), axis=1, keepdims=True)
        return step + 1, x, left, left + now / ops.maximum(squares, 1e-30) * direction, now

    start = (ops.zeros((), "int32"), ops.zeros_like(right), right, right, begin)
    return ops.while_loop(unfinished, advance, start)[1]

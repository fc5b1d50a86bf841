"""Fold-in of a batch of users on the device, with tensor operations that can be exported."""

from __future__ import annotations

from typing import Any

from keras import ops

from nnrec.models.layers.fold_in import BIAS_PRIOR

# Conjugate gradients end after this many steps, or if no residual norm exceeds this share of its initial value.
STEPS, TOLERANCE = 200, 1e-7


def fold_in_rows(vectors: Any, values: Any, weights: Any, average: Any, l2: float) -> Any:
    """Solves the problem of `nnrec.models.layers.fold_in.fold_in` for all rows of a batch, in its dual form, L x L.

    It uses conjugate gradients (Hestenes, Stiefel 1952), which need no matrix factorisation: their operations exist in
    every graph format.

    Args:
        vectors: (B, L, d) vectors of the rated items.
        values: (B, L) ratings, centred as the model centres them.
        weights: (B, L) weights of the ratings, 0 for padding.
        average: (d + 1,) the average user's coefficients, the bias last.
        l2: the penalty on all coefficients except the bias.

    Returns:
        (B, d + 1) float32.
    """
    scale = max(l2, 1e-6) ** -0.5
    root = ops.sqrt(weights)
    design = ops.concatenate([vectors * scale, ops.ones_like(values)[:, :, None] * BIAS_PRIOR**-0.5], axis=2)
    design = design * root[:, :, None]
    residual = root * (values - ops.matmul(vectors, average[:-1, None])[:, :, 0] - average[-1])
    kernel = ops.matmul(design, ops.transpose(design, (0, 2, 1)))  # I is added below, so that padding has no effect
    solution = _solved(kernel, residual)
    change = ops.matmul(solution[:, None, :], design)[:, 0]
    return average + ops.concatenate([change[:, :-1] * scale, change[:, -1:] * BIAS_PRIOR**-0.5], axis=1)


def _solved(kernel: Any, right: Any) -> Any:
    """(B, L) solutions x of (kernel + I) x = right."""
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

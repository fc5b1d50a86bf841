"""Error functions over a catalogue: errors of single items, and errors of a softmax over a row.

Most targets of a row are 0. So a row's error is computed as the error of target 0 summed over the whole
catalogue, minus that error at the row's ones, plus the error of target 1 at the ones. This is exact and
needs no dense target matrix. For catalogues that are too large, the sum over the catalogue is estimated
from a sample in which each item stands for several (`Scored.scale`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras import ops

from nnrec.core.devices.collectives import global_mean
from nnrec.models.layers.activations import Activation


class Scored(NamedTuple):
    """Pre-activations of the output layer for a batch, and its targets.

    Attributes:
        everything: (B, M) pre-activations of the whole catalogue (M = num_items), or of M sampled items.
        scale: (M,) the number of items that each item stands for; None = 1.
        ones: (E,) pre-activations of the batch's entries.
        ones_scale: (E,) the scale of these entries' items, 0 if they were not sampled; None = 1.
        row: (E,) the row of each entry.
        is_one: (E,) 1 for entries of target 1, 0 for padding and for entries of target 0.
        weight: (E,) weights of the entries, 0 where `is_one` is 0.
    """

    everything: Any
    scale: Any
    ones: Any
    ones_scale: Any
    row: Any
    is_one: Any
    weight: Any

    def per_row(self, values: Any) -> Any:
        """(B,) sums of (E,) values over the entries of each row."""
        return ops.segment_sum(values, self.row, ops.shape(self.everything)[0])

    def over_catalogue(self, values: Any) -> Any:
        """(B,) sums of (B, M) values over the catalogue."""
        return ops.sum(values if self.scale is None else self.scale[None, :] * values, axis=1)

    def drawn(self, values: Any) -> Any:
        """(E,) values of the ones times their scale: what they contribute to a sum by `over_catalogue`."""
        return self.is_one * (values if self.ones_scale is None else self.ones_scale * values)

    def row_weight(self) -> Any:
        """(B,) the weight of each row's zeros: the mean weight of its ones."""
        return self.per_row(self.weight) / ops.maximum(self.per_row(self.is_one), 1.0)


# Errors of single items: (activation, (...) pre-activations, target 0 or 1) -> (...) errors.

ItemError = Callable[[Activation, Any, int], Any]


def l1(activation: Activation, x: Any, target: int) -> Any:
    """|a - t|."""
    return ops.abs(activation(x) - target)


def l2(activation: Activation, x: Any, target: int) -> Any:
    """(a - t)^2 / 2."""
    return 0.5 * ops.square(activation(x) - target)


def hinge(activation: Activation, x: Any, target: int) -> Any:
    """max(0, 1 - s a), where s = 2 t - 1 is the sign of the target."""
    return ops.relu(1.0 - (2 * target - 1) * activation(x))


def l2_hinge(activation: Activation, x: Any, target: int) -> Any:
    """(a - t)^2 / 2 on the wrong side of the target: below 1, or above 0; else 0."""
    difference = activation(x) - target
    return 0.5 * ops.square(ops.minimum(difference, 0.0) if target else ops.maximum(difference, 0.0))


def cross_entropy(activation: Activation, x: Any, target: int) -> Any:
    """-t ln a - (1 - t) ln(1 - a)."""
    return -activation.log(x) if target else -activation.log_rest(x)


@dataclass(frozen=True)
class ScaledMarginal:
    """Scaled marginal cross-entropy: items whose activation is beyond the threshold of their target cost nothing.

    A one below `one_target` costs -one_scale ln(a), a zero above `zero_target` costs -zero_scale ln(1 - a).
    """

    one_target: float = 0.9
    zero_target: float = 0.1
    one_scale: float = 1.0
    zero_scale: float = 1.0

    def __call__(self, activation: Activation, x: Any, target: int) -> Any:
        if target:
            return ops.where(activation(x) < self.one_target, -self.one_scale * activation.log(x), 0.0)
        return ops.where(activation(x) > self.zero_target, -self.zero_scale * activation.log_rest(x), 0.0)


def summed(error: ItemError, activation: Activation, scored: Scored, value: Any = None) -> Any:
    """Sums the errors of single items over the catalogue for each row.

    Args:
        error: error function of a single item.
        activation: activation of the output layer.
        scored: pre-activations and targets.
        value: (E,) factors of the errors of the ones; None = 1.

    Returns:
        (B,) tensor.
    """
    zeros = scored.over_catalogue(error(activation, scored.everything, 0))
    zeros = zeros - scored.per_row(scored.drawn(error(activation, scored.ones, 0)))
    weight = scored.weight if value is None else scored.weight * value
    return scored.row_weight() * zeros + scored.per_row(weight * error(activation, scored.ones, 1))


# Errors of a softmax over a row.


def log_softmax(scored: Scored) -> tuple[Any, Any]:
    """Returns the logarithm of a softmax over the catalogue: (B, M) of `everything`, (E,) of the entries.

    With a sample, the softmax's denominator is estimated from the ones themselves and from the other sampled items. The
    estimate is unbiased; its logarithm is slightly too low in expectation, less so the larger the sample.
    """
    highest = ops.stop_gradient(ops.max(scored.everything, axis=1))
    if scored.scale is not None:
        ones = ops.where(scored.is_one > 0, scored.ones, -1e30)
        size = ops.shape(scored.everything)[0]
        highest = ops.maximum(highest, ops.stop_gradient(ops.segment_max(ones, scored.row, size)))
    total = scored.over_catalogue(ops.exp(scored.everything - highest[:, None]))
    if scored.scale is not None:
        own = ops.exp(ops.minimum(scored.ones - ops.take(highest, scored.row), 0.0))
        total = total + scored.per_row(scored.is_one * own - scored.drawn(own))
    log_total = highest + ops.log(ops.maximum(total, 1e-30))
    return scored.everything - log_total[:, None], scored.ones - ops.take(log_total, scored.row)


def multinomial(scored: Scored, shared: bool = False) -> Any:
    """(B,) multinomial error: -sum over the ones of ln a, with a softmax a (Liang et al. 2018, equation 2).

    Args:
        scored: pre-activations and targets.
        shared: divide by n, the number of the row's ones: the cross-entropy with targets 1 / n.
    """
    _, log_ones = log_softmax(scored)
    error = -scored.per_row(scored.weight * log_ones)
    return error / ops.maximum(scored.per_row(scored.is_one), 1.0) if shared else error


def softmax_marginal(marginal: ScaledMarginal, scored: Scored) -> Any:
    """(B,) scaled marginal cross-entropy of a softmax; value and gradient are defined separately.

    Value: a one below `one_target` costs -one_scale / n ln(a), with n the number of the row's ones. Gradient with
    respect to the pre-activations: a - one_scale / n for such a one, zero_scale a for a zero above `zero_target`, and 0
    for all others.
    """
    log_all, log_ones = (ops.stop_gradient(part) for part in log_softmax(scored))
    number = ops.maximum(scored.per_row(scored.is_one), 1.0)
    target = marginal.one_scale / ops.take(number, scored.row)
    a, own = ops.exp(log_all), ops.exp(log_ones)
    low = scored.weight * ops.cast(own < marginal.one_target, "float32")
    value = -scored.per_row(low * target * log_ones)
    zero, own_zero = (marginal.zero_scale * ops.where(part > marginal.zero_target, part, 0.0) for part in (a, own))
    of_zeros = scored.over_catalogue(zero * scored.everything) - scored.per_row(scored.drawn(own_zero * scored.ones))
    slope = ops.stop_gradient(scored.row_weight()) * of_zeros + scored.per_row(low * (own - target) * scored.ones)
    return value + slope - ops.stop_gradient(slope)


# Penalties.


def sparseness(activations: Any, real: Any, p: float, beta: float) -> Any:
    """Returns the sparseness penalty on hidden units, a scalar.

    With pi the mean activation of a unit over the batch, clipped to [1e-6, 1 - 1e-6], the value is beta times
    KL(p || pi), summed over units. The gradient with respect to the activation in each row is
    beta (-p / pi + (1 - p) / (1 - pi)) / B, also if pi was clipped: the gradient of beta B KL, averaged over the batch.

    Args:
        activations: (B, units).
        real: (B,) 1 for real rows, 0 for padding rows.
        p: target of the mean activation, at least 0 and below 1.
        beta: weight of the penalty.
    """
    activations = ops.cast(activations, "float32")
    mean = ops.stop_gradient(ops.clip(global_mean(activations, real), 1e-6, 1 - 1e-6))
    divergence = (1 - p) * ops.log((1 - p) / (1 - mean))
    if p > 0:
        divergence = divergence + p * ops.log(p / mean)
    slope = beta * (-p / mean + (1 - p) / (1 - mean))
    size = ops.cast(ops.shape(activations)[0], "float32")
    linear = ops.sum(real[:, None] * slope * activations) / size
    return beta * ops.sum(divergence) * ops.sum(real) / size + linear - ops.stop_gradient(linear)


ITEM_ERRORS: dict[str, ItemError] = {
    "l1": l1,
    "l2": l2,
    "hinge": hinge,
    "l2_hinge": l2_hinge,
    "cross_entropy": cross_entropy,
}

"""Losses of next-item models that rank the target of each row against the items of its step.

In the authors' programs, scores r are M x (M + N): each of M rows has the targets of all rows, its own on the diagonal,
and N shared negatives. An item can occur several times there. Here each distinct item is one column with a count of its
occurrences, which gives the same sums with fewer terms. All sums over j below run over columns with these counts.
"Competitors" of a row are all occurrences except one of its own target.

Sources: Hidasi & Karatzoglou, Recurrent Neural Networks with Top-k Gains, CIKM 2018, and the authors' programs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

TINY = 1e-24  # added inside logarithms, as in the authors' programs


class Columns(NamedTuple):
    """The distinct items of a step.

    Attributes:
        aimed: (C,) how often each is a row's target.
        drawn: (C,) how often each was drawn as a negative; columns where both are 0 are padding.
        support: (C,) number of training events of each.
    """

    aimed: Any
    drawn: Any
    support: Any

    @property
    def count(self) -> Any:
        """(C,) the count of each column."""
        return self.aimed + self.drawn


class Scored(NamedTuple):
    """Scores and targets of a step.

    Attributes:
        scores: (B, C) r.
        target: (B,) the column of each row's target.
        columns: the items of the columns.
    """

    scores: Any
    target: Any
    columns: Columns

    def is_own(self) -> Any:
        """(B, C) float32, 1 in the column of the row's target."""
        places = ops.arange(ops.shape(self.scores)[1], dtype="int32")
        return ops.cast(places[None, :] == self.target[:, None], "float32")

    def own(self) -> Any:
        """(B, 1) the score of the row's target, r_i."""
        return ops.sum(self.scores * self.is_own(), axis=1, keepdims=True)

    def competitors(self) -> Any:
        """(B, C) the count of each column among the competitors of the row's target."""
        return self.columns.count[None, :] - self.is_own()

    def softmax(self) -> Any:
        """(B, C) s_j, a softmax over the competitors; all 0 without competitors."""
        competitors = self.competitors()
        there = competitors > 0
        highest = ops.max(ops.where(there, self.scores, -1e30), axis=1, keepdims=True)
        powers = competitors * ops.exp(ops.where(there, self.scores - ops.stop_gradient(highest), -1e30))
        return powers / ops.maximum(ops.sum(powers, axis=1, keepdims=True), 1e-30)


def cross_entropy(scored: Scored, logq: float = 0.0, sample_alpha: float = 0.0) -> Any:
    """Cross-entropy -ln(softmax_i + 1e-24), with the softmax over all columns of r - logq ln P.

    P is an item's support where it is a target, and support ** sample_alpha where it is a negative.

    Args:
        scored: scores and targets.
        logq: strength of the correction; 0 = none.
        sample_alpha: exponent with which negatives are sampled.

    Returns:
        (B,) float32.
    """
    aimed, drawn, support = scored.columns
    support = ops.maximum(support, 1.0)
    count = aimed * support**-logq + drawn * support ** (-logq * sample_alpha) if logq else aimed + drawn
    logarithm = ops.where(count > 0, ops.log(ops.maximum(count, 1e-30)), -1e30)
    total = ops.logsumexp(scored.scores + logarithm[None, :], axis=1)
    own = scored.own()[:, 0]
    if logq:
        own = own - logq * ops.log(ops.take(support, scored.target))
    return -ops.log(ops.exp(ops.minimum(own - total, 0.0)) + TINY)


def bpr(scored: Scored) -> Any:
    """(B,) BPR: the mean over the competitors of -ln sigmoid(r_i - r_j)."""
    competitors = scored.competitors()
    total = ops.sum(competitors * ops.softplus(scored.scores - scored.own()), axis=1)
    return total / ops.maximum(ops.sum(competitors, axis=1), 1.0)


def bpr_max(scored: Scored, bpreg: float = 1.0) -> Any:
    """(B,) BPR-max: -ln(sum_j s_j sigmoid(r_i - r_j) + 1e-24) + bpreg sum_j s_j r_j^2; 0 without competitors.

    The gradient is computed explicitly, because one exponential serves both the softmax and the sigmoid. With A the sum
    in the logarithm, R the sum of the penalty and S_j = sigmoid(r_i - r_j),

        dL / dr_j = s_j [(A - S_j + S_j (1 - S_j)) / A + bpreg (r_j^2 - R + 2 r_j)]
        dL / dr_i = -sum_j s_j S_j (1 - S_j) / A, plus the term of column i where it competes with itself

    Sums over competitors are products with the columns' counts, minus the row's target. This takes fewer passes over
    (B, C) numbers than a mask.
    """
    target, count = scored.target[:, None], scored.columns.count
    is_own = scored.is_own()
    some = ops.cast(ops.sum(count) > 1, "float32")

    @ops.custom_gradient
    def loss(scores: Any) -> Any:
        own = ops.take_along_axis(scores, target, axis=1)
        highest = ops.max(ops.where(count - is_own > 0, scores, -1e30), axis=1, keepdims=True)
        powers = ops.exp(ops.minimum(scores - highest, 0.0))
        above = 1.0 / (1.0 + powers * ops.exp(ops.clip(highest - own, -60.0, 60.0)))

        def over_competitors(values: Any) -> Any:
            return ops.matmul(values, count[:, None]) - ops.take_along_axis(values, target, axis=1)

        total = ops.maximum(over_competitors(powers), 1e-30)
        likelihood = over_competitors(powers * above) / total
        penalty = over_competitors(powers * ops.square(scores)) / total

        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = arguments or (upstream,)
            scale = some * upstream[:, None] / total
            squares = over_competitors(powers * ops.square(above)) / total
            inverse = 1.0 / (likelihood + TINY)
            each = inverse * (likelihood - ops.square(above)) + bpreg * (scores * (scores + 2.0) - penalty)
            moved = some * upstream[:, None] * inverse * (likelihood - squares)
            return scale * (count - is_own) * powers * each - is_own * moved

        return some * (bpreg * penalty - ops.log(likelihood + TINY))[:, 0], gradient

    return loss(scored.scores)


def top1(scored: Scored) -> Any:
    """(B,) TOP1: [sum_j sigmoid(r_j - r_i) + sigmoid(r_j^2), over all columns, minus sigmoid(r_i^2)] / their number."""
    count, own = scored.columns.count, scored.own()
    errors = ops.sigmoid(scored.scores - own) + ops.sigmoid(ops.square(scored.scores))
    total = ops.sum(count[None, :] * errors, axis=1) - ops.sigmoid(ops.square(own[:, 0]))
    return total / ops.sum(count)


def top1_max(scored: Scored) -> Any:
    """(B,) TOP1-max: sum_j s_j [sigmoid(r_j - r_i) + sigmoid(r_j^2)]."""
    errors = ops.sigmoid(scored.scores - scored.own()) + ops.sigmoid(ops.square(scored.scores))
    return ops.sum(scored.softmax() * errors, axis=1)

"""Losses of next-item models that let the target of each row compete with the items of its step.

The authors' scores r are M x (M + N): for each of M rows the targets of all rows, its own on the diagonal, and N shared
negatives. Items come up several times there; here each distinct item is one column that counts as often as it comes up,
which is the same sum with fewer terms. All sums over j below run over columns so counted; "competitors" leaves the
row's own target out once, not where it comes up again.

Sources: Hidasi & Karatzoglou, Recurrent Neural Networks with Top-k Gains, CIKM 2018, and the authors' programs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

TINY = 1e-24  # inside logarithms, as the authors have it


class Columns(NamedTuple):
    """The distinct items of a step.

    Attributes:
        aimed: (C,) how often each is a row's target.
        drawn: (C,) how often each was drawn as a negative; where both are 0, the column is none.
        support: (C,) how often each comes up in the training data.
    """

    aimed: Any
    drawn: Any
    support: Any

    @property
    def count(self) -> Any:
        """(C,) how often each column counts."""
        return self.aimed + self.drawn


class Scored(NamedTuple):
    """Scores against targets.

    Attributes:
        scores: (B, C) r.
        target: (B,) the column of each row's target.
        columns: what the columns are.
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
        """(B, C) how often each column counts as a competitor of the row's target."""
        return self.columns.count[None, :] - self.is_own()

    def softmax(self) -> Any:
        """(B, C) s_j, a softmax over the competitors; all 0 where there is none."""
        competitors = self.competitors()
        there = competitors > 0
        highest = ops.max(ops.where(there, self.scores, -1e30), axis=1, keepdims=True)
        powers = competitors * ops.exp(ops.where(there, self.scores - ops.stop_gradient(highest), -1e30))
        return powers / ops.maximum(ops.sum(powers, axis=1, keepdims=True), 1e-30)


def cross_entropy(scored: Scored, logq: float = 0.0, sample_alpha: float = 0.0) -> Any:
    """-ln(softmax_i + 1e-24), the softmax over all columns of r - logq ln P.

    P is the support of an item as a target, and support ** sample_alpha as a negative.

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
    """The mean over the competitors of -ln sigmoid(r_i - r_j); (B,)."""
    competitors = scored.competitors()
    total = ops.sum(competitors * ops.softplus(scored.scores - scored.own()), axis=1)
    return total / ops.maximum(ops.sum(competitors, axis=1), 1.0)


def bpr_max(scored: Scored, bpreg: float = 1.0) -> Any:
    """-ln(sum_j s_j sigmoid(r_i - r_j) + 1e-24) + bpreg sum_j s_j r_j^2; (B,), 0 without competitors.

    The gradient is written out, because one exponential serves both the softmax and the sigmoid: with A the sum in the
    logarithm, R the penalty's and S_j = sigmoid(r_i - r_j),

        dL / dr_j = s_j [(A - S_j + S_j (1 - S_j)) / A + bpreg (r_j^2 - R + 2 r_j)]
        dL / dr_i = -sum_j s_j S_j (1 - S_j) / A, beside what column i gets where it competes with itself

    Sums over competitors are products with the columns' counts, less the row's target: fewer passes over (B, C) numbers
    than a mask takes.
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
    """The mean over all columns of [sigmoid(r_j - r_i) + sigmoid(r_j^2)], minus sigmoid(r_i^2) / their number; (B,)."""
    count, own = scored.columns.count, scored.own()
    errors = ops.sigmoid(scored.scores - own) + ops.sigmoid(ops.square(scored.scores))
    total = ops.sum(count[None, :] * errors, axis=1) - ops.sigmoid(ops.square(own[:, 0]))
    return total / ops.sum(count)


def top1_max(scored: Scored) -> Any:
    """sum_j s_j [sigmoid(r_j - r_i) + sigmoid(r_j^2)]; (B,)."""
    errors = ops.sigmoid(scored.scores - scored.own()) + ops.sigmoid(ops.square(scored.scores))
    return ops.sum(scored.softmax() * errors, axis=1)

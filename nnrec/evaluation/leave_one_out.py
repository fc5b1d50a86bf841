"""Metrics for splits with one held-out item per user: its rank under different tie rules, and hit rates by rating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

import nnrec.evaluation.metrics as metrics
from nnrec.batches.protocol import Batch
from nnrec.data.ratings import Ratings
from nnrec.evaluation.outcomes.ratings import Outcome

# Metrics are reported for all tie rules if the rules differ by this much in a hit rate (its third digit).
VISIBLE = 0.0005


class SingleTargets:
    """The one held-out item of each user and its rank, collected one block of users at a time.

    Args:
        target: held-out ratings, one per user.
    """

    def __init__(self, target: Ratings) -> None:
        self.target = target
        self.item = np.full(target.num_users, -1)
        self.item[target.user] = target.item
        self.ranks: dict[Literal["standard", "conservative"], list[np.ndarray]] = {"standard": [], "conservative": []}

    @classmethod
    def among(cls, target: Ratings) -> SingleTargets | None:
        """Returns an instance, or None if a user has several held-out items."""
        return cls(target) if np.bincount(target.user).max(initial=0) == 1 else None

    def add(self, scores: np.ndarray, batch: Batch, block: np.ndarray) -> None:
        """Adds the ranks of a block of users.

        Args:
            scores: (B, num_items) scores of the batch's users, followed by padding rows.
            batch: the users' histories; items of the history get the score -inf.
            block: indices of the users.
        """
        scores, seen = scores.copy(), batch["weight"] > 0
        scores[batch["row"][seen], batch["column"][seen]] = -np.inf
        for ties, ranks in self.ranks.items():
            ranks.append(metrics.target_ranks(scores[: len(block)], self.item[block], ties))

    def measure(
        self, measured: Outcome, cutoffs: Sequence[int], relevant: float | None, threshold: float | None
    ) -> None:
        """Adds the leave-one-out metrics to an evaluation outcome.

        These are `hit_rate_<ties>@k` and `mrr_<ties>@k` if ties change a hit rate; `cumulative_hit_rate@k` if there are
        predicted ratings and a threshold; and the hit rate at the first cutoff by rating (`by_rating`).

        Args:
            measured: outcome with predictions and lists of the targets' users; metrics are added to it.
            cutoffs, relevant, threshold: as in `nnrec.evaluation.Evaluation`.
        """
        self._ties(measured, cutoffs, relevant)
        offsets, one = np.arange(len(self.target) + 1), np.ones(len(self.target), np.int64)
        hit = metrics.hits(measured.lists, offsets, self.target.item)
        values = {"true": self.target.value}
        if measured.predictions is not None:
            values["predicted"] = measured.predictions
            if threshold is not None:
                for k in cutoffs:
                    found = metrics.cumulative_hit_rate(hit, one, k, measured.predictions, threshold)
                    measured.add({f"cumulative_hit_rate@{k}": found})
        levels = np.unique(self.target.value)
        measured.by_rating = {
            kind: metrics.hit_rate_by_value(hit, one, cutoffs[0], value, levels) for kind, value in values.items()
        }

    def _ties(self, measured: Outcome, cutoffs: Sequence[int], relevant: float | None) -> None:
        counts = np.ones(len(self.target), bool) if relevant is None else self.target.value >= relevant
        standard, conservative = (
            np.where(counts, np.concatenate(self.ranks[ties]), np.nan) for ties in ("standard", "conservative")
        )
        gaps = [metrics.hit_rate_at(standard, k) - metrics.hit_rate_at(conservative, k) for k in cutoffs]
        if max(np.nanmean(gap) for gap in gaps) < VISIBLE:
            return
        ranks = {"standard": standard, "median": (standard + conservative) / 2, "conservative": conservative}
        for ties, rank in ranks.items():
            for k in cutoffs:
                hit, reciprocal = metrics.hit_rate_at(rank, k), metrics.reciprocal_rank_at(rank, k)
                measured.add({f"hit_rate_{ties}@{k}": hit, f"mrr_{ties}@{k}": reciprocal})

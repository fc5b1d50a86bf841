"""How well a model does on what it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

import nnrec.metrics as metrics
from nnrec.console import ProgressBar
from nnrec.data.ratings import Ratings
from nnrec.data.splits import HeldOut
from nnrec.errors import DataError
from nnrec.models.base import Recommender
from nnrec.ranking import top_items, user_blocks


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and how.

    Rating accuracy: `rmse` and `mae` over all held-out ratings; predictions are clipped to the
    scale of the training ratings; weights count.

    Ranking, against the full catalogue with the items of the history left out: `recall@k`,
    `precision@k`, `ndcg@k`, `mrr@k`, averaged over the users with at least one relevant held-out
    item.

    Args:
        cutoffs: the k's.
        relevant: held-out ratings of at least this value are relevant; None = all of them.
        truncated_recall: recall@k is divided by min(k, relevant items) as in Liang et al. (2018)
            and named `recall_min@k`, instead of by the number of relevant items.
    """

    cutoffs: Sequence[int] = (10, 20)
    relevant: float | None = None
    truncated_recall: bool = False

    def __call__(self, model: Recommender, held_out: HeldOut, ranking: bool = True) -> dict[str, float]:
        """All figures by name; `ranking=False` leaves out the slower half."""
        target = held_out.target
        users = np.unique(target.user)
        histories = held_out.history.rows("user")
        offsets = np.searchsorted(target.user, np.arange(target.num_users + 1))
        predictions, lists = [np.empty(0, np.float32)], []
        accuracy = "rating_scale" in model.capabilities
        with ProgressBar("evaluating", len(users), transient=True) if ranking else nullcontext() as bar:
            for batch in user_blocks(histories, target.num_items, users):
                queries = model.encode(batch)
                block = batch["index"][batch["index"] >= 0]
                if accuracy:
                    lengths = offsets[block + 1] - offsets[block]
                    rows = np.repeat(np.arange(len(block)), lengths)
                    entries = slice(offsets[block[0]], offsets[block[-1] + 1])
                    predictions.append(model.score_pairs(queries, rows, target.item[entries]))
                if bar is not None:
                    items, _ = top_items(model.score(queries), max(self.cutoffs), seen=batch)
                    lists.append(items[: len(block)])
                    bar.advance(len(block))
                    bar.report("users")
        figures = {}
        if accuracy:
            low, high = np.asarray(model.rating_scale)
            clipped = np.clip(np.concatenate(predictions), low, high)
            figures["rmse"] = metrics.rmse(target.value, clipped, target.weight)
            figures["mae"] = metrics.mae(target.value, clipped, target.weight)
        if ranking:
            figures |= self._ranking(np.concatenate(lists), users, target)
        return figures

    def _ranking(self, lists: np.ndarray, users: np.ndarray, target: Ratings) -> dict[str, float]:
        relevant = target if self.relevant is None else target.take(target.value >= self.relevant)
        if not len(relevant):
            raise DataError(
                f"No held-out rating reaches evaluation.relevant={self.relevant}: the highest is {target.scale[1]:g}."
            )
        wanted = np.isin(users, relevant.user)
        rows = relevant.rows("user").take(users[wanted])
        return metrics.ranking(lists[wanted], rows.offsets, rows.ids, self.cutoffs, self.truncated_recall)


def best_rmse(target: Ratings) -> float | None:
    """The error of the best possible prediction, where the truth is known (simulated data)."""
    return None if target.expected is None else metrics.rmse(target.value, target.expected, target.weight)

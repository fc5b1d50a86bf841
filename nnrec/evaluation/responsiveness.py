"""Responsiveness: how much one more rating in the history changes the lists, without retraining."""

from __future__ import annotations

import numpy as np

import nnrec.evaluation.metrics as metrics
from nnrec.data.rows import Rows
from nnrec.models.base.scorer import Scorer
from nnrec.ranking.blocks import user_blocks
from nnrec.ranking.top_items import top_items
from nnrec.splits.split import HeldOut

# Number of users: enough for two significant digits, and fast.
SAMPLE = 500


def responsiveness(model: Scorer, held_out: HeldOut, k: int) -> dict[str, float]:
    """Compares each user's list before and after the user's best-rated held-out item is appended to the history.

    The appended item is excluded from both lists. At most `SAMPLE` users are used, the first in a fixed random order.

    Args:
        model: trained and prepared.
        held_out: histories, and the ratings that serve as new behaviour.
        k: length of the lists.

    Returns:
        `responsiveness@k`: the mean share of a list that is replaced (0 = new behaviour has no effect until the model
        is trained again); `lists_changed@k`: the share of lists with any change, changes of order included.
    """
    target = held_out.target
    best = np.lexsort((-target.value, target.user))
    users, first = np.unique(target.user[best], return_index=True)
    chosen = np.sort(np.random.default_rng(0).permutation(len(users))[:SAMPLE])
    users, event = users[chosen], best[first[chosen]]
    before = held_out.history.rows("user").take(users)
    after = _appended(before, target.item[event], target.value[event])
    lists = [_lists(model, rows, after, users, k) for rows in (before, after)]
    found = {f"responsiveness@{k}": metrics.churn(*lists), f"lists_changed@{k}": metrics.changed(*lists)}
    return {name: float(np.nanmean(values)) for name, values in found.items() if not np.isnan(values).all()}


def _appended(rows: Rows, ids: np.ndarray, values: np.ndarray) -> Rows:
    """Returns the rows with one more entry of weight 1 at the end of each."""
    ends = rows.offsets[1:]
    weights = None if rows.weights is None else np.insert(rows.weights, ends, 1.0)
    offsets = rows.offsets + np.arange(len(rows) + 1)
    return Rows(
        offsets, np.insert(rows.ids, ends, ids), np.insert(rows.values, ends, values), weights, rows.num_columns
    )


def _lists(model: Scorer, rows: Rows, seen: Rows, users: np.ndarray, k: int) -> np.ndarray:
    """(len(users), k) recommended items; items in `seen` are excluded."""
    lists = []
    for batch, known in zip(user_blocks(rows, rows.num_columns), user_blocks(seen, seen.num_columns), strict=True):
        listed = batch["index"] >= 0
        batch["index"][listed] = users[batch["index"][listed]]
        items, _ = top_items(model.score(model.encode(batch)), k, seen=known)
        lists.append(items[: listed.sum()])
    return np.concatenate(lists)

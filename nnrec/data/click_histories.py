"""Histories of clicked items per user, from rows of impressions."""

from __future__ import annotations

import numpy as np

from nnrec.data.impressions import CHUNK_ROWS, Impressions, slices
from nnrec.data.rows import Rows


def click_histories(data: Impressions, which: np.ndarray) -> Rows | None:
    """Returns the items that each user clicked, (num_users, num_items), each with its highest label.

    If the labels are ratings, not 0 to 1, all rated items are returned. Memory holds two numbers per such row.

    Args:
        data: the impressions.
        which: (m,) row numbers.

    Returns:
        Sparse rows, one per user; None if the data have no user or no item column.
    """
    schema = data.schema
    if schema.user is None or schema.item is None:
        return None
    chunks = [which[places] for places in slices(len(which), CHUNK_ROWS)]
    clicks = all(((label := data.label.take(rows, axis=0)) >= 0).all() and (label <= 1).all() for rows in chunks)
    pairs, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for rows in chunks:
        user, item = (data.codes_of(name, rows) for name in (schema.user, schema.item))
        label = data.label.take(rows, axis=0)
        wanted = (user >= 0) & (item >= 0) & (label > 0 if clicks else True)
        pairs.append(user[wanted].astype(np.int64) * data.num_items + item[wanted])
        labels.append(label[wanted])
    pair, label = np.concatenate(pairs), np.concatenate(labels)
    del pairs, labels
    order = np.lexsort((-label, pair))
    pair = pair[order]
    first = np.append(True, pair[1:] != pair[:-1])[: len(pair)]
    pair, label = pair[first], label[order[first]]
    offsets = np.searchsorted(pair, np.arange(data.num_users + 1) * data.num_items).astype(np.int64)
    return Rows(offsets, (pair % max(data.num_items, 1)).astype(np.int32), label, None, data.num_items)

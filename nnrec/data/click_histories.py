"""What each user clicked, of some rows of impressions."""

from __future__ import annotations

import numpy as np

from nnrec.data.impressions import CHUNK_ROWS, Impressions, slices
from nnrec.data.rows import Rows


def click_histories(data: Impressions, which: np.ndarray) -> Rows | None:
    """What each user clicked, (num_users, num_items), with the highest label; None where users or items are unknown.

    Of ratings, whatever was rated. Held in memory are two numbers for each of these rows alone.

    Args:
        data: the impressions.
        which: (m,) row numbers.
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

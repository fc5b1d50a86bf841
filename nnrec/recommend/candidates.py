"""Restricts which items may be recommended: stoplists, candidates and stopwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnrec.core.console import console
from nnrec.core.errors import DataError
from nnrec.data.filters.stoplist import Words, catch, in_words, print_caught, read_words, records
from nnrec.recommend.table_format import Ids, TableFormat, read_ids

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun


def excluded_items(
    run: TrainedRun,
    stoplist: Ids | None = None,
    candidates: Ids | None = None,
    table: TableFormat | None = None,
    stopwords: Words | None = None,
) -> np.ndarray | None:
    """(num_items,) boolean, items excluded from all lists; None if there is no restriction.

    Prints how many given ids are unknown to the run, and which items the stopwords match.

    Raises:
        DataError: a file cannot be read, the run has no titles to match words against, or no item is left.
        ConfigError: words that cannot be matched.
    """
    excluded = np.zeros(len(run.items), bool)
    if stoplist is not None:
        excluded[_known(run, stoplist, "stoplist", table)] = True
    if candidates is not None:
        chosen = np.zeros(len(run.items), bool)
        chosen[_known(run, candidates, "candidates", table)] = True
        excluded |= ~chosen
    if stopwords is not None:
        excluded[_caught(run, stopwords)] = True
    if excluded.all():
        given = {"stoplist": stoplist, "candidates": candidates, "stopwords": stopwords}
        names = " and ".join(name for name, ids in given.items() if ids is not None)
        raise DataError(
            f"Nothing is left to recommend: {names} left none of the run's {len(run.items):,} items. Do the ids mean "
            f"the same items as in training? It knows, for example, {', '.join(map(str, run.items.ids[:3]))}."
        )
    return excluded if excluded.any() else None


def _caught(run: TrainedRun, stopwords: Words) -> np.ndarray:
    """Indices of the items that the stopwords match; prints these items."""
    words = read_words(stopwords, "stopwords")
    found = catch(run.item_table, run.items, words, "stopwords")
    heading = f"stopwords ({in_words(words)}) bar {len(found):,} of {len(run.items):,} items"
    print_caught(records(found), f"{heading}{':' if len(found) else '.'}", console)
    return found["item"].to_numpy()


def _known(run: TrainedRun, source: Ids, key: str, table: TableFormat | None) -> np.ndarray:
    """Indices of the ids that are in the run's vocabulary; prints how many are not."""
    raw = read_ids(source, key, table or TableFormat())
    index = run.items.indices(raw)
    if unknown := int((index < 0).sum()):
        console.print(
            f"{key}: left out {unknown:,} of {len(index):,} ids, which are unknown to the run.", soft_wrap=True
        )
    return index[index >= 0]

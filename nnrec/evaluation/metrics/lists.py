"""Lists as a whole: what is recommended, whether or not it is relevant.

`lists` is (num_users, k) int: item indices, best first, negative where a list has ended; for a figure at a smaller k
pass `lists[:, :k]`. `counts` is (num_items,) int: how many training interactions each item of the catalogue has, 0 for
those without. Per-user figures are NaN where the list is empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

# Up to this many different items in all lists, their similarities are a matrix: 256 MiB, twice that while it is made.
MATRIX_ITEMS = 8192
# Entries that are worked on at a time: look-ups, which are faster within the cache, and parts of products.
LOOKUP_ENTRIES = 2**18
PRODUCT_ENTRIES = 2**24


def user_coverage(value: np.ndarray, threshold: float) -> np.ndarray:
    """Whether a user has a recommendation predicted at or above the threshold, 1 or 0; the mean is user coverage.

    Kane, Building Recommender Systems with Machine Learning and AI. The ratings must be predicted ones: other scores
    have no scale that a threshold could refer to.

    Args:
        value: (num_users, k) predicted rating of each place, -inf or NaN where it has ended; or (num_users,), the best.
        threshold: lowest rating that counts.

    Returns:
        (num_users,) float64.
    """
    reached = np.where(value >= threshold, 1.0, 0.0)
    return reached if reached.ndim == 1 else reached.max(axis=1, initial=0.0)


def times_listed(lists: np.ndarray, num_items: int) -> np.ndarray:
    """(num_items,) int, in how many places each item of the catalogue stands.

    Raises:
        ValueError: the lists hold items beyond the catalogue.
    """
    _within(lists, num_items)
    return np.bincount(lists[lists >= 0], minlength=num_items)


def catalogue_coverage(lists: np.ndarray, num_items: int) -> float:
    """Share of the catalogue in at least one list; items without interactions are part of the catalogue.

    Ge et al., Beyond Accuracy: Evaluating Recommender Systems by Coverage and Serendipity (2010). Raises as
    `times_listed`.
    """
    return float(np.mean(times_listed(lists, num_items) > 0))


def gini(times: np.ndarray) -> float:
    """How unequally the catalogue is recommended: 0 = all items alike, 1 = the same single item always.

    1 / (n - 1) * sum over i = 1 ... n of (2 i - n - 1) p_i, p ascending shares of n items. Shani and Gunawardana,
    Evaluating Recommendation Systems (2011). NaN if nothing is listed or n is 1.

    Args:
        times: (num_items,) int, from `times_listed`.
    """
    n, total = len(times), times.sum()
    if n < 2 or not total:
        return math.nan
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(times) / (total * (n - 1.0)))


def ranks_by_popularity(counts: np.ndarray) -> np.ndarray:
    """(num_items,) int, 1 = most interactions; equal counts in order of index."""
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-np.asarray(counts, np.int64), kind="stable")] = np.arange(1, len(counts) + 1)
    return ranks


def mean_popularity_rank(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Novelty: mean popularity rank of the items of each list, 1 = nothing but the most popular item.

    Kane, Building Recommender Systems with Machine Learning and AI. Higher is more novel.

    Returns:
        (num_users,) float64.

    Raises:
        ValueError: the lists hold items beyond `counts`.
    """
    return _mean_over_list(ranks_by_popularity(counts), lists)


def self_information(lists: np.ndarray, counts: np.ndarray, num_users: int) -> np.ndarray:
    """Novelty in bits: mean over the list of log2(num_users / count).

    An item without interactions counts as one with one, log2(num_users), the most there can be. Zhou et al., Solving
    the Apparent Diversity-Accuracy Dilemma of Recommender Systems (2010).

    Args:
        lists, counts: as above.
        num_users: users that `counts` were taken from.

    Returns:
        (num_users,) float64.

    Raises:
        ValueError: the lists hold items beyond `counts`.
    """
    return _mean_over_list(np.log2(num_users / np.maximum(counts, 1)), lists)


def popularity_share(lists: np.ndarray, counts: np.ndarray, head: float = 0.2) -> np.ndarray:
    """Share of each list that goes to the short head, the `head` most popular part of the catalogue (rounded up).

    1 - APLT, the average percentage of long-tail items, of Abdollahpouri et al., Managing Popularity Bias in
    Recommender Systems with Personalized Re-Ranking (2019).

    Returns:
        (num_users,) float64 in [0, 1].

    Raises:
        ValueError: head is not a share; the lists hold items beyond `counts`.
    """
    if not 0 < head <= 1:
        raise ValueError(f"head is a share of the catalogue, above 0 and up to 1. Received: {head}")
    return _mean_over_list(ranks_by_popularity(counts) <= math.ceil(head * len(counts)), lists)


def popularity_places(lists: np.ndarray, counts: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Place that each listed item would take in the list of the popularity baseline, for `serendipity`.

    The popularity rank of the item less the number of items ranked before it that the user has seen.

    Args:
        lists, counts: as above.
        offsets: (num_users + 1,) int, where each user's seen items start in `seen`.
        seen: (n,) int, item indices, which the lists leave out; no item twice per user.

    Returns:
        (num_users, k) int64, 1 and up; 0 where a list has ended.

    Raises:
        ValueError: lists and offsets are of different numbers of users; lists hold items beyond `counts`.
    """
    if len(lists) != len(offsets) - 1:
        raise ValueError(f"One list per user expected. Received: {len(lists)} lists, {len(offsets) - 1} users")
    _within(lists, len(counts))
    ranks, width = ranks_by_popularity(counts), len(counts) + 1
    before = np.sort(np.repeat(np.arange(len(lists)), np.diff(offsets)) * width + ranks[seen])
    listed = ranks[lists]
    passed = np.searchsorted(before, np.arange(len(lists))[:, None] * width + listed) - np.asarray(offsets)[:-1, None]
    return np.where(lists >= 0, listed - passed, 0)


def serendipity(hit: np.ndarray, num_relevant: np.ndarray, k: int, places: np.ndarray) -> np.ndarray:
    """Serendipity@k = hits among the first k that the popularity baseline does not list among its first k, over k.

    |(list without the baseline's list) and relevant| / k: Ge et al., Beyond Accuracy (2010), with popularity as the
    primitive model and relevance as usefulness, as in the survey of Kotkov et al. (2016). At most `precision`.

    Args:
        hit, num_relevant: as in `nnrec.evaluation.metrics.rankings`.
        k: length of both lists.
        places: (num_users, k_max) from `popularity_places`.

    Returns:
        (num_users,) float64 in [0, 1], NaN without a relevant item.

    Raises:
        ValueError: hit and places differ in shape.
    """
    if hit.shape != places.shape:
        raise ValueError(f"One baseline place per list place expected. Received: shapes {places.shape} and {hit.shape}")
    surprising = (hit & (places > k))[:, :k].sum(axis=1)
    return np.where(num_relevant > 0, surprising / k, np.nan)


class Diversity:
    """1 - mean cosine similarity over the pairs of items of a list.

    With unit vectors v and n of them non-zero the sum over ordered pairs is |sum v|^2 - n, hence the mean
    (|sum v|^2 - n) / (k (k - 1)) over a list of k. An item whose vector is zero (nobody rated it) is similar to
    nothing. Ziegler et al., Improving Recommendation Lists Through Topic Diversification (2005), whose intra-list
    similarity this is the complement of. Models compare only under the same vectors.

    Args:
        vectors: (num_items, dim), an item's content or embedding, NumPy or SciPy sparse.
    """

    def __init__(self, vectors: Any) -> None:
        import scipy.sparse

        vectors = scipy.sparse.csr_array(vectors, dtype=np.float64)
        norms = np.sqrt(vectors.power(2).sum(axis=1))
        self.present = norms > 0
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=self.present)
        self.vectors = scipy.sparse.diags_array(scale).tocsr() @ vectors

    @classmethod
    def from_training(cls, matrix: Any) -> Diversity:
        """Items are similar as far as the same users gave them the same: cosine of the columns.

        Args:
            matrix: (num_users, num_items) SciPy sparse, training values.
        """
        return cls(matrix.T)

    def __call__(self, lists: np.ndarray, cutoffs: Sequence[int]) -> dict[int, np.ndarray]:
        """Diversity@k of the first k of each list, a shorter list being taken as it is.

        Time and memory: with up to `MATRIX_ITEMS` different items in all lists, one product for their similarities
        and k^2 look-ups per list. With more, the vectors of each list are added up sparse, which takes as many steps as
        they have entries and no matrix: minutes for thousands of users where items have many ratings. A sample of
        the users serves as well there.

        Args:
            lists: (num_users, k_max) int, negative where a list has ended.
            cutoffs: the k's.

        Returns:
            k -> (num_users,) float64, in [0, 1] where vectors hold no negative values; NaN for lists of less than 2.

        Raises:
            ValueError: a cutoff below 1; the lists hold items beyond the vectors.
        """
        if min(cutoffs) < 1:
            raise ValueError(f"A list is 1 or more long. Received: cutoffs {list(cutoffs)}")
        _within(lists, self.vectors.shape[0])
        ends = np.unique(np.minimum(cutoffs, lists.shape[1]))
        items, codes = np.unique(np.where(lists < 0, self.vectors.shape[0], lists), return_inverse=True)
        items, codes = items[items < self.vectors.shape[0]], codes.reshape(lists.shape)
        add_up = self._from_similarities if len(items) <= MATRIX_ITEMS else self._from_sums
        similarity = add_up(items, codes, ends)
        lengths = np.stack([(lists[:, :end] >= 0).sum(axis=1) for end in ends], axis=1)
        pairs = lengths * (lengths - 1.0)
        mean = np.divide(similarity, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
        return {k: 1 - mean[:, np.searchsorted(ends, min(k, lists.shape[1]))] for k in cutoffs}

    def _from_similarities(self, items: np.ndarray, codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """(num_users, len(ends)) sums of similarity over ordered pairs; ended places have a row and a column of 0."""
        size = len(items) + 1
        matrix = np.zeros((size, size), np.float32)
        _add_products(matrix[:-1, :-1], self.vectors[items])
        np.clip(matrix, -1, 1, out=matrix)
        np.fill_diagonal(matrix, 0)
        flat, sums = matrix.reshape(-1), np.empty((len(codes), len(ends)))
        segments = np.concatenate([[0], ends[:-1]])
        step = max(1, LOOKUP_ENTRIES // int(ends[-1]) ** 2)
        for start in range(0, len(codes), step):
            block = codes[start : start + step, : ends[-1]]
            pairs = flat.take(block[:, :, None] * size + block[:, None, :])
            by_segment = np.add.reduceat(np.add.reduceat(pairs, segments, axis=2, dtype=np.float64), segments, axis=1)
            sums[start : start + step] = by_segment.cumsum(axis=1).cumsum(axis=2).diagonal(axis1=1, axis2=2)
        return sums

    def _from_sums(self, items: np.ndarray, codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The same as |sum v|^2 - n, for some users at a time."""
        import scipy.sparse

        vectors, present = self.vectors[items], np.append(self.present[items], False)
        work = np.append(np.diff(vectors.indptr), 0)[codes].sum(axis=1).cumsum()
        bounds = np.searchsorted(work, np.arange(0, work[-1] + PRODUCT_ENTRIES, PRODUCT_ENTRIES), side="right")
        sums = np.empty((len(codes), len(ends)))
        for start, stop in pairwise(np.unique([0, *bounds, len(codes)])):
            total = scipy.sparse.csr_array((stop - start, vectors.shape[1]))
            for column, (left, right) in enumerate(pairwise([0, *ends])):
                row, place = np.nonzero(codes[start:stop, left:right] < len(items))
                listed = codes[start + row, left + place]
                chosen = scipy.sparse.csr_array((np.ones(len(row)), (row, listed)), (stop - start, len(items)))
                total = total + chosen @ vectors
                n = present[codes[start:stop, :right]].sum(axis=1)
                sums[start:stop, column] = total.power(2).sum(axis=1) - n
        return sums


def _add_products(out: np.ndarray, vectors: Any) -> None:
    """Adds vectors @ vectors.T to `out`, dense or sparse, whichever is less work; some dimensions or rows at a time."""
    rows, columns = vectors.shape
    transposed = vectors.T.tocsr()
    step = max(1, PRODUCT_ENTRIES // max(rows, 1))
    if vectors.nnz > 0.02 * rows * columns:
        for start in range(0, columns, step):
            dense = transposed[start : start + step].astype(np.float32).toarray()
            out += dense.T @ dense
    else:
        for start in range(0, rows, step):
            out[start : start + step] += (vectors[start : start + step] @ transposed).toarray()


def _mean_over_list(amount: np.ndarray, lists: np.ndarray) -> np.ndarray:
    _within(lists, len(amount))
    listed, lengths = lists >= 0, (lists >= 0).sum(axis=1)
    total = np.where(listed, amount[lists], 0).sum(axis=1)
    return np.divide(total, lengths, out=np.full(len(lists), np.nan), where=lengths > 0)


def _within(lists: np.ndarray, num_items: int) -> None:
    if lists.max(initial=-1) >= num_items:
        raise ValueError(f"Items of a catalogue of {num_items} expected. Received: item {lists.max()}")

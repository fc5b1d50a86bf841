"""Metrics of recommendation lists as a whole, whether or not their items are relevant.

`lists` is (num_users, k) int: item indices, best first, negative behind the end of a list; for a smaller k pass
`lists[:, :k]`. `counts` is (num_items,) int: the number of training interactions of each item of the catalogue.
Per-user metrics are NaN for empty lists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

# Up to this many distinct items in all lists, their similarities are held as a matrix: 256 MiB, 512 MiB at its peak.
MATRIX_ITEMS = 8192
# Entries processed at a time: of look-ups, which are faster if they fit in the CPU cache, and of matrix products.
LOOKUP_ENTRIES = 2**18
PRODUCT_ENTRIES = 2**24


def user_coverage(value: np.ndarray, threshold: float) -> np.ndarray:
    """1 for users with a recommendation predicted at or above the threshold, else 0; the mean is user coverage.

    Kane, Building Recommender Systems with Machine Learning and AI. Scores must be predicted ratings: a threshold has
    no meaning for scores on another scale.

    Args:
        value: (num_users, k) predicted rating at each place, -inf or NaN behind the end of a list; or (num_users,) the
            highest predicted rating.
        threshold: lowest rating that counts.

    Returns:
        (num_users,) float64.
    """
    reached = np.where(value >= threshold, 1.0, 0.0)
    return reached if reached.ndim == 1 else reached.max(axis=1, initial=0.0)


def times_listed(lists: np.ndarray, num_items: int) -> np.ndarray:
    """(num_items,) int, how often each item of the catalogue is in a list.

    Raises:
        ValueError: the lists contain items beyond the catalogue.
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
    """Gini index of the recommendations: 0 = all items equally often, 1 = always the same single item.

    1 / (n - 1) * sum over i = 1 ... n of (2 i - n - 1) p_i, with p the items' shares of all recommendations in
    ascending order. Shani and Gunawardana, Evaluating Recommendation Systems (2011). NaN if no item is listed, or if
    n is 1.

    Args:
        times: (num_items,) int, from `times_listed`.
    """
    n, total = len(times), times.sum()
    if n < 2 or not total:
        return math.nan
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(times) / (total * (n - 1.0)))


def ranks_by_popularity(counts: np.ndarray) -> np.ndarray:
    """(num_items,) int popularity ranks, 1 = most interactions; equal counts by ascending item index."""
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-np.asarray(counts, np.int64), kind="stable")] = np.arange(1, len(counts) + 1)
    return ranks


def mean_popularity_rank(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Novelty: mean popularity rank of the items of each list, 1 = only the most popular item.

    Kane, Building Recommender Systems with Machine Learning and AI. Higher is more novel.

    Returns:
        (num_users,) float64.

    Raises:
        ValueError: the lists contain items beyond `counts`.
    """
    return _mean_over_list(ranks_by_popularity(counts), lists)


def self_information(lists: np.ndarray, counts: np.ndarray, num_users: int) -> np.ndarray:
    """Novelty in bits: mean over the list of log2(num_users / count).

    An item without interactions counts like an item with one: log2(num_users), the largest possible value. Zhou et al.,
    Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems (2010).

    Args:
        lists, counts: see the module's docstring.
        num_users: number of users whose interactions `counts` counts.

    Returns:
        (num_users,) float64.

    Raises:
        ValueError: the lists contain items beyond `counts`.
    """
    return _mean_over_list(np.log2(num_users / np.maximum(counts, 1)), lists)


def popularity_share(lists: np.ndarray, counts: np.ndarray, head: float = 0.2) -> np.ndarray:
    """Share of each list's items that are in the short head, the most popular part of the catalogue.

    1 - APLT, the average percentage of long-tail items, of Abdollahpouri et al., Managing Popularity Bias in
    Recommender Systems with Personalized Re-Ranking (2019).

    Args:
        lists, counts: see the module's docstring.
        head: size of the short head as a share of the catalogue; the number of items is rounded up.

    Returns:
        (num_users,) float64 in [0, 1].

    Raises:
        ValueError: head is not in (0, 1]; the lists contain items beyond `counts`.
    """
    if not 0 < head <= 1:
        raise ValueError(f"head is a share of the catalogue, above 0 and up to 1. Received: {head}")
    return _mean_over_list(ranks_by_popularity(counts) <= math.ceil(head * len(counts)), lists)


def popularity_places(lists: np.ndarray, counts: np.ndarray, offsets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Place of each listed item in the user's list of the popularity baseline, for `serendipity`.

    It is the item's popularity rank minus the number of more popular items that the user has seen.

    Args:
        lists, counts: see the module's docstring.
        offsets: (num_users + 1,) int, where each user's seen items start in `seen`.
        seen: (n,) int, indices of the items that are excluded from the user's list; no item twice per user.

    Returns:
        (num_users, k) int64, starting from 1; 0 behind the end of a list.

    Raises:
        ValueError: lists and offsets have different numbers of users; lists contain items beyond `counts`.
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
    """Serendipity@k = hits among the first k that are not among the popularity baseline's first k, divided by k.

    |(list without the baseline's list) and relevant| / k: Ge et al., Beyond Accuracy (2010), with popularity as the
    primitive model and relevance as usefulness, as in the survey of Kotkov et al. (2016). At most `precision`.

    Args:
        hit, num_relevant: as in `nnrec.evaluation.metrics.rankings`.
        k: length of both lists.
        places: (num_users, k_max) from `popularity_places`.

    Returns:
        (num_users,) float64 in [0, 1], NaN for users without a relevant item.

    Raises:
        ValueError: hit and places differ in shape.
    """
    if hit.shape != places.shape:
        raise ValueError(f"One baseline place per list place expected. Received: shapes {places.shape} and {hit.shape}")
    surprising = (hit & (places > k))[:, :k].sum(axis=1)
    return np.where(num_relevant > 0, surprising / k, np.nan)


class Diversity:
    """1 - mean cosine similarity over the pairs of items of a list.

    With unit vectors v, n of them non-zero, the sum of similarities over ordered pairs is |sum v|^2 - n, and the mean
    over a list of k items is (|sum v|^2 - n) / (k (k - 1)). An item with a zero vector (without ratings) has similarity
    0 to all items. This is the complement of the intra-list similarity of Ziegler et al., Improving Recommendation
    Lists Through Topic Diversification (2005). Values of two models are comparable only if their vectors are the same.

    Args:
        vectors: (num_items, dim), the items' content or embeddings, NumPy or SciPy sparse.
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
        """Returns diversity by the cosine of the items' columns of training values.

        Args:
            matrix: (num_users, num_items) SciPy sparse, training values.
        """
        return cls(matrix.T)

    def __call__(self, lists: np.ndarray, cutoffs: Sequence[int]) -> dict[int, np.ndarray]:
        """Returns diversity@k of the first k items of each list; a shorter list is used as a whole.

        Time and memory: with up to `MATRIX_ITEMS` distinct items in all lists, one matrix product for all similarities
        and k^2 look-ups per list. With more, each list's sparse vectors are added up. This needs no matrix, but as many
        steps as the vectors have entries: minutes for thousands of users if items have many ratings. A sample of the
        users is then sufficient.

        Args:
            lists: (num_users, k_max) int, negative behind the end of a list.
            cutoffs: list lengths k.

        Returns:
            k -> (num_users,) float64, in [0, 1] if vectors have no negative values; NaN for lists of less than 2 items.

        Raises:
            ValueError: a cutoff below 1; the lists contain items beyond the vectors.
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
        """(num_users, len(ends)) sums of similarity over ordered pairs; places behind a list's end contribute 0."""
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
        """Computes the same sums as |sum v|^2 - n, for a block of users at a time."""
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
    """Adds vectors @ vectors.T to `out` in blocks, by dense or sparse products, whichever is faster."""
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

"""Similarities of sparse vectors, and their nearest neighbours, computed in tiles on all CPU cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError
from nnrec.core.jit import compiled

Measure = Literal["cosine", "adjusted_cosine", "pearson", "pearson_baseline", "spearman", "msd", "jaccard"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

# Maximum results and rows of a tile, small enough to give every core many tiles.
TILE_ENTRIES, TILE_ROWS = 2**22, 256
# Codes of the measures for the compiled kernel.
COSINE, JACCARD, COMMON_COSINE, PEARSON, MSD = range(5)
KIND = {
    "cosine": COSINE,
    "jaccard": JACCARD,
    "adjusted_cosine": COMMON_COSINE,
    "pearson_baseline": COMMON_COSINE,
    "pearson": PEARSON,
    "spearman": PEARSON,
    "msd": MSD,
}


def similarities(
    vectors: sparse.csr_array,
    measure: Measure,
    *,
    neighbours: int | None = None,
    shrinkage: float = 0.0,
    min_overlap: int = 1,
    label: str | None = None,
) -> sparse.csr_array:
    """Finds the most similar other rows of each row of a sparse matrix.

    A row x holds the ratings of an item (columns are users) or of a user (columns are items). A stored entry is a
    rating even if its value is 0. n is the number of columns in which both rows have an entry; "common" sums and means
    are over these columns only:

        cosine            sum x y / (|x| |y|), the lengths over all entries
        adjusted_cosine   common sum x y / sqrt(common sum x^2 * common sum y^2), after each column's mean has been
                          subtracted (Sarwar et al. 2001, Item-based Collaborative Filtering, section 3.1.3)
        pearson           correlation of the common entries, with their common means
        pearson_baseline  as adjusted_cosine, but without subtracting means: the caller passes residuals of a baseline
                          estimate (Koren 2010, Factor in the Neighbors, section 2.2)
        spearman          pearson of ranks; a value is ranked among all entries of its row, ties get the mean rank
        msd               1 / (1 + common mean of (x - y)^2)
        jaccard           n / number of columns with an entry in either row

    Undefined similarities (no variance, a length of 0) are 0.

    Args:
        vectors: (N, D) rows to compare.
        measure: one of the above.
        neighbours: number of the largest similarities to keep in each row; None = all.
        shrinkage: similarities are multiplied by n / (n + shrinkage).
        min_overlap: pairs with a smaller n have similarity 0.
        label: label of a progress bar; None = no progress bar.

    Returns:
        (N, N) float32, similarities above 0, in descending order within a row (equal ones by ascending index); a row
        is not its own neighbour.

    Raises:
        ConfigError: an unknown measure, or a number out of range.
    """
    compared = comparable(vectors, measure)
    search = Search(compared, measure, neighbours=neighbours, shrinkage=shrinkage, min_overlap=min_overlap)
    return search(compared, np.arange(vectors.shape[0]), label)


def check(measure: str, neighbours: int | None, shrinkage: float, min_overlap: int) -> None:
    """Raises ConfigError if an option of `similarities` is not valid."""
    if measure not in MEASURES:
        raise ConfigError(f"model.similarity must be one of {', '.join(MEASURES)}. Received: {measure}")
    if neighbours is not None and neighbours < 1:
        raise ConfigError(f"model.neighbours must be at least 1. Received: {neighbours}")
    if not shrinkage >= 0:
        raise ConfigError(f"model.shrinkage must not be negative. Received: {shrinkage}")
    if min_overlap < 1:
        raise ConfigError(f"model.min_overlap must be at least 1. Received: {min_overlap}")


def comparable(vectors: sparse.csr_array, measure: Measure, means: np.ndarray | None = None) -> sparse.csr_array:
    """Returns the vectors with the values that a measure compares: centred values, ranks, or the values themselves.

    Args:
        vectors: (N, D) rows.
        measure: as in `similarities`.
        means: (D,) means that adjusted_cosine subtracts; None = the means of the columns.
    """
    values = vectors.data
    if measure == "adjusted_cosine":
        means = column_means(vectors) if means is None else means
        values = values - means[vectors.indices]
    elif measure == "spearman":
        values = _ranks(vectors)
    return sparse.csr_array((values, vectors.indices, vectors.indptr), shape=vectors.shape)


def column_means(vectors: sparse.csr_array) -> np.ndarray:
    """(D,) float64 means over the entries of each column, 0 for empty columns."""
    sums = np.bincount(vectors.indices, vectors.data, vectors.shape[1])
    return sums / np.maximum(np.bincount(vectors.indices, minlength=vectors.shape[1]), 1)


def _ranks(vectors: sparse.csr_array) -> np.ndarray:
    """(nnz,) rank of each entry within its row, from 1; equal values share the mean of their ranks."""
    row = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    order = np.lexsort((vectors.data, row))
    value, row = vectors.data[order], row[order]
    new = np.r_[True, (value[1:] != value[:-1]) | (row[1:] != row[:-1])][: len(value)]
    starts = np.flatnonzero(new)
    ends = np.r_[starts[1:], len(value)][: len(starts)]
    ranks = np.empty(len(value))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts) - vectors.indptr[row]
    return ranks


class Search:
    """Finds the most similar of a set of rows for any queries.

    Args:
        vectors: (N, D) rows, as made by `comparable`.
        measure, neighbours, shrinkage, min_overlap: as in `similarities`.
    """

    def __init__(
        self,
        vectors: sparse.csr_array,
        measure: Measure,
        *,
        neighbours: int | None = None,
        shrinkage: float = 0.0,
        min_overlap: int = 1,
    ) -> None:
        check(measure, neighbours, shrinkage, min_overlap)
        self.size = vectors.shape[0]
        self.keep = self.size if neighbours is None else min(neighbours, self.size)
        self.kind, self.options = KIND[measure], (float(shrinkage), min_overlap, self.keep)
        self.columns, self.sums = _arrays(vectors.tocsc()), _row_sums(vectors, self.kind)

    def __call__(self, queries: sparse.csr_array, own: np.ndarray, label: str | None = None) -> sparse.csr_array:
        """(Q, N) float32 similarities, as `similarities` returns them.

        Args:
            queries: (Q, D) rows, as made by `comparable`.
            own: (Q,) the row that is the query itself, which is excluded; -1 = none.
            label: label of a progress bar; None = no progress bar.
        """
        rows, sums, keep = _arrays(queries), _row_sums(queries, self.kind), self.keep

        def tile(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            ids, found = np.empty((stop - start, keep), np.int32), np.empty((stop - start, keep), np.float32)
            counts = np.zeros(stop - start, np.int64)
            _compare(
                start, stop, *rows, *self.columns, sums, self.sums, own, self.kind, *self.options, ids, found, counts
            )
            kept = np.arange(keep) < counts[:, None]
            return ids[kept], found[kept], counts

        size = max(1, min(TILE_ROWS, TILE_ENTRIES // max(keep, 1)))
        ids, values, counts = (
            np.concatenate(parts) for parts in zip(*in_tiles(tile, len(own), size, label), strict=True)
        )
        starts = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_array((values, ids, starts), shape=(len(own), self.size))


def in_tiles(work: Callable[[int, int], Any], total: int, size: int, label: str | None = None) -> list[Any]:
    """Runs work(start, stop) for tiles of a range on all cores.

    Args:
        work: function of the start and the end of a tile.
        total: length of the range.
        size: length of a tile.
        label: label of a progress bar; None = no progress bar.

    Returns:
        The results in the order of the tiles.
    """
    starts = range(0, max(total, 1), size)
    stops = [min(start + size, total) for start in starts]
    bar = nullcontext() if label is None else ProgressBar(label, total, transient=True)
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar as shown:
        for start, stop, result in zip(starts, stops, pool.map(work, starts, stops), strict=True):
            results.append(result)
            if shown is not None:
                shown.advance(stop - start)
                shown.report("rows")
    return results


def _arrays(matrix: sparse.csr_array | sparse.csc_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float64)


def _row_sums(matrix: sparse.csr_array, kind: int) -> np.ndarray:
    """(rows,) float64 sums of squares, or numbers of entries for Jaccard."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    values = None if kind == JACCARD else matrix.data.astype(np.float64) ** 2
    return np.bincount(row, values, matrix.shape[0]).astype(np.float64)


@compiled
def _compare(
    start, stop, row_starts, row_ids, row_values, column_starts, column_ids, column_values, query_sums, vector_sums,
    own, kind, shrinkage, min_overlap, keep, ids, found, counts,
):  # fmt: skip
    """Fills `ids`, `found` and `counts` for the queries from `start` to `stop`.

    For each column of a query, it visits every vector with an entry in that column, and accumulates n, sum xy and, if
    the measure needs them, sum x, sum y, sum x^2, sum y^2.
    """
    size = len(vector_sums)
    sums = np.zeros((size, 2 if kind <= JACCARD else 6))
    unique_ids = np.empty(size, np.int32)
    keys = np.empty(size, np.int64)
    single = np.empty(1, np.float32)
    bits = single.view(np.int32)
    for query in range(start, stop):
        reached = 0
        for entry in range(row_starts[query], row_starts[query + 1]):
            column, x = row_ids[entry], row_values[entry]
            for other in range(column_starts[column], column_starts[column + 1]):
                vector, y = column_ids[other], column_values[other]
                if sums[vector, 0] == 0:
                    unique_ids[reached] = vector
                    reached += 1
                sums[vector, 0] += 1
                sums[vector, 1] += x * y
                if kind > JACCARD:
                    sums[vector, 2] += x
                    sums[vector, 3] += y
                    sums[vector, 4] += x * x
                    sums[vector, 5] += y * y
        positive = 0
        for place in range(reached):
            vector = unique_ids[place]
            n, product = sums[vector, 0], sums[vector, 1]
            value = 0.0
            if vector != own[query] and n >= min_overlap:
                if kind == JACCARD:
                    value = n / (query_sums[query] + vector_sums[vector] - n)
                elif kind == MSD:
                    value = 1 / (1 + max(sums[vector, 4] - 2 * product + sums[vector, 5], 0.0) / n)
                else:
                    xx, yy = query_sums[query], vector_sums[vector]
                    if kind != COSINE:
                        xx, yy = sums[vector, 4], sums[vector, 5]
                    least_x = least_y = 0.0
                    if kind == PEARSON:
                        # A variance this small is a rounding error of 0.
                        least_x, least_y = 1e-12 * xx, 1e-12 * yy
                        product -= sums[vector, 2] * sums[vector, 3] / n
                        xx -= sums[vector, 2] ** 2 / n
                        yy -= sums[vector, 3] ** 2 / n
                    if xx > least_x and yy > least_y:
                        value = product / np.sqrt(xx * yy)
                value *= n / (n + shrinkage)
            sums[vector, :] = 0
            single[0] = value
            if single[0] > 0:
                # Sort key: the bits of a positive float, which sort like the float, then the descending index.
                keys[positive] = (np.int64(bits[0]) << 32) | (0x7FFFFFFF - vector)
                positive += 1
        chosen = keys[:positive]
        if positive > keep:
            chosen = np.partition(chosen, positive - keep)[positive - keep :]
        chosen = np.sort(chosen)[::-1]
        counts[query - start] = len(chosen)
        for place in range(len(chosen)):
            ids[query - start, place] = 0x7FFFFFFF - (chosen[place] & 0xFFFFFFFF)
            bits[0] = chosen[place] >> 32
            found[query - start, place] = single[0]

"""Base class of neighbourhood models, item-kNN and user-kNN: forms of ratings, and predictions from neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.core.errors import ConfigError
from nnrec.core.jit import compiled
from nnrec.data.ratings import Ratings
from nnrec.models.base.baseline import Baseline, matrix
from nnrec.models.base.scorer import Capability, Family
from nnrec.models.basic.bias import biases, check_varied, history_bias
from nnrec.models.knn.similarity import Measure, check, in_tiles

Form = Literal["plain", "centered", "zscore", "baseline"]
Scoring = Literal["sum", "mean"]
# Attributes that `fit_levels` sets.
LEVELS = ("rating_scale", "mean", "deviation", "item_bias", "item_offset", "item_scale")

# Rows, and pairs, that a CPU core scores at a time.
ROWS, PAIRS = 32, 2**17


@dataclass
class Levels:
    """Offsets, scales and baselines of B users' ratings, each (B,) float32.

    Attributes:
        offset, scale: ratings are transformed to (rating - offset) / scale.
        baseline: mean + user bias.
    """

    offset: np.ndarray
    scale: np.ndarray
    baseline: np.ndarray


@dataclass
class Queries:
    """Encoded queries of B users.

    Attributes:
        links: (B, M) sparse: the users' rated items in item-kNN, their similar users in user-kNN.
        weights: (nnz,) float32, weights of the ratings in `links`; empty if `links` holds similarities.
        levels: levels of the users with scoring=mean, else None.
    """

    links: sparse.csr_array
    weights: np.ndarray
    levels: Levels | None

    def __len__(self) -> int:
        return self.links.shape[0]


class Neighbourhood(Baseline):
    """Base class of neighbourhood models: options, forms of ratings, both ways of scoring.

    With x the ratings of the neighbours N and s > 0 their similarities, an item's score is

        scoring=sum     sum_N s      over liked neighbours (item-kNN), or neighbours who liked the item (user-kNN)
        scoring=mean    offset + scale * sum_N s (x - offset_x) / scale_x / sum_N s

    where offset and scale depend on `form`; p is the item in item-kNN, the user in user-kNN:

        plain       offset 0, scale 1
        centered    offset = mean of p's ratings (overall mean if p has none), scale 1
        zscore      offset as in centered, scale = standard deviation of p's ratings (that of all ratings if it is 0)
        baseline    offset = mean + user bias + item bias as in `nnrec.models.basic.bias`, scale 1

    Without neighbours, the score of scoring=mean is the baseline estimate, mean + user bias + item bias. Scores are not
    clipped. Weights of ratings multiply s. s is the similarity to the power `amplification` (Breese, Heckerman, Kadie:
    Empirical Analysis of Predictive Algorithms for Collaborative Filtering, 1998, section 2.2.3).
    """

    side: Literal["item", "user"]
    family: Family = "implicit"
    capabilities: frozenset[Capability] = frozenset({"new_users"})

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        scoring: Scoring,
        form: Form,
        similarity: Measure,
        neighbours: int,
        stored: int | None,
        shrinkage: float,
        min_overlap: int,
        amplification: float,
        relevant: float | None,
        l2_user: float,
        l2_item: float,
        memory_limit: float | None,
        name: str,
    ) -> None:
        super().__init__(num_users, num_items, memory_limit=memory_limit, name=name)
        check(similarity, neighbours, shrinkage, min_overlap)
        for key, value, options in (("scoring", scoring, get_args(Scoring)), ("form", form, get_args(Form))):
            if value not in options:
                raise ConfigError(f"model.{key} must be one of {', '.join(options)}. Received: {value}")
        if stored is not None and stored < neighbours:
            raise ConfigError(
                f"model.stored must be at least model.neighbours={neighbours}, or null. Received: {stored}"
            )
        if not amplification > 0:
            raise ConfigError(f"model.amplification must be positive. Received: {amplification}")
        for key, penalty in (("l2_user", l2_user), ("l2_item", l2_item)):
            if penalty < 0:
                raise ConfigError(f"model.{key} must not be negative. Received: {penalty}")
        self.scoring, self.form, self.similarity, self.neighbours = scoring, form, similarity, neighbours
        self.stored = neighbours if scoring == "sum" else stored
        self.shrinkage, self.min_overlap, self.amplification = shrinkage, min_overlap, amplification
        self.relevant, self.l2_user, self.l2_item = relevant, l2_user, l2_item
        self.learnt = self.learnt if self.compares_likes else (*self.learnt, *LEVELS)
        if scoring == "mean":
            self.family, self.capabilities = "ratings", frozenset({"new_users", "rating_scale"})

    @property
    def compares_likes(self) -> bool:
        """Whether similarities compare liked items or users as sets, apart from rating values."""
        return self.scoring == "sum" and self.similarity in ("cosine", "jaccard")

    # Learning from ratings, and reading histories

    def fit_levels(self, train: Ratings) -> None:
        """Learns means and biases if the model needs them.

        Raises:
            DataError: with scoring=sum, no rating is relevant; or all ratings are the same.
        """
        if self.scoring == "sum":
            matrix(train, self.relevant)
        if self.compares_likes:
            return
        check_varied(train)
        self.rating_scale = np.array(train.scale, np.float32)
        self.mean, _, self.item_bias = biases(train, self.l2_user, self.l2_item)
        batch = whole(train)
        centre = np.average(batch["value"].astype(np.float64), weights=batch["weight"])
        self.deviation = np.sqrt(np.average((batch["value"] - centre) ** 2, weights=batch["weight"]))
        self.item_offset, self.item_scale = np.zeros(self.num_items, np.float32), np.ones(self.num_items, np.float32)
        if self.form == "baseline":
            self.item_offset = self.item_bias
        elif self.side == "item":
            self.item_offset, self.item_scale = self._spread(batch, "column", self.num_items)

    def user_levels(self, batch: Batch) -> Levels:
        """Returns the levels of the users in a batch, computed from their histories."""
        size = len(batch["index"])
        baseline = np.float32(self.mean) + history_bias(batch, float(self.mean), self.item_bias, self.l2_user)
        if self.form == "baseline":
            return Levels(baseline, np.ones(size, np.float32), baseline)
        if self.side == "user":
            return Levels(*self._spread(batch, "row", size), baseline)
        return Levels(np.zeros(size, np.float32), np.ones(size, np.float32), baseline)

    def _spread(self, batch: Batch, of: Literal["row", "column"], size: int) -> tuple[np.ndarray, np.ndarray]:
        """(size,) float32 offsets and scales of rows or columns for all forms except baseline."""
        offset, scale = np.zeros(size), np.ones(size)
        if self.form != "plain":
            index, value, weight = batch[of], batch["value"].astype(np.float64), batch["weight"]
            weight = np.where(weight > 0, weight, 0)
            value = np.where(weight > 0, value, 0)
            count = np.bincount(index, weight, size)
            offset[:] = self.mean
            np.divide(np.bincount(index, weight * value, size), count, out=offset, where=count > 0)
            if self.form == "zscore":
                squares = np.bincount(index, weight * (value - offset[index]) ** 2, size)
                scale = np.sqrt(np.divide(squares, count, out=np.zeros(size), where=count > 0))
                scale[scale < 1e-6] = self.deviation
        return offset.astype(np.float32), scale.astype(np.float32)

    def deviations(self, batch: Batch) -> tuple[sparse.csr_array, np.ndarray]:
        """(B, num_items) ratings of the batch transformed according to `form`, and (nnz,) their weights."""
        levels = self.user_levels(batch)
        row, column = batch["row"], batch["column"]
        values = (batch["value"] - levels.offset[row] - self.item_offset[column]) / levels.scale[row]
        return rows_of(batch, values / self.item_scale[column], self.num_items)

    def vectors(self, batch: Batch) -> sparse.csr_array:
        """(B, num_items) vectors that users are compared by; items are compared by the columns."""
        values = batch["value"]
        if self.compares_likes:
            return rows_of(batch, np.ones_like(values), self.num_items, self.relevant)[0]
        if self.similarity == "pearson_baseline":
            users = history_bias(batch, float(self.mean), self.item_bias, self.l2_user)
            values = values - np.float32(self.mean) - users[batch["row"]] - self.item_bias[batch["column"]]
        return rows_of(batch, values, self.num_items)[0]

    def amplified(self, similar: sparse.csr_array) -> sparse.csr_array:
        """Raises the similarities to the power `amplification`, in place, and returns them."""
        if self.amplification != 1:
            similar.data **= np.float32(self.amplification)
        return similar

    # Scores

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        levels = queries.levels
        scores = self.votes(queries) if levels is None else self.means(queries)
        if levels is not None:
            scores *= levels.scale[:, None] * self.item_scale
            scores += levels.offset[:, None] + self.item_offset
            np.copyto(scores, levels.baseline[:, None] + self.item_bias, where=np.isnan(scores))
        return scores if items is None else scores[:, items]

    def score_pairs(self, queries: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        levels = queries.levels
        if levels is None:
            return super().score_pairs(queries, rows, items)
        means = self.pair_means(queries, rows, items)
        scores = means * (levels.scale[rows] * self.item_scale[items]) + (levels.offset[rows] + self.item_offset[items])
        return np.where(np.isnan(means), levels.baseline[rows] + self.item_bias[items], scores).astype(np.float32)

    def votes(self, queries: Queries) -> np.ndarray:
        """(B, num_items) float32 sums of similarities."""
        links, onward = arrays(queries.links), arrays(self.onward())
        scores = np.zeros((len(queries), self.num_items), np.float32)
        in_tiles(lambda start, stop: _add_up(start, stop, *links, *onward, scores), len(queries), ROWS)
        return scores

    def onward(self) -> sparse.csr_array:
        """(M, num_items) weights from the columns of `Queries.links` to items, for scoring=sum."""
        raise NotImplementedError

    def means(self, queries: Queries) -> np.ndarray:
        """(B, num_items) float32 weighted means of the nearest neighbours' transformed ratings; NaN without any."""
        raise NotImplementedError

    def pair_means(self, queries: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(m,) the same for single (query, item) pairs."""
        raise NotImplementedError


def nearest_means(
    searched: np.ndarray,
    targets: np.ndarray,
    near: sparse.csr_array,
    given: sparse.csr_array,
    weights: np.ndarray,
    neighbours: int,
) -> np.ndarray:
    """(m,) float32 mean over the nearest neighbours for each pair, weighted by similarity; NaN without neighbours.

    Args:
        searched: (m,) each pair's row of `near`.
        targets: (m,) each pair's row of `given`.
        near: (., M) similarities, in descending order in each row.
        given: (., M) values to average.
        weights: (nnz,) weights of the entries of `given`.
        neighbours: number of the most similar columns to average, among those with an entry in both rows.
    """
    order = np.argsort(targets, kind="stable")
    parts = *arrays(near), *arrays(given), weights, near.shape[1], neighbours
    means = np.empty(len(order), np.float32)

    def work(start: int, stop: int) -> None:
        pairs = order[start:stop]
        means[pairs] = _average(searched[pairs], targets[pairs], *parts)

    in_tiles(work, len(order), PAIRS)
    return means


def whole(train: Ratings) -> Batch:
    """Returns all ratings as one batch."""
    weight = np.ones(len(train), np.float32) if train.weight is None else train.weight
    index = np.arange(train.num_users)
    return {"index": index, "row": train.user, "column": train.item, "value": train.value, "weight": weight}


def rows_of(
    batch: Batch, values: np.ndarray, num_items: int, relevant: float | None = None
) -> tuple[sparse.csr_array, np.ndarray]:
    """Returns a batch as a sparse matrix, with ascending items in each row, and the weights of its entries.

    Args:
        batch: rows of users, see `RowBatches`; padding is left out.
        values: (E,) values to use instead of the batch's values.
        num_items: number of columns.
        relevant: keep only entries whose value in the batch is at least this; None = all.
    """
    counts = batch["weight"] > 0
    if relevant is not None:
        counts &= batch["value"] >= relevant
    kept = np.flatnonzero(counts)
    kept = kept[np.lexsort((batch["column"][kept], batch["row"][kept]))]
    size = len(batch["index"])
    starts = np.concatenate([[0], np.cumsum(np.bincount(batch["row"][kept], minlength=size))])
    entries = values[kept].astype(np.float32), batch["column"][kept], starts
    return sparse.csr_array(entries, shape=(size, num_items)), batch["weight"][kept]


def arrays(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns row starts, column indices and values in the types that compiled loops expect."""
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )


@compiled
def _add_up(start, stop, starts, ids, values, next_starts, next_ids, next_values, scores):
    """Adds the product of two sparse matrices to `scores`, for the rows from `start` to `stop`."""
    for row in range(start, stop):
        for entry in range(starts[row], starts[row + 1]):
            middle = ids[entry]
            for other in range(next_starts[middle], next_starts[middle + 1]):
                scores[row, next_ids[other]] += values[entry] * next_values[other]


@compiled
def _average(searched, targets, starts, ids, similarities, given_starts, given_ids, given, weights, size, neighbours):
    """Computes `nearest_means` for pairs ordered by target."""
    means = np.empty(len(searched), np.float32)
    position = np.full(size, np.int32(-1))
    loaded = -1
    for pair in range(len(searched)):
        target = targets[pair]
        if target != loaded:
            if loaded >= 0:
                for entry in range(given_starts[loaded], given_starts[loaded + 1]):
                    position[given_ids[entry]] = -1
            for entry in range(given_starts[target], given_starts[target + 1]):
                position[given_ids[entry]] = entry - given_starts[target]
            loaded = target
        total, summed, found = 0.0, 0.0, 0
        for other in range(starts[searched[pair]], starts[searched[pair] + 1]):
            place = position[ids[other]]
            if place >= 0:
                entry = given_starts[target] + place
                factor = np.float64(similarities[other]) * weights[entry]
                total += factor
                summed += factor * given[entry]
                found += 1
                if found == neighbours:
                    break
        means[pair] = summed / total if total > 0 else np.nan
    return means

"""User-kNN: items of similar users."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.core.jit import compiled
from nnrec.data.ratings import Ratings
from nnrec.models.knn.neighbourhood import (
    ROWS,
    Form,
    Neighbourhood,
    Queries,
    Scoring,
    arrays,
    nearest_means,
    rows_of,
    whole,
)
from nnrec.models.knn.similarity import Measure, Search, column_means, comparable, in_tiles


class UserKNN(Neighbourhood):
    """Scores an item by the similarity of the users who rated or liked it.

    Source: scoring=mean follows Herlocker, Konstan, Borchers, Riedl: An Algorithmic Framework for Performing
    Collaborative Filtering, 1999: a weighted mean over the k most similar users among those who rated the item.
    scoring=sum is the usual top-N form, for example Aiolli: Efficient Top-N Recommendation for Very Large Scale Binary
    Rated Datasets, 2013, section 3.1: the k users most similar to the user vote for the items they liked.

    In: a history, which is compared with the training ratings of all other users; new users are treated like all
    others. Out: (B, num_items) float32, sums of similarities (sum), or predicted ratings, not clipped (mean).

    Differs: only similarities above 0 are used. With scoring=sum, cosine and jaccard compare the sets of liked items;
    the other similarities, and all with scoring=mean, compare ratings. With scoring=mean the k neighbours are searched
    only among the `stored` most similar users. The saved weights contain the training ratings, whatever keep_histories
    is.

    Args:
        num_users, num_items: sizes of the data.
        scoring: "sum" for lists, "mean" for predicted ratings.
        form: form of the ratings that scoring=mean averages; see `Neighbourhood`.
        similarity: see `nnrec.models.knn.similarity.similarities`.
        neighbours: k.
        stored: number of most similar users to search with scoring=mean; None = all.
        shrinkage, min_overlap: see `similarities`.
        amplification: exponent of the similarities; see `Neighbourhood`.
        relevant: with scoring=sum, ratings of at least this value are liked; None = all.
        l2_user, l2_item: penalties of the baseline estimate, as in `nnrec.models.Bias`.
        memory_limit: as in `Baseline`.
    """

    side = "user"
    learnt = ("people", "had", "had_weights", "item_means")

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        scoring: Scoring = "sum",
        form: Form = "baseline",
        similarity: Measure = "cosine",
        neighbours: int = 50,
        stored: int | None = 1000,
        shrinkage: float = 0.0,
        min_overlap: int = 1,
        amplification: float = 1.0,
        relevant: float | None = None,
        l2_user: float = 5.0,
        l2_item: float = 5.0,
        memory_limit: float | None = None,
        name: str = "user_knn",
    ) -> None:
        super().__init__(
            num_users, num_items, scoring=scoring, form=form, similarity=similarity, neighbours=neighbours,
            stored=stored, shrinkage=shrinkage, min_overlap=min_overlap, amplification=amplification,
            relevant=relevant, l2_user=l2_user, l2_item=l2_item, memory_limit=memory_limit, name=name,
        )  # fmt: skip

    def memory_needed(self, train: Ratings) -> int:
        # Values to compare, by user and by item; values to average, by user and by item; and weights.
        return 5 * 16 * len(train)

    def fit(self, train: Ratings) -> None:
        """Sets `people`, the vectors to compare, and `had`, the values to average or sum: (num_users, num_items)."""
        self.fit_levels(train)
        everybody = whole(train)
        vectors = self.vectors(everybody)
        self.item_means = column_means(vectors)
        self.people = comparable(vectors, self.similarity)
        if self.scoring == "sum":
            self.had, self.had_weights = rows_of(everybody, everybody["weight"], self.num_items, self.relevant)
        else:
            self.had, self.had_weights = self.deviations(everybody)
        for derived in ("_search", "_by_item"):
            self.__dict__.pop(derived, None)

    def encode(self, batch: Batch) -> Queries:
        compared = comparable(self.vectors(batch), self.similarity, self.item_means)
        levels = self.user_levels(batch) if self.scoring == "mean" else None
        similar = self.amplified(self._search(compared, batch["index"]))
        return Queries(similar, np.empty(0, np.float32), levels)

    def onward(self) -> sparse.csr_array:
        return self.had

    def means(self, queries: Queries) -> np.ndarray:
        links, had = arrays(queries.links), arrays(self.had)
        scores = np.empty((len(queries), self.num_items), np.float32)

        def work(start: int, stop: int) -> None:
            _average(start, stop, *links, *had, self.had_weights, self.neighbours, scores)

        in_tiles(work, len(queries), ROWS)
        return scores

    def pair_means(self, queries: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        return nearest_means(rows, items, queries.links, *self._by_item, self.neighbours)

    @cached_property
    def _search(self) -> Search:
        return Search(
            self.people,
            self.similarity,
            neighbours=self.stored,
            shrinkage=self.shrinkage,
            min_overlap=self.min_overlap,
        )

    @cached_property
    def _by_item(self) -> tuple[sparse.csr_array, np.ndarray]:
        """(num_items, num_users) the transpose of `had`, and the weights of its entries."""
        weights = sparse.csr_array((self.had_weights, self.had.indices, self.had.indptr), shape=self.had.shape)
        return self.had.T.tocsr(), weights.T.tocsr().data


@compiled
def _average(start, stop, starts, ids, similarities, had_starts, had_ids, had, weights, neighbours, scores):
    """Computes `nearest_means` for all items, visiting users in descending order of similarity."""
    size = scores.shape[1]
    found, total, summed = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    for row in range(start, stop):
        for link in range(starts[row], starts[row + 1]):
            person = ids[link]
            for entry in range(had_starts[person], had_starts[person + 1]):
                item = had_ids[entry]
                if found[item] < neighbours:
                    factor = np.float64(similarities[link]) * weights[entry]
                    found[item] += 1
                    total[item] += factor
                    summed[item] += factor * had[entry]
        for item in range(size):
            scores[row, item] = summed[item] / total[item] if total[item] > 0 else np.nan
        found[:] = 0
        total[:] = 0
        summed[:] = 0

"""User-kNN: what people alike had."""

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
    """Scores an item by the similarity of the people who had it.

    Source: scoring=mean: Herlocker, Konstan, Borchers, Riedl: An Algorithmic Framework for Performing Collaborative
    Filtering, 1999: of the people who rated the item, the k most similar to the user count. scoring=sum: the usual
    top-N form, for example Aiolli: Efficient Top-N Recommendation for Very Large Scale Binary Rated Datasets, 2013,
    section 3.1: of all people the k most similar to the user vote for what they liked.

    In: a history, which is compared with the training ratings of everybody else: somebody new is treated as
    everybody is. Out: (B, num_items) float32, votes (sum) or predicted ratings, not clipped (mean).

    Differs: similarities up to 0 count for nothing. With scoring=sum, cosine and jaccard compare the sets of liked
    items; the other similarities, and all with scoring=mean, compare ratings. With scoring=mean only the `stored` most
    similar people are searched for those who rated the item. The weights hold the training ratings, whatever
    keep_histories says.

    Args:
        num_users, num_items: sizes of the data.
        scoring: "sum" for lists, "mean" for predicted ratings.
        form: what mean averages; see `Neighbourhood`.
        similarity: see `nnrec.models.knn.similarity.similarities`.
        neighbours: k.
        stored: people that are searched with scoring=mean; None = all.
        shrinkage, min_overlap: see `similarities`.
        amplification: power of the similarities; see `Neighbourhood`.
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
        # Values to compare, by user and by item, what is averaged, by user and by item, and weights.
        return 5 * 16 * len(train)

    def fit(self, train: Ratings) -> None:
        """Sets `people`, what they are compared by, and `had`, what is averaged or added up: (num_users, num_items)."""
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
        """(num_items, num_users) `had` by item, and the weights in that order."""
        weights = sparse.csr_array((self.had_weights, self.had.indices, self.had.indptr), shape=self.had.shape)
        return self.had.T.tocsr(), weights.T.tocsr().data


@compiled
def _average(start, stop, starts, ids, similarities, had_starts, had_ids, had, weights, neighbours, scores):
    """As `nearest_means`, for all items: goes through the people from the most similar on."""
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

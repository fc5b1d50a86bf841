"""Item-kNN: items similar to those in the history."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from nnrec.batches.protocol import Batch
from nnrec.data.ratings import Ratings
from nnrec.models.knn.neighbourhood import Form, Neighbourhood, Queries, Scoring, nearest_means, rows_of, whole
from nnrec.models.knn.similarity import Measure, similarities


class ItemKNN(Neighbourhood):
    """Scores an item by its similarity to the items of the history.

    Source: scoring=sum follows Deshpande, Karypis: Item-Based Top-N Recommendation Algorithms, 2004, section 4.1: each
    item of the history votes for the k items most similar to it. scoring=mean follows Sarwar et al.: Item-based
    Collaborative Filtering Recommendation Algorithms, 2001, section 3.2.1, and with form=baseline Koren: Factor in the
    Neighbors, 2010, equation 3: a weighted mean over the k most similar items among those that the user has rated.

    In: a history. Out: (B, num_items) float32, sums of similarities (sum), or predicted ratings, not clipped (mean).

    Differs: only similarities above 0 are used. Votes are not normalised. With scoring=sum, cosine and jaccard compare
    the sets of users who liked the items; the other similarities, and all with scoring=mean, compare ratings. With
    scoring=mean the k neighbours are searched only among the `stored` items most similar to each item.

    Args:
        num_users, num_items: sizes of the data.
        scoring: "sum" for lists, "mean" for predicted ratings.
        form: form of the ratings that scoring=mean averages; see `Neighbourhood`.
        similarity: see `nnrec.models.knn.similarity.similarities`.
        neighbours: k.
        stored: number of similarities stored for each item with scoring=mean; None = all.
        shrinkage, min_overlap: see `similarities`.
        amplification: exponent of the similarities; see `Neighbourhood`.
        relevant: with scoring=sum, ratings of at least this value are liked; None = all.
        l2_user, l2_item: penalties of the baseline estimate, as in `nnrec.models.Bias`.
        memory_limit: as in `Baseline`.
    """

    side = "item"
    learnt = ("similar",)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        scoring: Scoring = "sum",
        form: Form = "baseline",
        similarity: Measure = "cosine",
        neighbours: int = 20,
        stored: int | None = 500,
        shrinkage: float = 0.0,
        min_overlap: int = 1,
        amplification: float = 1.0,
        relevant: float | None = None,
        l2_user: float = 5.0,
        l2_item: float = 5.0,
        memory_limit: float | None = None,
        name: str = "item_knn",
    ) -> None:
        super().__init__(
            num_users, num_items, scoring=scoring, form=form, similarity=similarity, neighbours=neighbours,
            stored=stored, shrinkage=shrinkage, min_overlap=min_overlap, amplification=amplification,
            relevant=relevant, l2_user=l2_user, l2_item=l2_item, memory_limit=memory_limit, name=name,
        )  # fmt: skip

    def memory_needed(self, train: Ratings) -> int:
        kept = self.num_items if self.stored is None else min(self.stored, self.num_items)
        # An index and a similarity per entry, in blocks and concatenated.
        return 2 * 8 * kept * self.num_items

    def fit(self, train: Ratings) -> None:
        """Sets `similar`: (num_items, num_items), in each row the items most similar to it."""
        self.fit_levels(train)
        self.similar = self.amplified(self.compare(train))

    def compare(self, train: Ratings) -> sparse.csr_array:
        """Returns the similarities of the items, as `similarities` does."""
        return similarities(
            self.vectors(whole(train)).T.tocsr(),
            self.similarity,
            neighbours=self.stored,
            shrinkage=self.shrinkage,
            min_overlap=self.min_overlap,
            label="comparing items",
        )

    def encode(self, batch: Batch) -> Queries:
        if self.scoring == "sum":
            return Queries(*rows_of(batch, batch["weight"], self.num_items, self.relevant), None)
        return Queries(*self.deviations(batch), self.user_levels(batch))

    def onward(self) -> sparse.csr_array:
        return self.similar

    def linear(self) -> sparse.csr_array | None:
        return self.similar if self.scoring == "sum" else None

    def means(self, queries: Queries) -> np.ndarray:
        shape = len(queries), self.num_items
        return self.pair_means(queries, *(grid.ravel() for grid in np.indices(shape, np.int32))).reshape(shape)

    def pair_means(self, queries: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        return nearest_means(items, rows, self.similar, queries.links, queries.weights, self.neighbours)

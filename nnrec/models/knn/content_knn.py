"""Content-kNN: items whose content is similar to that of the items in the history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.models.knn.item_knn import ItemKNN
from nnrec.models.knn.neighbourhood import Form, Scoring
from nnrec.models.knn.similarity import similarities

# The year at the end of a title, as MovieLens has it.
YEAR = r"\s*\(\d{4}(?:[-–]\d{0,4})?\)\s*$"


class ContentKNN(ItemKNN):
    """Scores an item by the similarity of its content to that of the items in the history.

    Source: the usual content-based recommender, for example Lops, de Gemmis, Semeraro: Content-based Recommender
    Systems, 2011, section 3.3.1: the cosine of item vectors. Here a vector has up to three parts, each scaled to
    the length sqrt(weight), so that the weighted cosines of the parts add up:

        genres    1 for each genre (separated by "|")
        title     TF-IDF of its words, without a year at its end
        year      1 for each of the `year_span` years around the item's year: this part's cosine of two items
                  falls linearly from 1 for the same year to 0 for years `year_span` apart

    In: a history. Out: (B, num_items) float32, scores of `ItemKNN` with these similarities. Items without
    ratings are scored like all others.

    Differs: an item without one of the parts is compared by the other parts.

    Args:
        num_users, num_items: sizes of the data.
        genres, title, year: weights of the parts; 0 = the part is not used.
        year_span: number of years, odd; see above.
        scoring, form, neighbours, stored, amplification, relevant, l2_user, l2_item, memory_limit: as in `ItemKNN`.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        genres: float = 1.0,
        title: float = 1.0,
        year: float = 0.0,
        year_span: int = 11,
        scoring: Scoring = "sum",
        form: Form = "baseline",
        neighbours: int = 20,
        stored: int | None = 500,
        amplification: float = 1.0,
        relevant: float | None = None,
        l2_user: float = 5.0,
        l2_item: float = 5.0,
        memory_limit: float | None = None,
        name: str = "content_knn",
    ) -> None:
        super().__init__(
            num_users, num_items, scoring=scoring, form=form, similarity="cosine", neighbours=neighbours,
            stored=stored, amplification=amplification, relevant=relevant, l2_user=l2_user, l2_item=l2_item,
            memory_limit=memory_limit, name=name,
        )  # fmt: skip
        self.parts = {"genres": genres, "title": title, "year": year}
        if min(self.parts.values()) < 0 or not any(self.parts.values()):
            raise ConfigError(f"model.genres, title and year are weights, at least one above 0. Received: {self.parts}")
        if year_span < 1 or year_span % 2 == 0:
            raise ConfigError(f"model.year_span must be a positive odd number of years. Received: {year_span}")
        self.year_span = year_span

    def compare(self, train: Ratings) -> sparse.csr_array:
        return similarities(self.describe(train), "cosine", neighbours=self.stored, label="comparing items")

    def describe(self, train: Ratings) -> sparse.csr_array:
        """(num_items, terms) float32, the content vectors of the items.

        Raises:
            DataError: the item table lacks the column of a part with a positive weight.
        """
        found = [] if train.item_table is None else list(train.item_table.columns)
        parts = []
        for part, weight in self.parts.items():
            if not weight:
                continue
            if train.item_table is None or part not in found:
                have = f"only {', '.join(found)}" if found else "no item table"
                raise DataError(
                    f"{self.name} compares items by {part}, but these data have {have}. Set model.{part}=0, or give "
                    "the items a description (data.source.item_table)."
                )
            vectors = self._vectors(part, train.item_table[part])
            parts.append(np.sqrt(weight) * _unit(vectors))
        return sparse.hstack(parts, format="csr", dtype=np.float32)

    def _vectors(self, part: str, column: pd.Series) -> sparse.csr_array:
        if part == "year":
            return self._years(column)
        text = column.fillna("").astype(str)
        if part == "genres":
            return _indicators(text)
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            return sparse.csr_array(TfidfVectorizer().fit_transform(text.str.replace(YEAR, "", regex=True)))
        except ValueError:  # no words
            return sparse.csr_array((len(text), 1))

    def _years(self, column: pd.Series) -> sparse.csr_array:
        years = pd.to_numeric(column, errors="coerce")
        items = np.flatnonzero(years.notna())
        if not len(items):
            return sparse.csr_array((len(years), 1))
        offsets = (years.iloc[items] - years.min()).to_numpy(np.int64)
        around = (offsets[:, None] + np.arange(self.year_span)).ravel()
        entries = np.ones(len(around)), (np.repeat(items, self.year_span), around)
        return sparse.csr_array(entries, shape=(len(years), int(around.max()) + 1))


def _indicators(text: pd.Series) -> sparse.csr_array:
    """(rows, distinct words), 1 for each word in the "|"-separated text of a row."""
    words = text.reset_index(drop=True).str.split("|").explode().str.strip()
    words = words[words != ""]
    codes, names = pd.factorize(words)
    return sparse.csr_array((np.ones(len(codes)), (words.index, codes)), shape=(len(text), max(len(names), 1)))


def _unit(vectors: sparse.csr_array) -> sparse.csr_array:
    """Scales rows to length 1; empty rows stay empty."""
    from sklearn.preprocessing import normalize

    return sparse.csr_array(normalize(vectors))

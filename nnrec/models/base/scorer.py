"""What every model offers, neural or not: a history goes in, a score per item comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.core.calling import typed
from nnrec.core.errors import ConfigError
from nnrec.data.families import RATINGS, Family
from nnrec.data.ratings import Ratings

Capability = Literal["new_users", "new_items", "rating_scale"]


class Scorer:
    """Scores items for histories.

    A model is trained (`Recommender` by gradient steps, `Baseline` by `fit`), then

        model.prepare(history)                     # before scoring: what the model may see
        scores = model.score(model.encode(batch))  # batch: rows of history.rows("user")

    Attributes:
        name: as in the configuration.
        family: of the data that it learns from: ratings, sessions (what came after what), or impressions (rows of
            features with a label).
        implicit: whether of ratings it learns what was liked, not the values.
        capabilities: "new_users": it can score for people who were not in the training data;
            "new_items": ... items that were not;
            "rating_scale": its scores are ratings, on the scale `rating_scale` = (lowest, highest).
        personal: whether different histories get different lists.
        relevant: an implicit model goes by ratings of at least this value; None = by all.
        rating_scale: (lowest, highest) of the ratings it learnt from; None where it goes by no values.
        inlined_config: settings that take the place of the configuration's in the run folder: the content of files
            that they name, so that the folder is all that prediction needs.
        notes: what people should know about its training or scoring so far, a line each.
        reads_files: whether it learns from data that lie in files as they are; otherwise they are read into memory.
        served_by: what scores come from in an export (`nnrec.serving`): "history", or "user", who they are in the
            training, and a history only where they are in none.
        serves_strangers: whether in an export it has lists for people from outside the training.
    """

    name: str
    family: Family = RATINGS
    implicit: bool = False
    capabilities: frozenset[Capability] = frozenset()
    personal = True
    relevant: float | None = None
    rating_scale: Any = None
    inlined_config: Mapping[str, Any] = MappingProxyType({})
    notes: Sequence[str] = ()
    reads_files = False
    export_input: Literal["history", "user"] = "history"
    serves_unseen_users = True

    def prepare(self, history: Ratings) -> None:
        """Takes notice of the ratings that may be seen when scoring. By default nothing is needed."""

    def encode(self, batch: Batch) -> Any:
        """Queries for a batch of users.

        Args:
            batch: rows of a (users x items) matrix, see `RowBatches`; `index` is the user's index,
                or -1 for somebody not seen in training.

        Returns:
            (B, ...) array or tensor.
        """
        raise NotImplementedError

    @property
    def min_value(self) -> float | None:
        """The value from which on an entry of a history says something to the model; None = whatever its value."""
        return self.relevant

    def has_history(self, batch: Batch) -> np.ndarray:
        """(B,) bool, whose history in the batch holds something that the model goes by."""
        used = batch["weight"] > 0
        if self.min_value is not None:
            used &= batch["value"] >= self.min_value
        return np.bincount(batch["row"], weights=used, minlength=len(batch["index"])) > 0

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """How much each item fits each query.

        Args:
            queries: what `encode` returned for B users.
            items: (m,) item indices; None = all.

        Returns:
            (B, m) or (B, num_items) array or tensor, higher is better.
        """
        raise NotImplementedError

    def score_pairs(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The scores of single (query, item) pairs, (m,) float32.

        Args:
            queries: what `encode` returned.
            rows: (m,) positions in `queries`.
            items: (m,) item indices.
        """
        return np.asarray(self.score(queries))[rows, items]

    def export_scores(self, batch: Any) -> Any:
        """The scores of all items, as part of a graph that is exported (`nnrec.serving`).

        Args:
            batch: what `encode` takes, as tensors: the rows one after the other, all with as many entries, padding
                included; no `key`. Of a model of sessions: (B, T) int32 items of the events in order, -1 where there is
                none, which may be anywhere.

        Returns:
            (B, num_items) float32 tensor.

        Raises:
            ConfigError: the model has no such graph.
        """
        raise ConfigError(
            f"{self.name} cannot be exported: its scores are no graph of tensors but the outcome of a program. "
            f"{typed('predict')} writes its lists: output=recommendations.parquet."
        )

    @classmethod
    def trainer_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the trainer that settings of the model bring along, in place of those configured.

        Args:
            settings: of the model.
        """
        return {}

    def item_vectors(self) -> np.ndarray | None:
        """(num_items, d) vectors for TensorBoard's projector; None where there are none to look at."""
        return None

    def state(self) -> dict[str, np.ndarray]:
        """All that was learnt, as arrays by name."""
        raise NotImplementedError

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes up what `state` returned; may empty `arrays` on the way.

        Raises:
            RunError: it belongs to a model of another shape.
        """
        raise NotImplementedError

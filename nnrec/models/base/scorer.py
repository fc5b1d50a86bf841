"""The interface of all models, neural and classical: from a history to a score for each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from nnrec.batches.protocol import Batch
from nnrec.core.calling import typed
from nnrec.core.errors import ConfigError
from nnrec.data.ratings import Ratings

Capability = Literal["new_users", "new_items", "rating_scale"]
Family = Literal["ratings", "implicit", "sessions", "impressions"]


class Scorer:
    """Scores items for histories.

    A model is trained (`Recommender` by gradient steps, `Baseline` by `fit`), then

        model.prepare(history)                     # before scoring: the ratings that the model may use
        scores = model.score(model.encode(batch))  # batch: rows of history.rows("user")

    Attributes:
        name: the model's name in the configuration.
        family: the data it learns from: "ratings" (rating values), "implicit" (liked items), "sessions" (ordered
            events), "impressions" (rows of features with a label).
        capabilities: "new_users": it can score items for users who were not in the training data;
            "new_items": it can score items that were not in the training data;
            "rating_scale": its scores are ratings on the scale `rating_scale` = (lowest, highest).
        personal: whether different histories can give different lists.
        relevant: an implicit model uses only ratings of at least this value; None = all.
        rating_scale: (lowest, highest) training rating; None if the model does not use rating values.
        inlined_config: settings that replace those of the configuration in the run folder: the contents of files that
            the configuration names, so that prediction needs only the run folder.
        notes: one line for each thing that users should know about the training or scoring so far.
        reads_files: whether it can be trained on data stored in files; otherwise they are read into memory.
        export_input: the input of scores in an export (`nnrec.serving`): "history"; or "user", the user's index in the
            training, and a history only for users who are not in the training.
        serves_unseen_users: whether an exported model has lists for users who were not in the training.
    """

    name: str
    family: Family
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
        """Sets the ratings that may be used for scoring. By default nothing is needed."""

    def encode(self, batch: Batch) -> Any:
        """Computes queries for a batch of users.

        Args:
            batch: rows of a (users x items) matrix, see `RowBatches`; `index` is the user's index,
                or -1 for a user not seen in training.

        Returns:
            (B, ...) array or tensor.
        """
        raise NotImplementedError

    @property
    def min_value(self) -> float | None:
        """The least value of the history entries that the model uses; None = all entries are used."""
        return self.relevant

    def has_history(self, batch: Batch) -> np.ndarray:
        """(B,) bool, True for users whose history in the batch has an entry that the model uses."""
        used = batch["weight"] > 0
        if self.min_value is not None:
            used &= batch["value"] >= self.min_value
        return np.bincount(batch["row"], weights=used, minlength=len(batch["index"])) > 0

    def score(self, queries: Any, items: np.ndarray | None = None) -> Any:
        """Scores items for each query.

        Args:
            queries: from `encode`, for B users.
            items: (m,) item indices; None = all.

        Returns:
            (B, m) or (B, num_items) array or tensor, higher is better.
        """
        raise NotImplementedError

    def score_pairs(self, queries: Any, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(m,) float32 scores of single (query, item) pairs.

        Args:
            queries: from `encode`.
            rows: (m,) positions in `queries`.
            items: (m,) item indices.
        """
        return np.asarray(self.score(queries))[rows, items]

    def export_scores(self, batch: Any) -> Any:
        """Computes the scores of all items as part of an exported graph (`nnrec.serving`).

        Args:
            batch: the input of `encode` as tensors, without `key`: the rows one after the other, all padded to the same
                number of entries. For session models: (B, T) int32 items of the events in order, with -1 for no event,
                which may be anywhere.

        Returns:
            (B, num_items) float32 tensor.

        Raises:
            ConfigError: the model cannot be exported as a graph.
        """
        raise ConfigError(
            f"{self.name} cannot be exported: its scores are no graph of tensors but the outcome of a program. "
            f"{typed('predict')} writes its lists: output=recommendations.parquet."
        )

    @classmethod
    def trainer_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns trainer settings that follow from the model's settings and override those configured.

        Args:
            settings: settings of the model.
        """
        return {}

    def item_vectors(self) -> np.ndarray | None:
        """(num_items, d) item embeddings for TensorBoard's projector; None if the model has none."""
        return None

    def state(self) -> dict[str, np.ndarray]:
        """Returns all learnt parameters as arrays by name."""
        raise NotImplementedError

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restores the arrays that `state` returned; may remove entries from `arrays`.

        Raises:
            RunError: the arrays belong to a model of another shape.
        """
        raise NotImplementedError

"""What all neural models of impressions share: labels, batches, estimates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import numpy as np
from keras import ops
from scipy.special import expit

from nnrec.batches.impressions import ImpressionBatches
from nnrec.batches.protocol import Batch
from nnrec.core.devices.collectives import in_parts
from nnrec.core.devices.compilation import device_function
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.encoding.fields import Fields
from nnrec.data.families import IMPRESSIONS
from nnrec.models.base.neural import Recommender
from nnrec.models.base.scorer import Capability
from nnrec.splits.impressions import Examples

Task = Literal["click", "rating"]


class ImpressionRecommender(Recommender):
    """A Keras model of rows of (user, item, context) features.

    A subclass computes the scores z of rows in `_score`, adds its loss in `call`, and scores pairs of a user in a
    situation and an item in `hold_items`, `encode` and `score`. The life of a model, after training:

        model.estimate(batch)                         # of rows: probabilities, or ratings
        model.hold_items(batch, names)                # what is to be ranked
        scores = model.score(model.encode(requests))  # requests: encoded rows of users and situations

    Args:
        fields: what an encoded row consists of.
        task: "click", labels are 0 and 1, and z is a logit; "rating", any numbers.
        name: as in the configuration.
    """

    family = IMPRESSIONS

    def __init__(self, fields: Fields | Mapping[str, Any], task: Task, name: str) -> None:
        super().__init__(name=name, autocast=False)
        if task not in get_args(Task):
            raise ConfigError(f"model.task must be click or rating. Received: {task!r}")
        self.fields = fields if isinstance(fields, Fields) else Fields.from_dict(fields)
        self.task = task
        self.capabilities: frozenset[Capability] = frozenset({"rating_scale"} if task == "rating" else ())
        self.bias = self.add_weight((), "zeros", name="bias", autocast=False)
        self.scale = self.add_weight((2,), "zeros", name="rating_scale", trainable=False, autocast=False)
        self._functions: dict[str, Any] = {}

    def hold_items(self, batch: Batch, names: Collection[str]) -> None:
        """Takes notice of the items that are to be scored.

        Args:
            batch: their encoded rows, in order; what stands in columns of other fields does not matter.
            names: the fields that are about the item; all others belong to users and contexts.
        """
        raise NotImplementedError

    def _score(self, batch: Batch, training: bool = False) -> Any:
        """(B,) z."""
        raise NotImplementedError

    @property
    def rating_scale(self) -> Any:
        """(lowest, highest) of the ratings it learnt from; None of clicks."""
        return ops.convert_to_numpy(self.scale) if self.task == "rating" else None

    def adapt(self, train: Examples) -> None:
        """Starts from the mean label.

        Raises:
            DataError: labels of clicks that are neither 0 nor 1.
        """
        label = train.label
        mean, low, high = float(label.mean(dtype=np.float64)), float(label.min()), float(label.max())
        if self.task == "click":
            if not ((label == 0) | (label == 1)).all():
                raise DataError(
                    f"The labels lie between {low:g} and {high:g}, and model.task=click needs 0 and 1. Predict them as "
                    "they are with model.task=rating, or say from which value on they are 1 (data.source.threshold)."
                )
            mean = float(np.clip(mean, 1e-4, 1 - 1e-4))
            mean = float(np.log(mean / (1 - mean)))
        self.bias.assign(mean)
        self.scale.assign([low, high])

    def training_batches(self, train: Examples, batch_size: int | Literal["auto"], seed: int) -> ImpressionBatches:
        """Rows in a random order. "auto" gives about 200 steps per epoch, with 64 to 4,096 rows each."""
        size = in_parts(int(np.clip(len(train) // 200, 64, 4096))) if batch_size == "auto" else batch_size
        return ImpressionBatches(train, size, seed=seed, unique_ids=self.row_sparse)

    def mean_error(self, score: Any, batch: Batch) -> Any:
        """The sum over the real rows of softplus(z) - y z (clicks) or (z - y)^2 (ratings), divided by all of them."""
        label = batch["label"]
        error = ops.softplus(score) - label * score if self.task == "click" else ops.square(score - label)
        return ops.sum(batch["weight"] * error) / ops.cast(ops.shape(label)[0], "float32")

    def export_scores(self, batch: Batch) -> Any:
        """(B,) z of encoded rows; see `Scorer.export_scores`."""
        return self._score(columns_of(batch))

    def estimate(self, batch: Batch) -> np.ndarray:
        """(B,) float32: probabilities that labels are 1, or ratings within the scale of those it learnt from."""
        if "estimate" not in self._functions:
            self._functions["estimate"] = device_function(self._score, self.weights)
        return self.as_estimates(ops.convert_to_numpy(self._functions["estimate"](columns_of(batch))))

    def as_estimates(self, scores: np.ndarray) -> np.ndarray:
        """What scores z say: probabilities, or ratings."""
        return expit(scores) if self.task == "click" else np.clip(scores, *self.rating_scale)


def columns_of(batch: Batch) -> Batch:
    """What of a batch says what its rows are about."""
    return {name: batch[name] for name in ("categorical", "multi", "multi_share", "numeric")}

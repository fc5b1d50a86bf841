"""Base class of neural impression models: labels, batches, estimates."""

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
from nnrec.models.base.neural import Recommender
from nnrec.models.base.scorer import Capability, Family
from nnrec.splits.impressions import Examples

Task = Literal["click", "rating"]


class ImpressionRecommender(Recommender):
    """A Keras model that scores rows of (user, item, context) features.

    A subclass computes the scores z of rows in `_score`, adds its loss in `call`, and implements `hold_items`, `encode`
    and `score`, which score many items for each user and context. After training, a model is used like this:

        model.estimate(batch)                         # predictions for rows: probabilities or ratings
        model.hold_items(batch, names)                # sets the items to rank
        scores = model.score(model.encode(requests))  # requests: encoded rows of users and contexts

    Args:
        fields: the fields of an encoded row.
        task: "click" = labels are 0 and 1, and z is a logit; "rating" = labels are numbers.
        name: the model's name in the configuration.
    """

    family: Family = "impressions"

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
        """Sets the items that `score` ranks.

        Args:
            batch: encoded rows of the items, in order; columns of other fields are ignored.
            names: the fields that describe items; all others describe users and contexts.
        """
        raise NotImplementedError

    def _score(self, batch: Batch, training: bool = False) -> Any:
        """(B,) scores z."""
        raise NotImplementedError

    @property
    def rating_scale(self) -> Any:
        """(lowest, highest) training rating; None for clicks."""
        return ops.convert_to_numpy(self.scale) if self.task == "rating" else None

    def adapt(self, train: Examples) -> None:
        """Initialises the bias with the mean label (its logit for clicks), and sets the rating scale.

        Raises:
            DataError: the task is "click", and a label is neither 0 nor 1.
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
        """Returns batches of rows in random order; "auto" gives about 200 steps per epoch of 64 to 4,096 rows each."""
        size = in_parts(int(np.clip(len(train) // 200, 64, 4096))) if batch_size == "auto" else batch_size
        return ImpressionBatches(train, size, seed=seed, unique_ids=self.row_sparse)

    def mean_error(self, score: Any, batch: Batch) -> Any:
        """Weighted sum over rows of softplus(z) - y z (clicks) or (z - y)^2 (ratings), divided by the batch size."""
        label = batch["label"]
        error = ops.softplus(score) - label * score if self.task == "click" else ops.square(score - label)
        return ops.sum(batch["weight"] * error) / ops.cast(ops.shape(label)[0], "float32")

    def export_scores(self, batch: Batch) -> Any:
        """(B,) scores z of encoded rows; see `Scorer.export_scores`."""
        return self._score(columns_of(batch))

    def estimate(self, batch: Batch) -> np.ndarray:
        """(B,) float32: probabilities of the label 1, or ratings clipped to the scale of the training ratings."""
        if "estimate" not in self._functions:
            self._functions["estimate"] = device_function(self._score, self.weights)
        return self.as_estimates(ops.convert_to_numpy(self._functions["estimate"](columns_of(batch))))

    def as_estimates(self, scores: np.ndarray) -> np.ndarray:
        """Converts scores z to probabilities or clipped ratings."""
        return expit(scores) if self.task == "click" else np.clip(scores, *self.rating_scale)


def columns_of(batch: Batch) -> Batch:
    """Returns the arrays of a batch that hold its features, without labels, weights and keys."""
    return {name: batch[name] for name in ("categorical", "multi", "multi_share", "numeric")}

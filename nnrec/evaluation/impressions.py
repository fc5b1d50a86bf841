"""Evaluation of impression models: predicted click probabilities or ratings against the labels of held-out rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import nnrec.evaluation.metrics as metrics
from nnrec.batches.impressions import blocks
from nnrec.core.console import ProgressBar
from nnrec.core.errors import ConfigError, DataError, TrainingError
from nnrec.evaluation.outcomes.impressions import ImpressionOutcome

if TYPE_CHECKING:
    from nnrec.splits.impressions import Examples

Depth = Literal["accuracy", "ranking", "all"]
# Rows that are scored together.
ROWS_AT_A_TIME = 2**13


@dataclass(frozen=True)
class ImpressionEvaluation:
    """Evaluates an impression model over all held-out rows.

    Metrics of predicted probabilities: `auc`, where a tie counts half; `log_loss` in nats; `gauc`, the AUC within each
    user's rows, averaged with the numbers of rows as weights, without users whose rows all have the same label;
    `calibration_error`, the mean absolute difference between predicted probability and observed share of positives, in
    bins with equal numbers of rows. Metrics of predicted ratings: `rmse` and `mae`.

    Args:
        bins: number of calibration bins.

    Raises:
        ConfigError: fewer than two bins.
    """

    bins: int = 20

    family = "impressions"

    def __post_init__(self) -> None:
        if not isinstance(self.bins, int) or self.bins < 2:
            raise ConfigError(f"evaluation.bins must be a whole number from 2 on. Received: {self.bins}")

    def monitor(self, model: Any) -> str:
        """Returns the metric that selects the best epoch by default."""
        return "rmse" if "rating_scale" in model.capabilities else "auc"

    def best_reachable(self, train: Examples, held_out: Examples) -> dict[str, float]:
        """Returns the metrics of the true probabilities by name; empty unless these are known (simulated data)."""
        if held_out.expected is None:
            return {}
        expected, label = held_out.expected, held_out.label
        best = {"auc": metrics.auc(label, expected), "log_loss": metrics.log_loss(label, expected)}
        within = self._within_users(ImpressionOutcome(_users(held_out), examples=held_out), expected)
        return best | ({} if within is None else {"gauc": within[1]})

    def check(self, held_out: Examples) -> None:
        """Checks, before training, that the held-out labels differ.

        Raises:
            DataError: all labels are the same.
        """
        label = held_out.label
        if len(label) and label.min() == label.max():
            raise DataError(
                f"All {len(label):,} held-out rows have the label {label[0]:g}: there is nothing to tell apart. "
                "Hold out more rows, or look at how labels are read."
            )

    def __call__(self, model: Any, train: Examples, held_out: Examples, depth: Depth = "all") -> ImpressionOutcome:
        """Evaluates a trained model.

        Args:
            model: a trained `ImpressionRecommender`.
            train: the rows that the model was trained on.
            held_out: rows to predict.
            depth: ignored; all metrics are always computed.

        Raises:
            DataError: training part and held-out part share a row.
            TrainingError: a prediction is not finite.
        """
        if (shared := train.shared(held_out)).size:
            raise DataError(
                f"{len(shared):,} of {len(held_out):,} held-out rows are in the training part, for example row "
                f"{shared[0]} of the data, counted from 0: figures would mean nothing. Mend the split."
            )
        measured = ImpressionOutcome(_users(held_out), examples=held_out)
        prediction = self._estimates(model, held_out, measured)
        measured.predictions, label = prediction, held_out.label
        if "rating_scale" in model.capabilities:
            error = label.astype(np.float64) - prediction
            measured.add_rows({"rmse": error**2, "mae": np.abs(error)})
            return measured
        measured.figures["auc"] = metrics.auc(label, prediction)
        likely = np.clip(
            np.where(label == 1, prediction, 1 - prediction.astype(np.float64)), metrics.SMALLEST_PROBABILITY, 1
        )
        measured.add_rows({"log_loss": -np.log(likely)})
        if (within := self._within_users(measured, prediction)) is not None:
            measured.per_user["gauc"], measured.figures["gauc"] = within
        measured.calibration = metrics.calibration(label, prediction, self.bins)
        measured.figures["calibration_error"] = measured.calibration.error
        return measured

    def _estimates(self, model: Any, held_out: Examples, measured: ImpressionOutcome) -> np.ndarray:
        """(n,) float32, the model's prediction for each row."""
        found, started, rows = [], time.perf_counter(), min(ROWS_AT_A_TIME, len(held_out))
        with ProgressBar("evaluating", len(held_out), transient=True) as bar:
            for batch in blocks(held_out, rows):
                found.append(model.estimate(batch)[batch["weight"] > 0])
                bar.advance(len(found[-1]))
                bar.report("rows")
        measured.users_per_second = len(held_out) / max(time.perf_counter() - started, 1e-9)
        prediction = np.concatenate(found)
        if wrong := int((~np.isfinite(prediction)).sum()):
            raise TrainingError(
                f"{wrong:,} of {len(prediction):,} predictions are not a number. Lower trainer.learning_rate, or look "
                "for extreme values in numeric columns."
            )
        return prediction

    @staticmethod
    def _within_users(measured: ImpressionOutcome, score: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Returns the AUC within each user's rows, and GAUC; None if no user has rows of both labels."""
        user = measured.rows_of_users
        there, number = user >= 0, len(measured.users)
        areas = metrics.auc_by_group(user[there], measured.examples.label[there], score[there], number)
        known, rows = ~np.isnan(areas), np.bincount(user[there], minlength=number)
        return (areas, float(np.average(areas[known], weights=rows[known]))) if known.any() else None


def _users(examples: Examples) -> np.ndarray:
    """Returns the users of these rows, ascending and without repeats."""
    return np.zeros(0, np.int32) if examples.user is None else np.unique(examples.user[examples.user >= 0])

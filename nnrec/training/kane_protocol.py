"""The evaluation protocol of Kane's course: accuracy, hit rates and list properties, each on a split of its own.

Kane, Building Recommender Systems with Machine Learning and AI. Three models with the same settings are trained:

    accuracy     a random share of all ratings is held out: rmse, mae
    hit_rates    one random rating of every user is held out: hit_rate@k, arhr@k, cumulative_hit_rate@k, hit rates by
                 rating, and all other metrics that compare lists with held-out ratings
    everything   nothing is held out: coverage, diversity, novelty; the run keeps this model

The accuracy part is skipped for models that predict no ratings. Each part has a subfolder of the run and can be resumed
like a run; at the end their figures are merged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from nnrec.core.console import console
from nnrec.core.files import atomic
from nnrec.data.ratings import Ratings
from nnrec.evaluation.outcomes.ratings import Outcome
from nnrec.runs.folder import RunFolder
from nnrec.splits.course import CourseSplit
from nnrec.splits.ratings import RandomSplit
from nnrec.splits.split import HeldOut, Split
from nnrec.splits.users import LeaveOneOut
from nnrec.training.experiment import Learning
from nnrec.training.settings import Settings

# Files of the model trained on everything that become files of the run.
KEPT = ("weights.npz", "item_counts.npz", "histories", "test_lists.npz")


class Course:
    """Trains and evaluates the three models of the course's protocol, and writes the run folder.

    Args:
        settings: of the training.
        ratings: all ratings.

    Attributes:
        settings: the same, with the course's split instead of any other.
        definition: description of the three splits: what is held out, how, and with which seed.
    """

    def __init__(self, settings: Settings, ratings: Ratings) -> None:
        self.settings = settings = _with_own_split(settings)
        own = RandomSplit(**asdict(settings.splitter))
        self.accuracy, self.hit_rates = own(ratings, settings.seed), LeaveOneOut()(ratings, settings.seed)
        nothing = HeldOut(ratings, ratings.take(np.zeros(0, np.int64)))
        self.everything = Split(ratings, nothing, nothing, f"Nothing is held out ({len(ratings):,} ratings).")
        self.definition = (
            f"Accuracy: {self.accuracy.definition} Hit rates: {self.hit_rates.definition} Coverage, diversity and "
            f"novelty: nothing is held out ({len(ratings):,} ratings)."
        )
        # Built here, so that errors are raised before the run folder is created.
        self.first = _Accuracy(settings, self.accuracy)
        self.settings = self.first.settings  # with the monitored metric, and with the content of files

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Trains and evaluates the parts that are not finished, writes the run's files, and returns its figures."""
        parts = {}
        if "rating_scale" in self.first.model.capabilities:
            parts["accuracy"] = self._part(folder, "accuracy", lambda: self.first)
        else:
            console.print(f"{self.settings.model['name']} predicts no ratings: their accuracy is not measured.")
        del self.first  # its model is no longer needed
        parts["hit_rates"] = self._part(folder, "hit_rates", lambda: _HitRates(self.settings, self.hit_rates))
        best = RunFolder(folder[next(iter(parts))]).read_json("selection.json") | {"seconds": 0.0, "validation": {}}
        parts["everything"] = self._part(
            folder, "everything", lambda: _Everything(self.settings, self.everything, best)
        )
        _gather_files(folder, list(parts))
        figures = self._gathered(parts, len(best["history"]))
        folder.write_json("metrics.json", figures)
        return figures

    def _part(self, folder: RunFolder, name: str, make: Callable[[], Learning]) -> dict[str, Any]:
        """The figures of a part, which is trained first if it is not finished."""
        part = RunFolder(folder[name])
        if not part["metrics.json"].is_file():
            console.print(f"Part: {name.replace('_', ' ')}")
            make().run(part)
        part["checkpoint.npz"].unlink(missing_ok=True)
        return part.read_json("metrics.json")

    def _gathered(self, parts: dict[str, dict[str, Any]], epochs_before: int) -> dict[str, Any]:
        """Merges three `metrics.json` into one; later parts (accuracy, then everything) override earlier figures."""
        order = [parts[name] for name in ("hit_rates", "accuracy", "everything") if name in parts]
        first, everything = next(iter(parts.values())), parts["everything"]
        figures = {
            name: {key: value for part in order for key, value in part[name].items()}
            for name in ("validation", "test", "test_intervals", "test_by_rating")
        }
        notes = [note for part in order for note in part["test_notes"]]
        told = [part["training"] for part in order]
        training = first["training"] | {
            "seconds": round(sum(part["seconds"] for part in told), 3),
            "users_per_second": everything["training"]["users_per_second"],
        }
        if "epochs" in training:
            training["epochs"] = sum(part["epochs"] for part in told) - epochs_before
        data = first["data"] | {"training_ratings": len(self.everything.train), "split": self.definition}
        return {**figures, "test_notes": list(dict.fromkeys(notes)), "training": training, "data": data}


class _Accuracy(Learning):
    def _validate(self, model: Any, depth: Any = None) -> dict[str, float]:
        return super()._validate(model, "accuracy" if depth else None)

    def _measure(self, split: Split) -> Outcome:
        return self.evaluation(self.model, split.train, split.test, "accuracy")

    def _keep(self, folder: RunFolder, split: Split) -> None:
        """Writes nothing: the run keeps the model trained on everything."""


class _HitRates(Learning):
    def _keep(self, folder: RunFolder, split: Split) -> None:
        """Writes nothing: the run keeps the model trained on everything."""


class _Everything(Learning):
    """Trained with the epochs, learning rates and settings that the first part chose on its validation data."""

    def __init__(self, settings: Settings, split: Split, selection: dict[str, Any]) -> None:
        super().__init__(settings.changed("trainer", refit=True), split)
        self.selection = selection

    def _select(self, *_: Any) -> dict[str, Any]:
        return self.selection

    def _measure(self, split: Split) -> Outcome:
        return self.evaluation.describe(self.model, split.train)


def _with_own_split(settings: Settings) -> Settings:
    """The settings with the course's split; prints a note if they had another one."""
    if isinstance(settings.splitter, CourseSplit):
        return settings
    name = type(settings.splitter).__name__
    console.print(f"evaluation=course brings its own split; the other one ({name}) is not used.", soft_wrap=True)
    own = CourseSplit()
    config = {**settings.config, "split": {"_target_": "nnrec.splits.CourseSplit", **asdict(own)}}
    return replace(settings, config=config, splitter=own)


def _gather_files(folder: RunFolder, parts: list[str]) -> None:
    """Moves and copies the parts' files to the run folder: the model trained on everything, and all test results."""
    for name in KEPT:
        if folder["everything"].joinpath(name).exists():
            os.replace(folder["everything"] / name, folder[name])
    for name in ("history.csv", "test_ratings.parquet"):
        source = folder[parts[0]] / name
        if source.is_file():
            with atomic(folder[name]) as path:
                shutil.copyfile(source, path)
    users: pd.DataFrame | None = None
    for part in sorted(parts, key=("hit_rates", "accuracy", "everything").index):
        source = folder[part] / "test_users.parquet"
        if source.is_file():
            found = pd.read_parquet(source).set_index("user")
            users = found if users is None else users.drop(columns=found, errors="ignore").join(found, how="outer")
    if users is not None:
        with atomic(folder["test_users.parquet"]) as path:
            users.reset_index().to_parquet(path, index=False)

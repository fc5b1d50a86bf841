"""Finished runs for comparison and reports: their figures, and their lists and predictions on the test part."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnrec.core.errors import RunError
from nnrec.data.families import Family, family_named
from nnrec.data.rows import Rows
from nnrec.runs.folder import RunFolder

# Settings that concern where a run is stored and what it prints, not what it computes.
NOT_PART = ("run_dir", "resume", "data_root", "verbose", "keep_histories", "sweep")


class Repeat(NamedTuple):
    """The seed and the fold, which differ between repetitions of one experiment."""

    seed: int
    fold: Any


class Lists(NamedTuple):
    """Recommended lists: (m,) users, (m, k) items, padded with -1 after the end of a list, and (m, k) scores."""

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray


class Result:
    """A finished run, whose files are read on demand; needs neither the model nor Keras.

    Args:
        folder: the run folder.

    Raises:
        RunError: the run did not finish, or a file is damaged.
    """

    def __init__(self, folder: RunFolder) -> None:
        from omegaconf import OmegaConf

        self.folder = folder
        config: Any = OmegaConf.to_container(folder.read_config(), resolve=True)
        self.config: dict[str, Any] = config
        self.figures: dict[str, Any] = folder.read_json("metrics.json")
        self.data: dict[str, Any] = folder.read_json("data.json")

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.config["model"].get("name", "model"))

    @property
    def family(self) -> Family:
        """The family of the training data."""
        return family_named(self.config["data"].get("family"))

    @property
    def ranked(self) -> str:
        """The unit of evaluation: "users", "sessions" or "rows"."""
        return self.family.ranked

    @property
    def sampled(self) -> str:
        """The sampling unit of confidence intervals and significance tests: "users", "sessions" or "rows"."""
        return self.family.sample if self.per_user is not None else self.ranked

    @property
    def size(self) -> str:
        """The size of the data as text, such as "1,000,209 ratings"."""
        return f"{self.data[self.family.entries]:,} {self.family.entries}"

    @property
    def test(self) -> dict[str, float]:
        """Figures on the test part."""
        return self.figures["test"]

    @property
    def training(self) -> dict[str, float]:
        """Seconds, users per second, epochs, ..."""
        return self.figures["training"]

    @property
    def intervals(self) -> dict[str, list[float]]:
        """95% confidence intervals of figures on the test part."""
        return self.figures.get("test_intervals", {})

    @property
    def neural(self) -> bool:
        """Whether it was trained in epochs."""
        return "epochs" in self.training

    @property
    def predicts_ratings(self) -> bool:
        """Whether its scores are predicted ratings, so that its lists are sorted by them."""
        return "rmse" in self.test

    @property
    def repeat(self) -> Repeat:
        """The seed and the fold of this run."""
        return Repeat(self.config["seed"], self.config["split"].get("fold"))

    @property
    def relevant(self) -> float | None:
        """The lowest held-out rating that counts as relevant; None = all count."""
        return self.config["evaluation"].get("relevant")

    @property
    def cutoffs(self) -> list[int]:
        """The configured cutoffs k of list metrics."""
        return list(self.config["evaluation"].get("cutoffs") or [10])

    def settings(self) -> dict[str, Any]:
        """The settings that define the experiment, flat ("model.l2": 200), without the paths of its data and folder."""
        config = {key: value for key, value in self.config.items() if key not in NOT_PART}
        config["data"] = {key: value for key, value in config["data"].items() if key != "source"}
        return flat(config)

    @cached_property
    def _catalogue(self) -> tuple[Any, Any, pd.DataFrame | None]:
        return self.folder.read_catalogue()

    @property
    def user_ids(self) -> np.ndarray:
        """(num_users,) raw ids."""
        return self._catalogue[0].ids

    @property
    def num_items(self) -> int:
        """Size of the catalogue."""
        return len(self._catalogue[1])

    def users_of(self, raw: list[Any]) -> np.ndarray:
        """Indices of raw user ids, -1 where one is unknown."""
        return self._catalogue[0].indices(raw)

    @cached_property
    def titles(self) -> list[str]:
        """The display name of each item: its title, or its raw id where it has none."""
        _, items, table = self._catalogue
        named = [f"item {raw}" for raw in items.ids]
        if table is None or "title" not in table.columns:
            return named
        titles = table["title"].astype(object).where(table["title"].notna(), "")
        return [str(title).strip() or name for title, name in zip(titles, named, strict=True)]

    @cached_property
    def lists(self) -> Lists | None:
        """The recommended lists of the test users, if the run keeps them."""
        if not self.folder["test_lists.npz"].is_file():
            return None
        arrays = self.folder.read_arrays("test_lists.npz")
        found = Lists(arrays["users"], arrays["items"], arrays["scores"])
        return found if found.items.size else None

    @cached_property
    def ratings(self) -> pd.DataFrame | None:
        """Held-out ratings: user, item, value and, for models that predict ratings, prediction."""
        return self._frame("test_ratings.parquet")

    @cached_property
    def sessions(self) -> pd.DataFrame | None:
        """Events of the test sessions: user (the session's number), session_id, item and the item's rank."""
        return self._frame("test_sessions.parquet")

    @cached_property
    def impressions(self) -> pd.DataFrame | None:
        """Test rows: user and item (-1 where unknown), label and prediction."""
        return self._frame("test_impressions.parquet")

    @cached_property
    def per_user(self) -> pd.DataFrame | None:
        """Per-user values of metrics, indexed by user."""
        frame = self._frame("test_users.parquet")
        return None if frame is None else frame.set_index("user")

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """Losses and metrics by epoch."""
        path = self.folder["history.csv"]
        return pd.read_csv(path) if path.is_file() else None

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(num_items,) ratings that each item had in training."""
        return self.folder.read_arrays("item_counts.npz")["count"]

    @cached_property
    def user_table(self) -> pd.DataFrame | None:
        """The user table, one row per user in index order."""
        return self.folder.read_user_table()

    def seen(self, users: np.ndarray) -> Rows | None:
        """The input histories of these users when their test lists were made; None if the run does not keep them."""
        shown = self._frame("test_histories.parquet")
        if shown is not None:
            offsets = np.searchsorted(shown["user"], np.arange(len(self.user_ids) + 1))
            rows = Rows(offsets, shown["item"].to_numpy(), shown["value"].to_numpy(), None, self.num_items)
            return rows.take(users)
        if not self.folder["histories"].is_dir():
            return None
        return self.folder.read_histories(self.num_items).take(users)

    def by_user(self, metric: str) -> pd.Series | None:
        """A metric's values per user (for rmse and mae, sums of errors over the user's ratings); None if not kept."""
        if self.per_user is None:
            return None
        column = {"rmse": "squared_error", "mae": "absolute_error"}.get(metric, metric)
        return self.per_user[column] if column in self.per_user.columns else None

    def _frame(self, name: str) -> pd.DataFrame | None:
        path = self.folder[name]
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from error


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    if not isinstance(config, dict):
        return {prefix: config}
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found

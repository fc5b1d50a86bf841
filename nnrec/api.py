"""What the command line does, as calls: train, load, compare, recommend, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnrec import pipeline
from nnrec.config import build, compose
from nnrec.console import hushed
from nnrec.course import CourseEvaluation
from nnrec.errors import RunError
from nnrec.impression_sides import Sides
from nnrec.latest import run_named
from nnrec.learning import build_model, weighed
from nnrec.results import Result
from nnrec.runs import RunFolder

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from nnrec.data import Data
    from nnrec.data.ratings import Rows
    from nnrec.data.stoplist import Words
    from nnrec.live import LiveSession
    from nnrec.models.scorer import Scorer
    from nnrec.people import Ids


def train(*overrides: str, data: pd.DataFrame | Data | None = None, quiet: bool = False) -> Run:
    """Trains a model as `python train.py <overrides>` does.

    Args:
        overrides: as on the command line: "model=autorec", "trainer.epochs=5", ...
        data: what to train on instead of a named data set: `Ratings`, `Sessions`, `Impressions`, or a data frame with
            the columns user, item and, where there are such, rating, time, weight, event; for a model of sessions
            with session, item and, where there is one, time; for a model of impressions with label and any others
            (see `nnrec.data.impression_readers.from_frame`; settings are then those of data=impressions).
        quiet: whether to print nothing; in a notebook a single line still shows the progress.

    Returns:
        The finished run.

    Example:
        >>> run = nnrec.train("model=autorec", "data=ml-1m")  # doctest: +SKIP
        >>> run.recommend(user=42)  # doctest: +SKIP
    """
    settings = list(overrides)
    if data is not None:
        chosen = any(override.startswith("data=") for override in overrides)
        if not chosen and compose("train", overrides).data.get("family") == "impressions":
            settings.append("data=impressions")  # not those of the simulation
        settings.append("data.name=frame")
    with hushed(quiet):
        return Run(pipeline.execute(compose("train", settings), data))


def load(path: str | Path) -> Run:
    """A finished run, from its folder alone.

    Args:
        path: the folder; "latest" = the newest finished run below runs/.

    Raises:
        RunError: the folder is missing or the run in it did not finish.
    """
    return Run(RunFolder.open(run_named(path)))


def compare(
    *overrides: str,
    runs: Sequence[Run | str | Path] = (),
    models: Sequence[str] = (),
    data: pd.DataFrame | Data | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """Compares finished runs, or models that it trains, as `python compare.py <overrides>` does.

    Args:
        overrides: as on the command line: "data=ml-1m", "sort_by=rmse", ...
        runs: finished runs, or their folders.
        models: what to train, such as ["popularity", "ease model.l2=200"].
        data: ratings to train on instead of a named data set, as in `train`.
        quiet: as in `train`.

    Returns:
        What comparison.csv holds: a row per run, best first, with all figures, intervals and times.

    Raises:
        ConfigError: the runs cannot be compared; ...

    Example:
        >>> nnrec.compare("data=ml-1m", models=["popularity", "ease"])  # doctest: +SKIP
    """
    from nnrec import bakeoff

    config = compose("compare", overrides)
    if runs:
        config.runs = [str(run.folder.path if isinstance(run, Run) else run) for run in runs]
    if models:
        config.models = list(models)
    with hushed(quiet):
        return bakeoff.execute(config, overrides, data).frame()


class Run:
    """A finished run: its model, its figures, and what to do with them.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        from omegaconf import OmegaConf

        self.folder = folder
        self.config = OmegaConf.load(folder["config.yaml"])
        self.users, self.items, self.item_table = folder.read_catalogue()
        self.metrics: dict[str, Any] = folder.read_json("metrics.json")

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r}, test={self.metrics['test']})"

    @property
    def family(self) -> str:
        """What it learnt from: "ratings", "sessions" or "impressions"."""
        return str(self.config.data.get("family", "ratings"))

    @cached_property
    def result(self) -> Result:
        """What it left behind: the learning curve (`history`), and what it did on the test part."""
        return Result(self.folder)

    @cached_property
    def model(self) -> Scorer:
        """The trained model."""
        pipeline.start_backend(self.config, to_train=False)
        sizes: dict[str, Any] = {"num_items": len(self.items)}
        sizes |= {"num_users": len(self.users)} if len(self.users) else {}
        if self.family == "impressions":
            sizes = {"fields": self.sides.encoder.fields}
        model = build_model(self.config, sizes)
        model.load_state(self.folder.read_arrays("weights.npz"))
        return model

    @cached_property
    def sides(self) -> Sides:
        """Of a model of impressions: the encoder, and what goes with each user and item."""
        return Sides.read(self.folder)

    @cached_property
    def histories(self) -> Rows:
        """What each user had rated when the model was trained, read as it is asked for."""
        return self.folder.read_histories(len(self.items))

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(num_items,) how many ratings each item had when the model was trained."""
        return self.folder.read_arrays("item_counts.npz")["count"]

    def recommend(
        self,
        user: Any = None,
        history: Mapping[Any, float] | Sequence[Any] | pd.DataFrame | None = None,
        top_n: int = 10,
        exclude_seen: bool | Literal["auto"] = "auto",
        stoplist: Ids | None = None,
        candidates: Ids | None = None,
        stopwords: Words | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The best items for some people, or for everybody.

        Args:
            user: a raw user id, or a list of them; None = all. Of a model of sessions: session ids.
            history: of somebody not seen in training: {item id: rating}, or a data frame with
                columns item, rating and, for several people, user. Of a model of sessions: the item ids of a session
                in order, or a data frame with columns session, item and perhaps time. Of a model of impressions: a
                data frame with a row for each list wanted: the user, and columns of the data that are known (context).
            top_n: how many items each.
            exclude_seen: whether to leave out what is in the history; "auto" = where that are ratings.
            stoplist: item ids never to recommend, as a list or a file (see conf/predict.yaml).
            candidates: item ids to choose from, likewise.
            stopwords: words, as a list or a file: items with one in their title or categories are never
                recommended, and are printed; `nnrec.data.stoplist` says how words match.
            context: of a model of impressions: values of columns that hold for all lists, such as {"hour": 18}.

        Returns:
            Columns user_id (or session_id), item_id, rank (from 1), score, title (where known), source; see
            `nnrec.recommend.TopN`.

        Raises:
            DataError, ConfigError, RunError: an unknown user, a history that cannot be used, ...

        Example:
            >>> run.recommend(history={1: 5, 50: 4}, top_n=3)  # doctest: +SKIP
        """
        from nnrec.recommend import recommend

        return recommend(self, user, history, top_n, exclude_seen, stoplist, candidates, stopwords, context)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Of a model of impressions: the probability, or rating, of each row.

        Args:
            rows: columns of the data; those that are not there are unknown.

        Returns:
            (n,) float32.

        Raises:
            ConfigError: another model.
            DataError: no column of the data is there, or a numeric one holds something else.
        """
        from nnrec.impression_top import score_frame

        return score_frame(self, rows)

    def session(self, exclude_seen: bool = False) -> LiveSession:
        """A session that goes on, event by event; see `nnrec.live.LiveSession`."""
        from nnrec.live import LiveSession

        return LiveSession(self, exclude_seen)

    def evaluate(self, data: pd.DataFrame | Data | None = None) -> dict[str, float]:
        """Measures the model again on the test part of its data.

        Args:
            data: the ratings it was trained on, where these were not a named data set.

        Raises:
            DataError: the data are not those of the training.
            RunError: the model was trained on everything, so that no test part is left.
        """
        evaluation = build(self.config.evaluation, "evaluation")
        if isinstance(evaluation, CourseEvaluation):
            raise RunError(
                "A run with evaluation=course keeps the model that was trained on everything, so that nothing is left "
                "to measure it on. `metrics` has the figures of the models that were measured."
            )
        model = self.model
        ratings = pipeline.load_data(self.config, data)
        pipeline.check_same(ratings, self.folder.read_json("data.json")["fingerprint"])
        split: Any = build(self.config.split, "split")(ratings, self.config.seed)
        split = weighed(self.config, split.merged() if self.config.trainer.refit else split)
        return evaluation(model, split.train, split.test).figures

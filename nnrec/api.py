"""The Python interface to the commands: train, load, compare, recommend, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnrec.commands import inputs
from nnrec.commands import train as train_command
from nnrec.core.config.build import build
from nnrec.core.config.compose import compose
from nnrec.core.console import hushed
from nnrec.core.errors import RunError
from nnrec.data.families import family_named
from nnrec.evaluation.course import CourseEvaluation
from nnrec.runs.folder import RunFolder
from nnrec.runs.latest import run_named
from nnrec.runs.trained import TrainedRun
from nnrec.splits.weighted import weighted_by_age

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy.sparse import sparray, spmatrix

    from nnrec.data.filters.stoplist import Words
    from nnrec.data.load import Given
    from nnrec.recommend.live_session import LiveSession
    from nnrec.recommend.table_format import Ids


def train(*overrides: str, data: Given | None = None, quiet: bool = False) -> Run:
    """Trains a model as `python train.py <overrides>` does.

    Args:
        overrides: as on the command line: "model=autorec", "trainer.epochs=5", ...
        data: training data instead of a named data set: `Ratings`, `Sessions`, `Impressions`, or a data frame with
            the columns user, item and optionally rating, time, weight, event; for session models with
            session, item and optionally time; for impression models with label and any others
            (see `nnrec.data.readers.impressions.from_frame`; settings are then those of data=impressions);
            or a SciPy sparse matrix, users by items, whose entries are the ratings, stored zeros included: the ids are
            row and column numbers, and rows and columns without an entry are users and items too.
        quiet: print nothing; a notebook still shows one line of progress.

    Returns:
        The finished run.

    Example:
        >>> run = nnrec.train("model=autorec", "data=ml-1m")  # doctest: +SKIP
        >>> run.recommend(user=42)  # doctest: +SKIP
    """
    settings = list(overrides)
    if data is not None:
        chosen = any(override.startswith("data=") for override in overrides)
        family = family_named(compose("train", overrides).data.get("family"))
        if not chosen and family.frame_data is not None:
            settings.append(f"data={family.frame_data}")  # instead of the simulated data
        settings.append("data.name=frame")
    with hushed(quiet):
        return Run(train_command.execute(compose("train", settings), data))


def load(path: str | Path) -> Run:
    """Loads a finished run from its folder alone.

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
    data: Given | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """Compares finished runs, or models that it trains, as `python compare.py <overrides>` does.

    Args:
        overrides: as on the command line: "data=ml-1m", "sort_by=rmse", ...
        runs: finished runs, or their folders.
        models: models to train, such as ["popularity", "ease model.l2=200"].
        data: ratings to train on instead of a named data set, as in `train`: a data frame, a sparse matrix, ...
        quiet: as in `train`.

    Returns:
        The content of comparison.csv: one row per run, best first, with all figures, intervals and times.

    Raises:
        ConfigError: the runs cannot be compared; ...

    Example:
        >>> nnrec.compare("data=ml-1m", models=["popularity", "ease"])  # doctest: +SKIP
    """
    from omegaconf import OmegaConf

    from nnrec.commands import compare

    given: dict[str, list[str]] = {}
    if runs:
        given["runs"] = [str(run.folder.path if isinstance(run, Run) else run) for run in runs]
    if models:
        given["models"] = list(models)
    with hushed(quiet):
        return compare.execute(OmegaConf.merge(compose("compare", overrides), given), overrides, data).frame()


class Run(TrainedRun):
    """A finished run: recommends, predicts and evaluates with its model.

    Args:
        folder: the run folder.
    """

    def recommend(
        self,
        user: Any = None,
        history: Mapping[Any, float] | Sequence[Any] | pd.DataFrame | sparray | spmatrix | None = None,
        top_n: int = 10,
        exclude_seen: bool | Literal["auto"] = "auto",
        stoplist: Ids | None = None,
        candidates: Ids | None = None,
        stopwords: Words | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Top-N lists for some users, or for all of them.

        Args:
            user: a raw user id, or a list of them; None = all. For session models: session ids.
            history: of unseen users: {item id: rating}, or a data frame with
                columns item, rating and, for several users, user; or a sparse matrix with one row per user (ids 0, 1,
                ...), whose columns are item ids. For session models: the item ids of a session
                in order, or a data frame with columns session, item and optionally time. For impression models: a
                data frame with one row per list: the user, and known columns of the data (context).
            top_n: length of each list.
            exclude_seen: whether to leave out the items of the history; "auto" = true if histories are ratings.
            stoplist: item ids to exclude from all lists, as a list or a file (see conf/predict.yaml).
            candidates: the only item ids to recommend, as a list or a file.
            stopwords: words, as a list or a file: items with one in their title or categories are never
                recommended, and are printed; see `nnrec.data.filters.stoplist` for the matching.
            context: for impression models: column values of all lists, such as {"hour": 18}.

        Returns:
            Columns user_id (or session_id), item_id, rank (from 1), score, title (where known), source; see
            `nnrec.recommend.top_n.TopN`.

        Raises:
            DataError, ConfigError, RunError: a user is unknown, a history cannot be used, ...

        Example:
            >>> run.recommend(history={1: 5, 50: 4}, top_n=3)  # doctest: +SKIP
        """
        from nnrec.recommend.lists import recommend

        return recommend(self, user, history, top_n, exclude_seen, stoplist, candidates, stopwords, context)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """For impression models: the predicted probability, or rating, of each row.

        Args:
            rows: raw rows with columns of the data; absent columns are missing values.

        Returns:
            (n,) float32.

        Raises:
            ConfigError: the model is not an impression model.
            DataError: the rows have no column of the data, or a numeric column holds values that are not numbers.
        """
        from nnrec.recommend.score_rows import score_frame

        return score_frame(self, rows)

    def session(self, exclude_seen: bool = False) -> LiveSession:
        """Starts a session that is extended event by event; see `nnrec.recommend.live_session.LiveSession`."""
        from nnrec.recommend.live_session import LiveSession

        return LiveSession(self, exclude_seen)

    def evaluate(self, data: Given | None = None) -> dict[str, float]:
        """Evaluates the model again on the test part of its data.

        Args:
            data: the training data, if they were not a named data set.

        Raises:
            DataError: the data are not those of the training.
            RunError: the model was trained on all data, so that no test part is left.
        """
        evaluation = build(self.config.evaluation, "evaluation")
        if isinstance(evaluation, CourseEvaluation):
            raise RunError(
                "A run with evaluation=course keeps the model that was trained on everything, so that nothing is left "
                "to measure it on. `metrics` has the figures of the models that were measured."
            )
        model = self.model
        loaded = inputs.load_data(self.config.data, data)
        loaded.check_fingerprint(self.folder.read_json("data.json")["fingerprint"])
        splitter = build(self.config.split, "split")
        split = inputs.split_data(loaded, splitter, self.config.seed, self.config.data.name)
        split = split.merged() if self.config.trainer.refit else split
        split = weighted_by_age(split, self.config.data.get("half_life_days"))
        return evaluation(model, split.train, split.test).figures

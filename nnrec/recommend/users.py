"""Users to recommend to: users of a run, or unseen users with their own histories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from nnrec.core.console import console
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.files.tables import MissingColumn
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import from_frame, read_table
from nnrec.data.readers.sparse import from_sparse
from nnrec.data.rows import Rows
from nnrec.data.vocabulary import Vocabulary
from nnrec.recommend.table_format import NEW, TableFormat, _is_file

if TYPE_CHECKING:
    from nnrec.runs.trained import TrainedRun


@dataclass(frozen=True)
class People:
    """Users and their histories.

    Attributes:
        users: raw ids of all rows of `histories`.
        histories: one row per user; columns are the run's items.
        which: (m,) the requested rows.
        trained: whether rows are the run's own users; if not, they are unseen users.
    """

    users: Vocabulary
    histories: Rows
    which: np.ndarray
    trained: bool

    def __len__(self) -> int:
        return len(self.which)

    def select(self, user: Any) -> People:
        """Only these users, each once, in the given order.

        Args:
            user: a raw id or a list of them.

        Raises:
            DataError: a user is unknown.
        """
        raw = [user] if isinstance(user, str) or not isinstance(user, Iterable) else list(user)
        if not raw:
            raise DataError("The list of users is empty.")
        which = self.users.indices(raw)
        if (which < 0).any():
            unknown = [str(name) for name, index in zip(raw, which, strict=True) if index < 0]
            named = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            what = f"User {named} is" if len(unknown) == 1 else f"{len(unknown):,} users are"
            what += "" if len(unknown) == 1 else f" unknown: {named}. They are"
            if not self.trained:
                raise DataError(f"{what} not in the histories.")
            raise DataError(
                f"{what} not among the {len(self.users):,} users of the run. For people not seen in training give "
                "their ratings: histories=<file>."
            )
        return replace(self, which=pd.unique(which))


def known_people(run: TrainedRun) -> People:
    """All users of a run, with the histories that it keeps.

    Raises:
        RunError: the run keeps no histories.
    """
    return People(run.users, run.histories, np.arange(len(run.users)), trained=True)


def new_people(run: TrainedRun, source: Any, table: TableFormat) -> People:
    """Unseen users with given histories; unknown items are dropped and counted.

    Args:
        source: a file; a data frame with columns item, rating and, for several users, user; a sparse matrix with one
            row per user, whose columns are item ids; or {item id: rating} of one user.
        table: the layout of a file.

    Raises:
        ConfigError: the model cannot recommend to unseen users.
        DataError: ratings are absent but the model needs them, or are outside its scale.
    """
    model = run.model
    if "new_users" not in model.capabilities:
        raise ConfigError(
            f"{model.name} cannot recommend to people from outside its training data (it lacks the capability "
            "new_users: what it knows of a person was learnt in training). Train it with them, or use another model."
        )
    value, scale = (None if model.relevant is None else table.rating), None
    if model.rating_scale is not None:
        low, high = (float(bound) for bound in np.asarray(model.rating_scale))
        # A scale of a single value carries no information, so ratings are ignored.
        value, scale = (table.rating, (low, high)) if low < high else (None, None)
    try:
        if isinstance(source, (str, Path)):
            ratings = read_table(source, table.user, table.item, value, scale=scale, **table.layout)
        elif sparse.issparse(source):
            ratings = from_sparse(source, scale)
        else:
            frame = _as_frame(source)
            if not len(frame):
                return _nobody_knows(run, frame)
            ratings = from_frame(frame, value=None if value is None else "rating", scale=scale)
    except MissingColumn as error:
        needs = f" {model.name} goes by ratings, so a history needs them." if value is not None else ""
        where = " Name the columns with table.user, table.item and table.rating." if _is_file(source) else ""
        raise DataError(f"{error}{needs}{where}") from error
    return _in_terms_of(run, apply_filters(ratings, min_ratings_per_user=0))


def _as_frame(source: Mapping[Any, float] | pd.DataFrame) -> pd.DataFrame:
    if isinstance(source, Mapping):
        source = pd.DataFrame({"item": list(source), "rating": list(source.values())})
    return source if "user" in source.columns else source.assign(user=NEW)


def _nobody_knows(run: TrainedRun, frame: pd.DataFrame) -> People:
    """One unseen user with an empty history."""
    nothing = Rows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), None, len(run.items))
    return People(Vocabulary([NEW]), nothing, np.arange(1), trained=False)


def _in_terms_of(run: TrainedRun, ratings: Ratings) -> People:
    """The users of `ratings`, with items mapped to the run's indices."""
    index = run.items.indices(ratings.items.ids)
    known = index[ratings.item] >= 0
    if not known.all():
        console.print(
            f"Histories: left out {int((~known).sum()):,} of {len(known):,} ratings "
            f"(items unknown to the run: {int((index < 0).sum()):,}).",
            soft_wrap=True,
        )
    ratings = ratings.take(known)
    rows = replace(ratings, item=index[ratings.item], items=run.items).rows("user")
    return People(ratings.users, rows, np.arange(len(rows)), trained=False)

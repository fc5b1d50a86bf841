"""The families of data: ratings, sessions, impressions, and in what they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnrec.core.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """What sets data of one kind, their models, splits and evaluations, apart from the others.

    Attributes:
        name: as in configurations (`data.family`), and in messages.
        entries: what the data hold.
        trained_on: what an epoch goes through.
        owner: one of those whose lists are ranked.
        sample: what intervals and tests take to be the sample where figures are kept by user.
        evaluation: the one to choose.
        splits: those to choose from.
        data: data sets to choose from.
        frame_data: the choice of `data` whose settings suit any data frame; None = the default's do.
        model_from_shards: a model to train from shards; None = such data need no shards.
        exclude_seen: whether lists leave out what is in the history; people come back to what they have clicked.
        ordered: whether a model goes by events in their order, which have no values.
        encoded: whether rows have columns of any kind, which an encoder turns into what a model takes.
        decisive: which figure decides between models where nobody says so: the first of these that there is.
    """

    name: str
    entries: str
    trained_on: str
    owner: str
    sample: str
    evaluation: str
    splits: str
    data: str
    frame_data: str | None = None
    model_from_shards: str | None = None
    exclude_seen: bool = False
    ordered: bool = False
    encoded: bool = False
    decisive: tuple[str, ...] = ("ndcg", "recall_min", "recall", "hit_rate", "auc", "log_loss", "rmse", "mae")

    def __str__(self) -> str:
        return self.name

    @property
    def ranked(self) -> str:
        """Whom lists are for, or what is measured."""
        return f"{self.owner}s"


RATINGS = Family(
    name="ratings",
    entries="ratings",
    trained_on="rows",
    owner="user",
    sample="users",
    evaluation="default",
    splits="random, ...",
    data="ml-1m",
    model_from_shards="mult_dae",
    exclude_seen=True,
)
SESSIONS = Family(
    name="sessions",
    entries="events",
    trained_on="events",
    owner="session",
    sample="sessions",
    evaluation="next_item",
    splits="last_sessions, last_days or given_sessions",
    data="simulated_clicks, data=yoochoose1_64",
    model_from_shards="gru4rec",
    ordered=True,
    decisive=("recall", "mrr", "ndcg"),
)
IMPRESSIONS = Family(
    name="impressions",
    entries="rows",
    trained_on="rows",
    owner="row",
    sample="users",
    evaluation="ctr",
    splits="usual_rows, random_rows, last_rows or given_rows",
    data="simulated_impressions",
    frame_data="impressions",
    encoded=True,
)

_BY_NAME = {family.name: family for family in (RATINGS, SESSIONS, IMPRESSIONS)}


def family_named(name: str | None) -> Family:
    """The family that a configuration names; None = ratings, as in configurations that say nothing.

    Raises:
        ConfigError: there is none of this name.
    """
    if name is None:
        return RATINGS
    if name not in _BY_NAME:
        raise ConfigError(f"There is no family of data {name!r}. Known: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]


def family_of(stage: Any) -> Family:
    """The family of a model, an evaluation or a splitter: one of the user's own may give its name, or none (ratings).

    Raises:
        ConfigError: there is none of this name.
    """
    return family_named(str(getattr(stage, "family", RATINGS)))

"""The data families: ratings, sessions and impressions, and the differences between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnrec.core.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """The properties that differ between kinds of data, with their models, splits and evaluations.

    Attributes:
        name: name in configurations (`data.family`) and in messages.
        entries: word for the entries of the data, such as "ratings".
        trained_on: word for the training examples of an epoch.
        owner: word for the unit of evaluation, for which items are ranked: "user", "session" or "row".
        sample: word for the sampling unit of confidence intervals and tests if metrics are stored per user.
        evaluation: the choice of `evaluation` that messages suggest.
        splits: choices of `split` that messages suggest.
        data: choices of `data` that messages suggest.
        frame_data: the choice of `data` whose settings fit any data frame; None = those of the default fit.
        model_from_shards: example of a model that trains from shards; None = this family does not use shards.
        exclude_seen: whether lists leave out the items of the history by default.
        ordered: whether the data are ordered events without values.
        encoded: whether rows have columns of any type, which an encoder converts to the input of a model.
        decisive: metrics by which models are compared by default: the first of these that exists is used.
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
        """The unit of evaluation in the plural: "users", "sessions" or "rows"."""
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
    """Returns the family with this name; None = ratings, as in configurations without `family`.

    Raises:
        ConfigError: there is no family with this name.
    """
    if name is None:
        return RATINGS
    if name not in _BY_NAME:
        raise ConfigError(f"There is no family of data {name!r}. Known: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]


def family_of(stage: Any) -> Family:
    """Returns the family of a model, an evaluation or a splitter.

    User-defined ones may give the name of a family instead of a `Family`, or nothing (ratings).

    Raises:
        ConfigError: there is no family with this name.
    """
    return family_named(str(getattr(stage, "family", RATINGS)))

"""Loading of data: from files and simulators to filtered `Ratings`, `Sessions` or `Impressions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from nnrec.data.impressions import Impressions
    from nnrec.data.ratings import Ratings
    from nnrec.data.sessions import Sessions

    Data: TypeAlias = Ratings | Sessions | Impressions


def load(config: Mapping[str, Any], frame: pd.DataFrame | Data | None = None) -> Data:
    """Returns the ratings, sessions or impressions that a `data` configuration group describes, filtered.

    Args:
        config: a `data` group with the keys
            `name`;
            `family`: "sessions", "impressions", or anything else for ratings; shards carry their own family;
            `source`: its `_target_` is a callable that returns `Ratings`, `Sessions` or `Impressions`, or a data
                frame with the columns user, item and optionally rating, time, weight, event; for sessions the columns
                session, item and optionally time, event; for impressions a column label and any others;
            `filters`: arguments of `nnrec.data.filters.ratings.apply_filters` or
                `nnrec.data.filters.sessions.filter_sessions`;
            `half_life_days` (ratings only): age weighting of the training data after the split, see
                `nnrec.data.age_weighting`;
            `preprocessing` (impressions only, instead of the last two): arguments of
                `nnrec.data.preprocessing.Preprocessing`.
        frame: ratings, sessions, impressions, or a data frame as above, used instead of the source.

    Raises:
        ConfigError: the source cannot be built or returns something else; an unknown filter; a half-life out of
            range.
        DataError: the data are not usable.
    """
    if config.get("family") == "impressions":
        return _impressions(config, frame)
    return _sessions(config, frame) if config.get("family") == "sessions" else _ratings(config, frame)


def _ratings(config: Mapping[str, Any], frame: Any) -> Any:
    import pandas as pd

    from nnrec.core.errors import ConfigError
    from nnrec.data.age_weighting import check_half_life
    from nnrec.data.filters.ratings import apply_filters
    from nnrec.data.parts import Parts
    from nnrec.data.ratings import Ratings
    from nnrec.data.readers.ratings import from_frame

    filters = _filters(config, apply_filters)
    data = _source(config, frame)
    if isinstance(data, pd.DataFrame):
        data = from_frame(data, **_present(data, value="rating", time="time", weight="weight", event="event"))
    if isinstance(data, Parts):
        return data  # shards of any family: already filtered and split
    if not isinstance(data, Ratings):
        raise ConfigError(
            "data.source must return Ratings or a data frame with columns user and item. "
            f"Received: {type(data).__name__}"
        )
    data, half_life_days = apply_filters(data, **filters), config.get("half_life_days")
    if half_life_days is None:
        return data
    check_half_life(data, half_life_days)
    return data.noted(f"Age weighting: in training, a rating counts half as much after {half_life_days:g} days.")


def _sessions(config: Mapping[str, Any], frame: Any) -> Any:
    import pandas as pd

    from nnrec.core.errors import ConfigError
    from nnrec.data.filters.sessions import filter_sessions
    from nnrec.data.parts import Parts
    from nnrec.data.readers.sessions import clicks_from_frame
    from nnrec.data.sessions import Sessions

    filters = _filters(config, filter_sessions)
    data = _source(config, frame)
    if isinstance(data, pd.DataFrame):
        data = clicks_from_frame(data, **_present(data, time="time", event="event"))
    if isinstance(data, Parts):
        return data  # shards: already filtered and split
    if not isinstance(data, Sessions):
        raise ConfigError(
            "data.source must return Sessions or a data frame with columns session and item. "
            f"Received: {type(data).__name__}"
        )
    return filter_sessions(data, **filters)


def _impressions(config: Mapping[str, Any], frame: Any) -> Impressions:
    import inspect

    import pandas as pd
    from omegaconf import OmegaConf

    from nnrec.core.errors import ConfigError
    from nnrec.data.impressions import Impressions
    from nnrec.data.preprocessing import Preprocessing
    from nnrec.data.readers.impressions import from_frame

    settings: Any = config.get("preprocessing") or {}
    settings = OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else dict(settings)
    known = list(inspect.signature(Preprocessing).parameters)
    if unknown := [name for name in settings if name not in known]:
        raise ConfigError(f"There is no setting data.preprocessing.{unknown[0]}. Known: {', '.join(known)}.")
    preprocessing = Preprocessing(**settings)
    data = _source(config, frame)
    if isinstance(data, pd.DataFrame):
        data = from_frame(data)
    if not isinstance(data, Impressions):
        raise ConfigError(
            f"data.source must return Impressions or a data frame with a column label. Received: {type(data).__name__}"
        )
    preprocessing.check(data.schema)
    return replace(data, preprocessing=preprocessing)


def _filters(config: Mapping[str, Any], function: Callable) -> dict[str, Any]:
    import inspect

    from nnrec.core.errors import ConfigError

    filters = dict(config.get("filters") or {})
    known = list(inspect.signature(function).parameters)[1:]
    if unknown := [name for name in filters if name not in known]:
        raise ConfigError(f"There is no filter {unknown[0]!r}. Known: {', '.join(known)}.")
    return filters


def _source(config: Mapping[str, Any], frame: Any) -> Any:
    from nnrec.core.config.build import build

    return build(config.get("source") or {}, "data.source") if frame is None else frame


def _present(frame: pd.DataFrame, **columns: str) -> dict[str, Any]:
    return {role: column if column in frame.columns else None for role, column in columns.items()}

"""Data: from files and generators to `Ratings`, and from `Ratings` to splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from nnrec.data.ratings import Ratings


def load(config: Mapping[str, Any], frame: pd.DataFrame | Ratings | None = None) -> Ratings:
    """The ratings that a `data` configuration group describes, filtered.

    Args:
        config: `name`, `source` (with `_target_`, a callable that returns `Ratings`, or a data frame
            with columns user, item and, where there are such, rating, time, weight, event),
            `filters` (arguments of `nnrec.data.filters.apply_filters`) and `half_life_days` (of what is
            trained on, which is weighted once it has been split off; see `nnrec.data.weighting`).
        frame: `Ratings`, or such a data frame, to be used instead of the source.

    Raises:
        ConfigError: the source cannot be built or returns something else; an unknown filter; a half-life out of
            range.
        DataError: the data cannot be used.
    """
    import inspect

    import pandas as pd

    from nnrec.config import build
    from nnrec.data.filters import apply_filters
    from nnrec.data.ratings import Ratings
    from nnrec.data.weighting import check_half_life
    from nnrec.errors import ConfigError

    filters = dict(config.get("filters") or {})
    known = list(inspect.signature(apply_filters).parameters)[1:]
    if unknown := [name for name in filters if name not in known]:
        raise ConfigError(f"There is no filter {unknown[0]!r}. Known: {', '.join(known)}.")
    data = build(config.get("source") or {}, "data.source") if frame is None else frame
    if isinstance(data, pd.DataFrame):
        data = _from_frame(data)
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


def _from_frame(frame: pd.DataFrame) -> Ratings:
    from nnrec.data.readers import from_frame

    def present(column: str) -> str | None:
        return column if column in frame.columns else None

    return from_frame(
        frame, value=present("rating"), time=present("time"), weight=present("weight"), event=present("event")
    )

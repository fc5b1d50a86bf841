"""Trials with cross-validation: their configurations, and the average of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from nnrec.core.errors import ConfigError


def configs(config: Any, folds: int | None) -> list[Any]:
    """The configurations of a trial's trainings: its own, or one for each of `folds` equal validation parts.

    Raises:
        ConfigError: the split does not draw its validation part at random.
    """
    from omegaconf import OmegaConf

    if folds is None:
        return [config]
    if "validation" not in config.split:
        raise ConfigError(
            "sweep.folds needs a split that draws its validation part at random, such as split=random. "
            f"{config.split['_target_'].rpartition('.')[2]} does not."
        )
    found = [OmegaConf.create(OmegaConf.to_container(config)) for _ in range(folds)]
    for number, fold in enumerate(found, 1):
        fold.split.validation = f"{number}/{folds}"
    return found


def together(ends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The combined result of a trial's trainings: means of figures and best epochs, sums of epochs and seconds."""
    found = dict(ends[-1])
    for key, combine in (("value", mean), ("best_epoch", mean), ("epochs", sum), ("seconds", sum)):
        if ends[0][key] is not None:
            found[key] = combine(end[key] for end in ends)
    figures = [end["figures"] for end in ends]
    found["figures"] = {name: mean(one[name] for one in figures) for name in figures[0]}
    return found

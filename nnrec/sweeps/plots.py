"""The plots of a sweep's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nnrec.reports.html.plots import INK, MUTED, SERIES, draw
from nnrec.sweeps.space import Space
from nnrec.sweeps.table import short_names, written


def parallel(study: optuna.Study, space: Space, ended: Sequence[FrozenTrial], monitor: str) -> str:
    """A plot in parallel coordinates: one axis for each setting, and a last one for the figure.

    Args:
        study: for its direction.
        space: the settings.
        ended: trials with a value, best first.
        monitor: the figure's name.
    """
    keys = list(space.dimensions)
    values = np.array([trial.value for trial in ended], float)
    columns = [[_place(space.dimensions[key], trial.params[key]) for trial in ended] for key in keys]
    low, high = values.min(), values.max()
    columns.append(list((values - low) / ((high - low) or 1.0)))
    places = np.array(columns).T

    def paint(axes: Any) -> None:
        for rank in reversed(range(len(ended))):
            strength = 1 - rank / len(ended)
            axes.plot(places[rank], color=SERIES[0], alpha=0.12 + 0.88 * strength**3, linewidth=1 + 1.6 * strength**3)
        for at, key in enumerate(keys):
            bottom, top = _ends(space.dimensions[key])
            for place, text in ((0, bottom), (1, top)):
                axes.annotate(text, (at, place), (4, 7 if place else -11), textcoords="offset points", color=MUTED)
        for place, value in ((0, low), (1, high)):
            offset = (-4, 7 if place else -11)
            axes.annotate(
                written(value), (len(keys), place), offset, textcoords="offset points", color=MUTED, ha="right"
            )
        axes.set_xticks(range(len(keys) + 1), [*short_names(keys), monitor])
        axes.set_yticks([])
        axes.set_ylim(-0.12, 1.12)
        axes.grid(True, axis="x")

    return draw("parallel", paint, width=max(9.0, 1.7 * (len(keys) + 1)))


def _place(dimension: Any, value: Any) -> float:
    """A value scaled to [0, 1] within the range of its dimension."""
    if isinstance(dimension, CategoricalDistribution):
        return dimension.choices.index(value) / max(1, len(dimension.choices) - 1)
    low, high = dimension.low, dimension.high
    if dimension.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / ((high - low) or 1.0))


def _ends(dimension: Any) -> tuple[str, str]:
    if isinstance(dimension, CategoricalDistribution):
        return str(dimension.choices[0]), str(dimension.choices[-1])
    return written(dimension.low), written(dimension.high)


def bars(shares: Mapping[str, float]) -> str:
    """A bar plot of the importance of each setting, the most important on top."""
    names = short_names(list(shares))

    def paint(axes: Any) -> None:
        axes.barh(names[::-1], list(shares.values())[::-1], color=SERIES[0], height=0.6)
        axes.set_xlim(0, 1)
        axes.grid(False, axis="y")

    return draw("importance", paint, height=0.6 + 0.4 * len(names))


def progress(study: optuna.Study, monitor: str) -> str:
    """A plot of each trial's figure, and the best so far."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    numbers, values = [trial.number for trial in ended], np.array([trial.value for trial in ended], float)
    lower = study.direction.name == "MINIMIZE"
    best = np.minimum.accumulate(values) if lower else np.maximum.accumulate(values)

    def paint(axes: Any) -> None:
        axes.plot(numbers, values, "o", color=MUTED, markersize=4)
        axes.step(numbers, best, where="post", color=SERIES[0])
        axes.set_xlabel("trial")
        axes.set_ylabel(monitor)

    return draw("progress", paint)


def curves(trials: Sequence[FrozenTrial], best: int, monitor: str) -> str:
    """Learning curves of the figure, with the best trial's drawn on top."""

    def paint(axes: Any) -> None:
        shown = [trial for trial in trials if trial.intermediate_values]
        for trial in sorted(shown, key=lambda trial: trial.number == best):
            epochs, values = zip(*sorted(trial.intermediate_values.items()), strict=True)
            stopped, own = trial.state == TrialState.PRUNED, trial.number == best
            style = {"color": INK if own else SERIES[1 if stopped else 0], "linewidth": 2.2 if own else 0.9}
            axes.plot(epochs, values, alpha=1.0 if own else 0.5, **style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(monitor)

    return draw("curves", paint)

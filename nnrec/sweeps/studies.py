"""The use of Optuna in a sweep: storage of trials, sampler, pruner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nnrec.core.errors import ConfigError
from nnrec.sweeps.pruning import GainPruner

SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("gain", "median", "hyperband", "none")


def check(settings: Any) -> None:
    """Checks the values of a sweep's settings.

    Raises:
        ConfigError: a value is invalid.
    """
    for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if settings[key] not in known:
            raise ConfigError(f"sweep.{key} must be one of {', '.join(known)}. Received: {settings[key]!r}")
    optional = ("threads", "folds")
    least = {
        "folds": 2,
        "trials": 1,
        "workers": 1,
        "grid_points": 2,
        "startup_trials": 0,
        "warmup_epochs": 0,
        "threads": 1,
    }
    for key, minimum in least.items():
        value = settings[key]
        if not (value is None and key in optional) and (not isinstance(value, int) or value < minimum):
            raise ConfigError(f"sweep.{key} must be a whole number, {minimum} or more. Received: {value!r}")
    if isinstance(settings.slack, bool) or not isinstance(settings.slack, (int, float)) or settings.slack < 0:
        raise ConfigError(f"sweep.slack must be a number, 0 or more. Received: {settings.slack!r}")


def open_study(settings: Any, folder: Path, direction: str, epochs: int) -> optuna.Study:
    """Opens the sweep's study in the storage; creates it if it does not exist.

    Raises:
        ConfigError: the storage cannot be opened.
    """
    try:
        if settings.storage == "journal":
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage: Any = JournalStorage(JournalFileBackend(str(folder / "study.log")))
        else:
            sqlite = f"sqlite:///{(folder / 'study.db').resolve()}"
            storage = optuna.storages.get_storage(sqlite if settings.storage == "sqlite" else settings.storage)
        return optuna.create_study(
            study_name=settings.study,
            storage=storage,
            direction=direction,
            pruner=_pruner(settings, epochs),
            load_if_exists=True,
        )
    except Exception as error:  # databases and their drivers raise exceptions of many types
        raise ConfigError(
            f"sweep.storage={settings.storage} cannot be used ({type(error).__name__}: {error}). Choose sqlite, "
            "journal, or a URL such as postgresql://user@host/database, whose driver is installed."
        ) from error


def sampler(
    settings: Any, seed: int, number: int, dimensions: Mapping[str, BaseDistribution]
) -> optuna.samplers.BaseSampler:
    """The sampler of the trial with this number; its draws depend only on seed, number and earlier trials.

    Raises:
        ConfigError: the sampler's package is not installed.
    """
    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if settings.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=drawn)
    if settings.sampler == "cmaes":
        try:
            from nnrec.sweeps.evolution import Evolution
        except ImportError as error:
            raise ConfigError("sweep.sampler=cmaes needs a package of its own: pip install cmaes.") from error
        return Evolution(dimensions, drawn)
    return optuna.samplers.RandomSampler(seed=drawn)


def _pruner(settings: Any, epochs: int) -> optuna.pruners.BasePruner:
    if settings.pruner == "gain":
        return GainPruner(settings.slack, settings.startup_trials, settings.warmup_epochs, epochs)
    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_epochs)
    if settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max(1, min(settings.warmup_epochs, epochs)), max(1, epochs))
    return optuna.pruners.NopPruner()


def suggest(trial: optuna.Trial, dimensions: Mapping[str, BaseDistribution]) -> None:
    """Chooses a trial's value in each dimension; values that it already has are kept."""
    for key, dimension in dimensions.items():
        if isinstance(dimension, CategoricalDistribution):
            trial.suggest_categorical(key, dimension.choices)
        elif isinstance(dimension, IntDistribution):
            trial.suggest_int(key, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
        elif isinstance(dimension, FloatDistribution):
            trial.suggest_float(key, dimension.low, dimension.high, step=dimension.step, log=dimension.log)

"""CMA-ES as a sampler of sweeps. Its state is recomputed from the finished trials, so none is stored or unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cmaes
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState


class Evolution(optuna.samplers.BaseSampler):
    """Covariance Matrix Adaptation Evolution Strategy (Hansen: The CMA Evolution Strategy: A Tutorial, 2016).

    Numbers are scaled to [0, 1] and searched from 0.5 with an initial step size of 1/6. The strategy is updated with
    each full generation of completed trials, in their order; the next point is drawn from the result. Choices, and
    spaces with a single number, are sampled at random.

    Args:
        dimensions: by key.
        seed: of the draws of one trial.
    """

    def __init__(self, dimensions: Mapping[str, BaseDistribution], seed: int) -> None:
        numbers = {key: one for key, one in dimensions.items() if isinstance(one, (FloatDistribution, IntDistribution))}
        self._axes = {key: _Axis(one) for key, one in numbers.items()} if len(numbers) > 1 else {}
        self._dimensions, self._seed = dimensions, seed
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The dimensions that the strategy searches."""
        return {key: self._dimensions[key] for key in self._axes}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point of the search."""
        if not search_space:
            return {}
        count = len(self._axes)
        strategy = cmaes.CMA(np.full(count, 0.5), 1 / 6, np.tile([0.0, 1.0], (count, 1)), seed=self._seed)
        sign = 1 if study.direction.name == "MINIMIZE" else -1
        ended = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        told = [
            (self._point(one), sign * float(one.value or 0.0))
            for one in ended
            if self._axes.keys() <= one.params.keys()
        ]
        for start in range(0, len(told) - strategy.population_size + 1, strategy.population_size):
            strategy.tell(told[start : start + strategy.population_size])
        return {key: axis.value(place) for (key, axis), place in zip(self._axes.items(), strategy.ask(), strict=True)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of one dimension."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _point(self, trial: FrozenTrial) -> np.ndarray:
        return np.array([axis.place(trial.params[key]) for key, axis in self._axes.items()])


class _Axis:
    """A numeric dimension scaled to [0, 1]; on a logarithmic scale if the dimension is logarithmic."""

    def __init__(self, dimension: FloatDistribution | IntDistribution) -> None:
        self.dimension = dimension
        self.low, self.high = float(dimension.low), float(dimension.high)
        if dimension.log:
            self.low, self.high = math.log(self.low), math.log(self.high)

    def place(self, value: float) -> float:
        """The scaled value, in [0, 1]."""
        return ((math.log(value) if self.dimension.log else value) - self.low) / ((self.high - self.low) or 1.0)

    def value(self, place: float) -> float | int:
        """The value for a scaled one, rounded to the dimension's steps and clipped to its range."""
        found = self.low + float(place) * (self.high - self.low)
        found, low, high = math.exp(found) if self.dimension.log else found, self.dimension.low, self.dimension.high
        if self.dimension.step:
            found = low + round((found - low) / self.dimension.step) * self.dimension.step
        found = min(max(found, low), high)
        return round(found) if isinstance(self.dimension, IntDistribution) else found

"""The search space of a sweep: settings by key, in Hydra's grammar for sweeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nnrec.core.errors import ConfigError

# Trials that differ in these would not be comparable, or would write to the same folder.
FIXED = ("seed", "data", "split", "evaluation", "model", "trainer", "experiment", "sweep", "run_dir", "resume")
FIXED_GROUPS = ("data", "split", "evaluation", "sweep", "hydra")


@dataclass(frozen=True)
class Space:
    """The settings to search, and the fixed settings.

    Attributes:
        dimensions: by key. Choices are texts, as on the command line.
        told: the text that defined each dimension, by key.
        fixed: the other overrides of the command line.
    """

    dimensions: dict[str, BaseDistribution]
    told: dict[str, str]
    fixed: list[str]

    @classmethod
    def of(cls, told: Mapping[str, Any], overrides: Sequence[str], loader: Any) -> Space:
        """The space of a file in conf/sweep, changed by the command line.

        Args:
            told: "choice(...)", "interval(...)", ... by key.
            overrides: the command line. A key with several values is added to the space; a key with a single value is
                removed from it.
            loader: Hydra's configuration loader.

        Raises:
            ConfigError: there is nothing to search, Hydra cannot parse a text, or a key must be the same in all trials.
        """
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        parser = OverridesParser.create(config_loader=loader)
        found: dict[str, BaseDistribution] = {}
        texts: dict[str, str] = {}
        fixed = []
        try:
            for line in [*(f"{key}={text}" for key, text in told.items()), *overrides]:
                override = parser.parse_override(line)
                key = override.get_key_element()
                found.pop(key.lstrip("+"), None)
                if override.is_sweep_override():
                    found[key], texts[key] = _distribution(key, override), line.partition("=")[2]
                elif line in overrides:
                    fixed.append(line)
                else:
                    raise ConfigError(
                        f"sweep.space: {line} leaves nothing to choose. Write choice(a,b) or interval(low,high)."
                    )
        except HydraException as error:
            raise ConfigError(f"sweep.space: {error}") from error
        for key in found:
            name = key.lstrip("+").partition("@")[0]
            if name in FIXED or name.partition(".")[0].partition("/")[0] in FIXED_GROUPS or name == "trainer.monitor":
                raise ConfigError(
                    f"sweep.space: {key} has to be the same in all trials: their figures would not compare."
                )
        if not found:
            raise ConfigError(
                "There is nothing to search. Give a space on the command line, such as "
                "'trainer.learning_rate=tag(log,interval(1e-4,1e-2))', or choose one in conf/sweep."
            )
        return cls(found, {key: texts[key] for key in found}, fixed)

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial with these values."""
        return [*self.fixed, *(f"{key}={_exact(self.dimensions[key], value)}" for key, value in values.items())]

    def present(self, config: Any, loader: Any) -> dict[str, Any]:
        """The values of a configuration for those keys whose dimension contains the value."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        parser, found = OverridesParser.create(config_loader=loader), dict[str, Any]()
        plain: Any = OmegaConf.to_container(config, resolve=True)
        for key, dimension in self.dimensions.items():
            value: Any = plain
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if isinstance(dimension, CategoricalDistribution):
                for text in dimension.choices:
                    if parser.parse_override(f"{key}={text}").value() == value:
                        found[key] = text
            elif isinstance(value, (int, float)) and dimension.low <= value <= dimension.high:
                at = dimension.to_internal_repr(value)  # raises for 0 in a logarithmic range
                found |= {key: value} if dimension._contains(at) else {}
        return found

    def lowest(self) -> dict[str, Any]:
        """The point with the lowest value, or first choice, of each dimension."""
        return {
            key: dimension.choices[0] if isinstance(dimension, CategoricalDistribution) else dimension.low
            for key, dimension in self.dimensions.items()
        }

    def grid(self, points: int) -> list[dict[str, Any]]:
        """All combinations of values, with `points` values from each interval."""
        values = [_spread(dimension, points) for dimension in self.dimensions.values()]
        return [dict(zip(self.dimensions, combination, strict=True)) for combination in itertools.product(*values)]


def _distribution(key: str, override: Any) -> BaseDistribution:
    """Converts an override parsed by Hydra to a distribution of Optuna."""
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    value = override.value()
    log = "log" in value.tags
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(low, high, log=log)
        if isinstance(value, RangeSweep) and not value.shuffle:
            steps = list(value.range())
            if len(steps) > 1 and steps[1] > steps[0]:
                if all(isinstance(step, int) for step in steps):
                    return IntDistribution(steps[0], steps[-1], step=steps[1] - steps[0])
                return FloatDistribution(steps[0], steps[-1], step=float(value.step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise ConfigError(f"sweep.space: {key}: {error}") from error


def _exact(dimension: BaseDistribution, value: Any) -> Any:
    """A value without rounding errors from adding up steps: .6, not .6000000000000001."""
    stepped = isinstance(dimension, FloatDistribution) and dimension.step is not None
    return float(f"{value:.12g}") if stepped else value


def _spread(dimension: Any, points: int) -> list[Any]:
    """`points` values over the range of a dimension; all values of choices and stepped ranges."""
    if isinstance(dimension, CategoricalDistribution):
        return list(dimension.choices)
    if dimension.step is not None and not dimension.log and isinstance(dimension, FloatDistribution):
        count = round((dimension.high - dimension.low) / dimension.step) + 1
        return [dimension.low + dimension.step * number for number in range(count)]
    if isinstance(dimension, IntDistribution) and dimension.step > 1:
        return list(range(dimension.low, dimension.high + 1, dimension.step))
    if dimension.log:
        spread = np.exp(np.linspace(math.log(dimension.low), math.log(dimension.high), points))
        spread[[0, -1]] = dimension.low, dimension.high
    else:
        spread = np.linspace(dimension.low, dimension.high, points)
    if isinstance(dimension, IntDistribution):
        return list(dict.fromkeys(int(round(value)) for value in spread))
    return [float(f"{value:.6g}") for value in spread]

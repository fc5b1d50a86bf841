"""Settings of a training, and its progress: plain data, without Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from nnrec.core.config.validate import meant
from nnrec.core.devices.strategy import Devices
from nnrec.core.errors import ConfigError
from nnrec.training.schedules import Constant, Schedule

# Called with the epoch (from 1) and its monitored figure; returns whether to continue training.
Report: TypeAlias = Callable[[int, float], bool]
# Keras's optimizers by their names in the configuration; listed here so that Keras need not be imported.
OPTIMIZERS = (
    "adam", "adamw", "adamax", "nadam", "adagrad", "adadelta", "adafactor", "sgd", "rmsprop", "ftrl", "lamb", "lion",
    "muon", "schedulefreeadamw",
)  # fmt: skip


@dataclass(frozen=True)
class Trainer:
    """Settings of the trainer; conf/trainer/default.yaml describes each of them."""

    epochs: int = 100
    batch_size: int | Literal["auto"] = "auto"
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Constant)
    monitor: str = "auto"
    patience: int | None = None
    refit: bool = True
    precision: str = "float32"
    xla: bool = False
    steps_per_execution: int = 1
    devices: Devices = "auto"
    shard_tables: bool = False
    checkpoint_seconds: float = 30.0
    histograms: bool = False
    profile: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"trainer.epochs must be at least 1. Received: {self.epochs}")
        if self.batch_size != "auto" and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise ConfigError(f"trainer.batch_size must be auto or at least 1. Received: {self.batch_size}")
        if not isinstance(self.steps_per_execution, int) or self.steps_per_execution < 1:
            raise ConfigError(
                f"trainer.steps_per_execution must be a whole number, 1 or more. Received: {self.steps_per_execution}"
            )
        if self.optimizer.lower() not in OPTIMIZERS:
            hint = meant(self.optimizer, OPTIMIZERS)
            raise ConfigError(
                f"trainer.optimizer: there is no {self.optimizer!r}.{hint} Choose one of: {', '.join(OPTIMIZERS)}."
            )
        if not self.learning_rate > 0:
            raise ConfigError(f"trainer.learning_rate must be positive. Received: {self.learning_rate}")


@dataclass(frozen=True)
class Settings:
    """The resolved configuration of a training: its parts as objects, and the whole as plain data.

    Attributes:
        config: plain dicts and values, as in the run folder's config.yaml.
        trainer: settings of the trainer.
        evaluation: evaluates the model.
        splitter: a callable that takes data and a seed and returns the split.
    """

    config: Mapping[str, Any]
    trainer: Trainer
    evaluation: Any
    splitter: Any

    @property
    def seed(self) -> int:
        """The seed of the split, the initial weights and every random draw."""
        return int(self.config["seed"])

    @property
    def model(self) -> Mapping[str, Any]:
        """The model's `_target_`, name and settings."""
        return self.config["model"]

    @property
    def data(self) -> Mapping[str, Any]:
        """The data's name, source, filters, ..."""
        return self.config["data"]

    def changed(self, group: str, **values: Any) -> Settings:
        """A copy with other values in a group of `config`; values of the group "trainer" change `trainer` too."""
        config = {**self.config, group: {**self.config[group], **values}}
        trainer = replace(self.trainer, **values) if group == "trainer" else self.trainer
        return replace(self, config=config, trainer=trainer)


@dataclass
class Progress:
    """The progress of a stage, which a checkpoint stores next to the arrays.

    Attributes:
        history: losses and metrics of each epoch.
        best_epoch: counted from 1; 0 before the first epoch.
        seconds: training time so far.
        chosen: settings of the model that were chosen on validation data.
        stopped: whether the `Report` callback ended the training.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    chosen: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)

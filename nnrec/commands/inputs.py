"""Builds the inputs of commands from a configuration: typed settings, data and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnrec.core.calling import typed
from nnrec.core.config.build import build, check_seed, locate
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.families import Family, family_of
from nnrec.data.load import load
from nnrec.data.parts import Parts
from nnrec.models.base.scorer import Scorer
from nnrec.runs.latest import LATEST, run_named
from nnrec.splits.shards.folder import Prepared
from nnrec.training.settings import Settings

if TYPE_CHECKING:
    from nnrec.data.load import Data, Given


@dataclass(frozen=True)
class Loaded:
    """Data after reading and filtering.

    Attributes:
        data: `Ratings`, `Sessions` or `Impressions`; for data that are already split, the training part.
        split: the parts of data that are already split, otherwise None.
    """

    data: Data
    split: Any = None

    def fingerprint(self) -> str:
        """Returns a hash of all data, including the parts of a split: equal data give equal strings."""
        return (self.data if self.split is None else self.split).fingerprint()

    def check_fingerprint(self, expected: str) -> None:
        """Checks that the data are the same as those of a run.

        Raises:
            DataError: they differ.
        """
        if self.fingerprint() != expected:
            raise DataError(
                "The data are not those that the run began with: files or filters have changed. Restore them, or start "
                "a new run."
            )


def load_data(config: Mapping[str, Any], frame: Given | None = None) -> Loaded:
    """Loads the data set of a `data` group, or uses `frame` (a data frame, a sparse matrix, ...) instead."""
    found: Any = load(config, frame)
    return Loaded(found.train, found) if isinstance(found, Parts) else Loaded(found)


def resolve(config: Any) -> Settings:
    """Returns the typed, validated settings of a composed training configuration, before data are read.

    Raises:
        ConfigError: a setting is wrong.
    """
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    check_seed(plain["seed"])
    if isinstance(runs := plain["model"].get("runs"), list):  # resolve "latest" once, also for resumed blends
        plain["model"] = {**plain["model"], "runs": [str(run_named(run)) if run == LATEST else run for run in runs]}
    trainer, evaluation, splitter = (build(plain[group], group) for group in ("trainer", "evaluation", "split"))
    return Settings(plain, trainer, evaluation, splitter)


def model_class(settings: Mapping[str, Any]) -> Any:
    """Returns the class of a model; None if it is not a `Scorer` or cannot be imported (`build` raises the error)."""
    found = locate(str(settings.get("_target_", "")))
    return found if isinstance(found, type) and issubclass(found, Scorer) else None


def check_families(settings: Settings, family: Family) -> None:
    """Checks that model and evaluation are for data of this family.

    Call it after the backend has been set up, because it imports the model.

    Raises:
        ConfigError: the model or the evaluation is for another family.
    """
    data, model = settings.data["name"], model_class(settings.model)
    if model is not None:
        learns = family_of(model)
        if learns != family:  # a model learns from a single family
            raise ConfigError(
                f"model={settings.model['name']} learns from {learns}, and data={data} are {family}. Choose "
                f"data={learns.data}, ..., or a model of {family} ({typed('train')} --help lists them)."
            )
    measures = family_of(settings.evaluation)
    if measures != family:  # test parts differ between families
        raise ConfigError(
            f"{type(settings.evaluation).__name__} measures models of {measures}, and data={data} "
            f"are {family}. Choose evaluation={family.evaluation}."
        )


def with_trainer_of_model(settings: Settings) -> Settings:
    """Returns the settings, with trainer settings that the model's settings contain (GRU4Rec's `parameters`)."""
    model = model_class(settings.model)
    found = {} if model is None else model.trainer_settings(settings.model)
    if not found:
        return settings
    trainer = {**settings.config["trainer"], **found}
    return replace(settings, config={**settings.config, "trainer": trainer}, trainer=build(trainer, "trainer"))


def split_data(loaded: Loaded, splitter: Any, seed: int, name: str) -> Any:
    """Splits the data.

    Args:
        loaded: the data.
        splitter: a callable that takes data and a seed.
        seed: seed of the split.
        name: name of the data, for messages.

    Raises:
        ConfigError: the splitter does not split this kind of data.
    """
    data = loaded.data
    if isinstance(splitter, Prepared):
        return splitter(loaded.split, seed)
    if loaded.split is not None:
        raise ConfigError(f"data={name} come split: choose split=prepared.")
    if family_of(splitter) != data.family:  # splits differ between families
        raise ConfigError(
            f"{type(splitter).__name__} does not split {data.family}, which data={name} are. Choose "
            f"split={data.family.splits}."
        )
    return splitter(data, seed)

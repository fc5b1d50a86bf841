"""Finished runs as members of a blend: describing, loading and checking them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.core.config.build import build
from nnrec.core.devices import backend
from nnrec.core.devices.strategy import one_of
from nnrec.core.errors import ConfigError
from nnrec.models.base.scorer import Scorer
from nnrec.runs.folder import RunFolder
from nnrec.splits.split import Split


@dataclass(eq=False)
class Member:
    """A trained model in a blend.

    Attributes:
        about: description of its run, as plain data: `path`; `model`, its settings; `seed`; and the settings that Keras
            is started with, `devices`, `precision`, `xla`.
        model: the trained model.
        weight: its weight in the blend.
    """

    about: dict[str, Any]
    model: Scorer
    weight: float


def describe(folder: RunFolder) -> dict[str, Any]:
    """Returns the description (`Member.about`) of a finished run.

    Raises:
        RunError: the run is not finished.
    """
    from omegaconf import OmegaConf

    folder.read_json("metrics.json")
    config: Any = OmegaConf.to_container(folder.read_config(), resolve=True)
    start = {key: config["trainer"][key] for key in ("precision", "xla")}
    start["devices"] = one_of(config["trainer"]["devices"])
    return {"path": str(folder.path), "model": config["model"], "seed": config["seed"]} | start


def load(about: dict[str, Any], num_users: int, num_items: int, arrays: dict[str, np.ndarray]) -> Scorer:
    """Builds the trained model of a run; starts Keras if the model needs it.

    Args:
        about: from `describe`.
        num_users, num_items: sizes of the data.
        arrays: the model's saved `state`; entries may be removed.
    """
    start = {key: about[key] for key in ("devices", "precision", "xla")}
    backend.start(**start, target=about["model"]["_target_"])
    backend.seed(about["seed"])
    model = build(about["model"], "model", num_users=num_users, num_items=num_items)
    model.load_state(arrays)
    return model


def check_learnt_from(folder: RunFolder, split: Split) -> bool:
    """Checks that a run was trained on the training part of this split, with or without its validation part.

    It compares the ids of users and items, the definition of the split (with its sizes and seed), and the number of
    training ratings of each item.

    Returns:
        Whether the run was trained on the validation part as well.

    Raises:
        ConfigError: the run was trained on other data, which may include the ratings held out here.
        RunError: a file of the run that the check needs is missing or damaged.
    """
    users, items, _ = folder.read_catalogue()
    definition = folder.read_json("metrics.json")["data"]["split"]
    counts = folder.read_arrays("item_counts.npz")["count"]
    refitted = bool(folder.read_config().trainer.refit)
    for what, own, here in (("users", users, split.train.users), ("items", items, split.train.items)):
        if not np.array_equal(own.ids, here.ids):
            raise ConfigError(
                f"The run {folder.path} is of other data: it has other {what} ({len(own):,}, here {len(here):,}). "
                "Blend runs of the same data and filters."
            )
    if definition != split.definition:
        raise ConfigError(
            f"The run {folder.path} is of another split, and may have learnt from what is held out here:\n"
            f"  there: {definition}\n  here:  {split.definition}\nBlend runs of the same split and seed."
        )
    train = (split.merged() if refitted else split).train
    if not np.array_equal(counts, train.support):
        raise ConfigError(
            f"The run {folder.path} learnt from other ratings than the split's training part. Train it anew on these "
            "data."
        )
    return refitted

"""Finished runs as members of a blend: what is kept of them, and whether they may be blended."""

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
        about: what its run says of it, as plain data: `path`; `model`, its settings; `seed`; and what Keras is
            started with, `devices`, `precision`, `xla`.
        model: trained.
        weight: its share in the blend.
    """

    about: dict[str, Any]
    model: Scorer
    weight: float


def describe(folder: RunFolder) -> dict[str, Any]:
    """The `about` of a finished run.

    Raises:
        RunError: the run did not finish.
    """
    from omegaconf import OmegaConf

    folder.read_json("metrics.json")
    config: Any = OmegaConf.to_container(folder.read_config(), resolve=True)
    start = {key: config["trainer"][key] for key in ("precision", "xla")}
    start["devices"] = one_of(config["trainer"]["devices"])
    return {"path": str(folder.path), "model": config["model"], "seed": config["seed"]} | start


def load(about: dict[str, Any], num_users: int, num_items: int, arrays: dict[str, np.ndarray]) -> Scorer:
    """The trained model of a run; Keras is started where the model needs it.

    Args:
        about: from `describe`.
        num_users, num_items: sizes of the data.
        arrays: what the model's `state` returned; may be emptied on the way.
    """
    start = {key: about[key] for key in ("devices", "precision", "xla")}
    backend.start(**start, target=about["model"]["_target_"])
    backend.seed(about["seed"])
    model = build(about["model"], "model", num_users=num_users, num_items=num_items)
    model.load_state(arrays)
    return model


def check_learnt_from(folder: RunFolder, split: Split) -> bool:
    """Makes sure that a run learnt from the training part of this split, or that and the validation part.

    Compared are the ids of users and items, the definition of the split (its sizes and seed included), and how many
    training ratings each item has.

    Returns:
        Whether it learnt from the validation part.

    Raises:
        ConfigError: it learnt from something else, which may be what is held out here.
        RunError: a file that tells is missing or damaged.
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

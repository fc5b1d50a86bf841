"""The training of a trial, and the metric that a sweep optimises."""

from __future__ import annotations

from typing import Any

from nnrec.commands.inputs import load_data, resolve
from nnrec.commands.train import plan, start_backend
from nnrec.core.errors import ConfigError
from nnrec.runs.folder import RunFolder
from nnrec.training.experiment import Learning
from nnrec.training.settings import Report


def try_out(config: Any, folder: RunFolder, report: Report | None = None) -> dict[str, Any]:
    """Trains a model with a trial's configuration and evaluates it on validation data; see `Learning.try_out`."""
    return learning_of(config)[0].try_out(folder, report)


def look(config: Any) -> dict[str, str]:
    """Returns the metric by which trials are compared (`monitor`), and the `fingerprint` of their data."""
    learning, fingerprint = learning_of(config)
    return {"monitor": learning.settings.trainer.monitor, "fingerprint": fingerprint}


def learning_of(config: Any) -> tuple[Learning, str]:
    """Returns the `Learning` of a configuration, not yet trained, and the fingerprint of its data.

    Raises:
        ConfigError: the evaluation selects nothing on validation data (evaluation=course).
        NnrecError: the training cannot be prepared for other reasons.
    """
    settings = resolve(config)
    loaded = load_data(settings.data)
    start_backend(settings)
    learning = plan(settings, loaded)
    if not isinstance(learning, Learning):
        raise ConfigError("evaluation=course chooses nothing on validation data, which a sweep needs.")
    return learning, loaded.fingerprint()

"""The training of a trial, and the figure that trials are compared by."""

from __future__ import annotations

from typing import Any

from nnrec.commands.inputs import load_data, resolve
from nnrec.commands.train import plan, start_backend
from nnrec.core.errors import ConfigError
from nnrec.runs.folder import RunFolder
from nnrec.training.experiment import Learning
from nnrec.training.settings import Report


def try_out(config: Any, folder: RunFolder, report: Report | None = None) -> dict[str, Any]:
    """Trains and validates a trial's configuration; see `Learning.try_out`."""
    return learning_of(config)[0].try_out(folder, report)


def look(config: Any) -> dict[str, str]:
    """The figure that trials are compared by (`monitor`), and the `fingerprint` of their data."""
    learning, fingerprint = learning_of(config)
    return {"monitor": learning.settings.trainer.monitor, "fingerprint": fingerprint}


def learning_of(config: Any) -> tuple[Learning, str]:
    """The untrained `Learning` of a configuration, and the fingerprint of its data.

    Raises:
        ConfigError: the configuration does not choose anything on validation data.
        NnrecError: the training cannot be prepared for another reason.
    """
    settings = resolve(config)
    loaded = load_data(settings.data)
    start_backend(settings)
    learning = plan(settings, loaded)
    if not isinstance(learning, Learning):
        raise ConfigError("evaluation=course chooses nothing on validation data, which a sweep needs.")
    return learning, loaded.fingerprint()

"""Sweeps: searching settings by their figures on validation data, on Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrec.core.errors import ConfigError


def sweep(loader: Any, config: Any, overrides: Sequence[str]) -> None:
    """Searches the space of `config.sweep`, and trains and tests what was best in it.

    Args:
        loader: Hydra's, which composes the configuration of a trial.
        config: the configuration with Hydra's own node in it.
        overrides: the command line that it was composed from; values to choose among are part of the space.

    Raises:
        NnrecError: whatever stands in the way, in words for the user.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"Sweeps need Optuna ({error}): pip install 'nnrec[sweep]'.") from error
    from nnrec.sweeps.search import Search

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    Search(loader, config, overrides).run()

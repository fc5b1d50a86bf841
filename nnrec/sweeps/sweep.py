"""Sweeps: search for the best settings by figures on validation data, with Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrec.core.errors import ConfigError


def sweep(loader: Any, config: Any, overrides: Sequence[str]) -> None:
    """Searches the space of `config.sweep`, and trains and tests the best point.

    Args:
        loader: Hydra's configuration loader, which composes the configuration of a trial.
        config: the configuration including Hydra's own node.
        overrides: the command line that it was composed from; keys with several values are part of the space.

    Raises:
        NnrecError: the search cannot run or fails.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"Sweeps need Optuna ({error}): pip install 'nnrec[sweep]'.") from error
    from nnrec.sweeps.search import Search

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    Search(loader, config, overrides).run()

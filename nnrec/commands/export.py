"""Runs an export: writes a model for serving and checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnrec.core.errors import ConfigError
from nnrec.serving.export import FORMATS, write


def execute(config: Any) -> None:
    """Exports a model as configured.

    Args:
        config: the configuration, composed from conf/export.yaml.

    Raises:
        NnrecError: the model cannot be exported, or the exported lists differ from nnrec's.
    """
    from omegaconf import OmegaConf

    for key, what in (("run", "Which run? Give the folder of a finished training, or latest"), ("output", "Where to")):
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"{what}: {key}=<folder>.")
    if config.format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}. Received: {config.format}")
    if not (isinstance(config.exclude_seen, bool) or config.exclude_seen == "auto"):
        raise ConfigError(f"exclude_seen must be true, false or auto. Received: {config.exclude_seen!r}")
    write(str(config.run), Path(str(config.output)), config.format, config.top_n, config.exclude_seen)

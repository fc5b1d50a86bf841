"""Converts a log to a folder of shards, in memory; `nnrec.spark.preparation` does the same on many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnrec.commands.inputs import load_data, split_data
from nnrec.core.calling import typed
from nnrec.core.config.build import build, check_seed
from nnrec.core.console import console
from nnrec.core.errors import ConfigError
from nnrec.data.families import Family, family_named
from nnrec.splits.shards.folder import check_free, write_shards


def execute(config: Any) -> None:
    """Reads, filters and splits ratings or sessions, and writes them as shards.

    Args:
        config: the configuration, composed from conf/prepare.yaml.

    Raises:
        NnrecError: the shards cannot be written.
    """
    from nnrec.data.summary import print_summary, summarise

    folder = check(config)
    loaded, splitter = load_data(config.data), build(config.split, "split")
    if loaded.split is not None:
        raise ConfigError(f"data={config.data.name} are shards already: train from them with split=prepared.")
    print_summary(summarise(loaded.data), console)
    split = split_data(loaded, splitter, config.seed, config.data.name)
    console.print(f"Split: {split.definition}", soft_wrap=True)
    write_shards(split, folder, config.data.name)
    tell(folder, loaded.data.family)


def check(config: Any) -> Path:
    """Checks, before anything is read, that the data can be written as shards; returns the output folder.

    Raises:
        ConfigError: they cannot.
    """
    from omegaconf import OmegaConf

    check_seed(config.seed)
    if OmegaConf.is_missing(config, "output"):
        raise ConfigError("Where to? Give an empty folder: output=shards/<name>.")
    family = family_named(config.data.get("family"))
    if family.model_from_shards is None:
        raise ConfigError(
            f"Shards hold ratings or sessions, and data={config.data.name} are {family}, which need none: they "
            "stream from any files."
        )
    if config.data.get("half_life_days") is not None:
        raise ConfigError("Shards know no age weighting. Set data.half_life_days=null.")
    folder = Path(str(config.output)).expanduser()
    check_free(folder)
    return folder


def tell(folder: Path, family: Family) -> None:
    """Prints what the folder holds and how to train on it."""
    console.print(f"Shards in {folder}", soft_wrap=True)
    console.print(
        f"Train:  {typed('train')} model={family.model_from_shards} data=shards split=prepared "
        f"data.source.path={folder}",
        soft_wrap=True,
    )

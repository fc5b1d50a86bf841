"""Folders of shards: writes and reads splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrec.core.errors import ConfigError, DataError
from nnrec.splits.sessions import SessionSplit
from nnrec.splits.shards import ratings, sessions
from nnrec.splits.shards.shard_files import VERSION, Cache
from nnrec.splits.split import Split

# Data family -> the module that writes and reads its shards.
FAMILIES: dict[str, Any] = {"ratings": ratings, "sessions": sessions}


def write_shards(split: Split | SessionSplit, folder: Path, name: str) -> None:
    """Writes a split as a folder of shards; about.json is written last.

    Args:
        split: the split.
        folder: an empty folder, or one that does not exist.
        name: name of the data.
    """
    FAMILIES[split.train.family].write_split(split, folder, name)


def check_free(folder: Path) -> None:
    """Checks that a folder for shards is empty or does not exist.

    Raises:
        ConfigError: it is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"output={folder} already holds something. Choose another folder, or remove it.")


@dataclass(frozen=True)
class Prepared:
    """The split stored with the data, for `data=shards`."""

    def __call__(self, given: Split | SessionSplit | None, seed: int) -> Split | SessionSplit:
        if given is None:
            raise ConfigError(
                "These data come without a split: split=prepared is that of data=shards. Use split=random, ..."
            )
        return given


def read_shards(path: str | Path, cache: Cache = "auto") -> Split | SessionSplit:
    """Reads the split in a folder of shards.

    If the training part is stored in files, only the vocabularies with their tables, one number per user (or session)
    and item, and the validation and test part are in memory.

    Args:
        path: the folder.
        cache: parent folder for the folder with the arrays of the training part, which is made once, chunk by chunk;
            "auto" = $XDG_CACHE_HOME/nnrec (~/.cache/nnrec) if they are larger than 256 MiB, else in memory; None = in
            memory. A change of a shard makes a new folder.

    Raises:
        DataError: no such folder, or one of another version; a shard is missing or has invalid content.
    """
    folder = Path(path).expanduser()
    about = _about(folder)
    if about["family"] not in FAMILIES:
        raise DataError(f"{folder} holds {about['family']}, and data=shards reads {' and '.join(FAMILIES)}.")
    family = FAMILIES[about["family"]]
    for key in (*family.KEYS, "rows"):
        if key not in about:
            raise DataError(f"{folder / 'about.json'} is damaged: it does not say {key!r}. Make the folder anew.")
    return family.read(folder, about, cache)


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "about.json"
    if not file.is_file():
        raise DataError(
            f"{folder.absolute()} is no folder of shards: it has no about.json, which is written last. Make one with "
            "python prepare.py data=... split=... output=<folder>, and set data.source.path to it."
        )
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version, _ = about["version"], about["family"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}") from error
    if version != VERSION:
        raise DataError(
            f"{folder} is of version {version} of the format, and this nnrec reads version {VERSION}: make it anew "
            "with prepare.py."
        )
    return about

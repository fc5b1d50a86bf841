"""Folders of shards: writing a split as one, reading one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.families import RATINGS, SESSIONS
from nnrec.splits.sessions import SessionSplit
from nnrec.splits.shards import ratings, sessions
from nnrec.splits.shards.shard_files import VERSION, Cache
from nnrec.splits.split import Split

# What writes and reads the shards of a family, by the name in about.json: their columns differ.
FAMILIES: dict[str, Any] = {RATINGS.name: ratings, SESSIONS.name: sessions}


def write_shards(split: Split | SessionSplit, folder: Path, name: str) -> None:
    """Writes a split as a folder of shards; about.json comes last.

    Args:
        folder: is empty, or not there.
        name: what the data are called.
    """
    FAMILIES[split.train.family.name].write_split(split, folder, name)


def check_free(folder: Path) -> None:
    """Makes sure that shards can go here.

    Raises:
        ConfigError: the folder already holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"output={folder} already holds something. Choose another folder, or remove it.")


@dataclass(frozen=True)
class Prepared:
    """The split that the data come with: of `data=shards`."""

    def __call__(self, given: Split | SessionSplit | None, seed: int) -> Split | SessionSplit:
        if given is None:
            raise ConfigError(
                "These data come without a split: split=prepared is that of data=shards. Use split=random, ..."
            )
        return given


def read_shards(path: str | Path, cache: Cache = "auto") -> Split | SessionSplit:
    """The split that a folder of shards holds.

    In files, what is in memory is the vocabularies with their tables, a number per user (or session) and item, and the
    parts that are not trained on.

    Args:
        path: the folder.
        cache: a folder for the arrays of the training part, in which a folder of their own is made once, in passing;
            "auto" = where they are larger than 256 MiB, $XDG_CACHE_HOME/nnrec (~/.cache/nnrec); None = into memory. A
            change of a shard makes a new folder.

    Raises:
        DataError: no such folder, or another version's; a shard is missing, or holds what it should not.
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

"""The MovieLens releases: file names, formats and location of their files."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from nnrec.core.errors import ConfigError


@dataclass(frozen=True)
class Release:
    """One MovieLens release, as published by GroupLens.

    Attributes:
        ratings, items: file names; a folder holds the release if it holds the file `ratings`.
        separator: field separator of all files, except "|" in u.item and u.user.
        scale: lowest and highest rating.
        inner: the folder inside the publisher's zip.
        md5: checksum of the zip; None if the release changes over time.
        readme: file with the publisher's terms, next to the zip.
        users: file name of the user table; None if there is none.
    """

    ratings: str
    items: str
    separator: str
    scale: tuple[float, float]
    inner: str
    md5: str | None
    readme: str
    users: str | None = None


def _dat(inner: str, lowest: float, md5: str, readme: str, users: str | None = None) -> Release:
    return Release("ratings.dat", "movies.dat", "::", (lowest, 5), inner, md5, readme, users)


def _csv(inner: str, md5: str | None) -> Release:
    return Release("ratings.csv", "movies.csv", ",", (0.5, 5), inner, md5, f"{inner}-README.html")


RELEASES = {
    "ml-100k": Release(
        "u.data", "u.item", "\t", (1, 5), "ml-100k", "0e33842e24a9c977be4e0107933c0723", "ml-100k-README.txt", "u.user"
    ),
    "ml-1m": _dat("ml-1m", 1, "c4d9eecfca2ab87c1945afe126590906", "ml-1m-README.txt", "users.dat"),
    "ml-10m": _dat("ml-10M100K", 0.5, "ce571fd55effeba0271552578f2648bd", "ml-10m-README.html"),
    "ml-20m": _csv("ml-20m", "cd245b17a1ae2cc31bb14903e1204af3"),
    "ml-25m": _csv("ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada"),
    "ml-32m": _csv("ml-32m", "d472be332d4daa821edc399621853b57"),
    "ml-latest-small": _csv("ml-latest-small", None),
}


def release_of(name: str) -> Release:
    """Returns the release with this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RELEASES:
        close = difflib.get_close_matches(str(name), RELEASES, n=1)
        suggestion = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"There is no MovieLens release {name!r}.{suggestion} Known: {', '.join(RELEASES)}.")
    return RELEASES[name]


def find(name: str, folder: Path) -> Path | None:
    """Returns the folder of a release: the given one, or the publisher's folder inside or beside it; else None."""
    release = release_of(name)
    for place in (folder, folder / release.inner, folder.parent / release.inner):
        if (place / release.ratings).is_file():
            return place
    return None


def advice(name: str) -> str:
    """Returns the advice for messages on how to use an existing copy of a release."""
    return f"Set data_root=<the folder that holds {name}> or the environment variable NNREC_DATA"

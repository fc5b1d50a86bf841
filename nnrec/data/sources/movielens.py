"""Reader of MovieLens in its publisher's formats (Harper & Konstan 2015, doi:10.1145/2827872)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nnrec.core.errors import DataError
from nnrec.data.files.tables import read_columns
from nnrec.data.ratings import Ratings
from nnrec.data.readers.ratings import assemble
from nnrec.data.sources.movielens_releases import advice, find, release_of

NO_GENRES = "(no genres listed)"
GENDERS = {"F": "female", "M": "male"}
# Lowest age of a group, the code in ml-1m -> its name.
AGE_GROUPS = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 and over"}
# In the order of ml-1m's codes, from 0.
OCCUPATIONS = (
    "other or not specified", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer",
    "programmer", "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer",
    "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip


def read_movielens(release: str, folder: str | Path, download: bool = False) -> Ratings:
    """Reads the ratings of a MovieLens release, with title, genres (joined by "|") and year of each rated item.

    ml-100k and ml-1m also have a user table: gender, age (in years, ml-100k only), age_group and occupation.

    Args:
        release: ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m or ml-latest-small.
        folder: folder of the publisher's files.
        download: whether to download the release into `folder` if it is absent.

    Raises:
        DataError: the files are absent or damaged.
        ConfigError: no such release.
    """
    layout = release_of(release)
    place = find(release, Path(folder).expanduser())
    if place is None and download:
        from nnrec.data.sources.download import ensure

        place = ensure(release, folder)
    if place is None:
        raise DataError(
            f"{release} is not in {Path(folder).expanduser().absolute()} (no file {layout.ratings} there). "
            f"{advice(release)}, or fetch it with data.source.download=true."
        )
    named = layout.separator == ","
    columns: dict[str, str | int] = (
        {"user": "userId", "item": "movieId", "value": "rating", "time": "timestamp"}
        if named
        else {"user": 0, "item": 1, "value": 2, "time": 3}
    )
    table = read_columns(place / layout.ratings, columns, layout.separator, header=named, key="data_root")
    items = read_items(release, place)
    return assemble(table, scale=layout.scale, items=items, users=read_users(release, place), folder=str(place))


def read_items(release: str, folder: Path) -> pd.DataFrame | None:
    """Reads item, title, genres and year (missing if unknown) of all items of a release.

    Returns None if the file is absent, since ratings are usable without it.

    Raises:
        DataError: an invalid line.
    """
    layout = release_of(release)
    path = folder / layout.items
    if not path.is_file():
        return None
    if layout.separator == ",":
        columns: dict[str, str | int] = {"item": "movieId", "title": "title", "genres": "genres"}
        items = read_columns(path, columns, ",", key="data_root").frame
    elif layout.separator == "::":
        items = pd.DataFrame(_fields(path, "::", 3), columns=["item", "title", "genres"])
    else:
        genres = [name for name, _ in _fields(folder / "u.genre", "|", 2)]
        lines = _fields(path, "|", 5 + len(genres))
        items = pd.DataFrame(
            {
                "item": [line[0] for line in lines],
                "title": [line[1] for line in lines],
                "genres": [_flagged(line[5:], genres) for line in lines],
            }
        )
    year = items["title"].str.extract(r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$")[0]
    return items.assign(genres=items["genres"].replace(NO_GENRES, ""), year=year.astype("Int16"))


def read_users(release: str, folder: Path) -> pd.DataFrame | None:
    """Reads user, gender, age (years, ml-100k only), age_group and occupation of all users of a release.

    Unknown codes are kept unchanged. Returns None if the release has no user table or the file is absent, since ratings
    are usable without it.

    Raises:
        DataError: an invalid line.
    """
    layout = release_of(release)
    path = folder / (layout.users or "")
    if not path.is_file():
        return None
    if layout.separator == "::":
        users = pd.DataFrame(_fields(path, "::", 5), columns=["user", "gender", "age_group", "occupation", "zip"])
        groups = {str(lowest): name for lowest, name in AGE_GROUPS.items()}
        occupations = {str(code): name for code, name in enumerate(OCCUPATIONS)}
        users = users.replace({"age_group": groups, "occupation": occupations})
        columns = ["user", "gender", "age_group", "occupation"]
    else:
        users = pd.DataFrame(_fields(path, "|", 5), columns=["user", "age", "gender", "occupation", "zip"])
        users["age"] = pd.to_numeric(users["age"], errors="coerce").astype("Int16")
        bins = [*AGE_GROUPS, 200]
        users["age_group"] = pd.cut(users["age"], bins, right=False, labels=list(AGE_GROUPS.values())).astype("str")
        columns = ["user", "gender", "age", "age_group", "occupation"]
    return users[columns].replace({"gender": GENDERS})


def _fields(path: Path, separator: str, width: int) -> list[list[str]]:
    """Reads a small unquoted file (UTF-8, or Latin-1 as in the early releases) as lists of fields."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    result = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split(separator)
        if len(fields) != width:
            problem = f"{len(fields)} fields separated by {separator!r} instead of {width}"
            raise DataError(f"{path}, line {number}: {problem}.")
        result.append(fields)
    return result


def _flagged(flags: list[str], genres: list[str]) -> str:
    return "|".join(genre for flag, genre in zip(flags, genres, strict=True) if flag == "1" and genre != "unknown")

"""Readers of Criteo's and Avazu's display advertising logs in their publishers' formats."""

from __future__ import annotations

from pathlib import Path

from nnrec.data.impressions import Impressions
from nnrec.data.readers.impressions import Cache, read_impressions

CRITEO_NUMBERS = tuple(f"I{number}" for number in range(1, 14))
CRITEO_CATEGORIES = tuple(f"C{number}" for number in range(1, 27))
AVAZU_CATEGORIES = (
    "C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category", "device_id",
    "device_ip", "device_model", "device_type", "device_conn_type", "C14", "C15", "C16", "C17", "C18", "C19", "C20",
    "C21",
)  # fmt: skip


def read_criteo(path: str | Path, cache: Cache = "auto") -> Impressions:
    """Reads Criteo's display advertising challenge (2014): train.txt, or files in its format.

    Tab-separated, without header: the label, 13 integers (I1 ... I13: mostly counts), 26 hashed categories
    (C1 ... C26); an empty field is a missing value. Rows are in order of time. There are no columns of users or items,
    and test.txt has no labels.

    Args:
        path: a file, a folder of files, or a glob.
        cache: see `nnrec.data.readers.impressions.cached`.

    Raises:
        DataError: the file is absent, or a line cannot be read.
    """
    return read_impressions(
        path,
        label="label",
        categorical=CRITEO_CATEGORIES,
        numeric=CRITEO_NUMBERS,
        separator="\t",
        header=False,
        names=("label", *CRITEO_NUMBERS, *CRITEO_CATEGORIES),
        cache=cache,
    )


def read_avazu(path: str | Path, cache: Cache = "auto") -> Impressions:
    """Reads Avazu's click-through challenge (2014): train.csv (also as .gz), or files in its format.

    Comma-separated, with a header: id, click, hour (YYMMDDHH), then 21 categories. The hour becomes hour of the day and
    weekday; the id, unique per row, is dropped. There is no column of items, and test.csv has no labels.

    Args:
        path: a file, a folder of files, or a glob.
        cache: see `nnrec.data.readers.impressions.cached`.

    Raises:
        DataError: the file is absent, or a line cannot be read.
    """
    return read_impressions(
        path,
        label="click",
        categorical=AVAZU_CATEGORIES,
        time="hour",
        time_format="%y%m%d%H",
        time_features=("hour", "weekday"),
        separator=",",
        cache=cache,
    )

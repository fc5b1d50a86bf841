"""The layout of users' tables, and lists of ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nnrec.data.files.tables import SEPARATORS, find_files, read_columns

# Ids as a list, or the path of a file.
Ids = Iterable[Any] | str | Path

# The raw id of a single history that was given without a user id.
NEW = "new"


@dataclass(frozen=True)
class TableFormat:
    """The layout of input tables; arguments as for `nnrec.data.read_table`."""

    user: str | int = "user"
    session: str | int = "session"
    item: str | int = "item"
    rating: str | int = "rating"
    time: str | int | None = None
    separator: str | None = None
    header: bool = True
    encoding: str = "utf-8"

    @property
    def layout(self) -> dict[str, Any]:
        """The settings that do not name columns."""
        return {"separator": self.separator, "header": self.header, "encoding": self.encoding}


def read_ids(source: Ids, key: str, table: TableFormat) -> list[Any]:
    """Reads raw ids from a list, a text file with one id per line, or a table with an item column.

    Args:
        key: the setting that names the file, for messages.
        table: the layout of a table. A first line that holds only the column's name is a header.

    Raises:
        DataError: the file is missing, empty or cannot be read.
    """
    if not isinstance(source, (str, Path)):
        return list(source)
    file = find_files(source, key)[0]
    first = "" if file.suffix in (".parquet", ".pq") else _first_line(file)
    if first and table.separator is None and not any(mark in first for mark in SEPARATORS if mark != " "):
        named = first == str(table.item)
        return read_columns(
            file, {"item": table.item if named else 0}, "\t", header=named, encoding=table.encoding, key=key
        ).frame["item"].tolist()  # fmt: skip
    return read_columns(file, {"item": table.item}, key=key, **table.layout).frame["item"].tolist()


def _is_file(source: Any) -> bool:
    return isinstance(source, (str, Path))


def _first_line(file: Path) -> str:
    with pa.input_stream(str(file), compression="detect") as stream:
        start = stream.read(4096).decode("utf-8", errors="replace").lstrip("\ufeff\r\n")
    return start.splitlines()[0].strip() if start.strip() else ""
